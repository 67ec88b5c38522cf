"""The nights of a survey are reduced where the user says, and nowhere else."""

import os
import time

import dask
import numpy as np
import pytest
from distributed import LocalCluster

import opticam_dask as opticam
from opticam_dask.errors import SchedulerLostError
from opticam_dask.simulate import simulate_survey
from opticam_dask.survey import work


@pytest.fixture(scope="module")
def nights(tmp_path_factory):
    return simulate_survey(tmp_path_factory.mktemp("nights"), nights=2, n_frames=3).directory


def reduce_with(cluster, nights, out):
    """Numbers of the processes that measured."""
    noted = out.with_suffix(".seen")
    noted.mkdir()

    def level(data, position, semimajor_axis, semiminor_axis, orientation):
        (noted / str(os.getpid())).touch()
        return float(np.median(data)), float(np.std(data))

    photometer = opticam.AperturePhotometer(forced=True, local_background_estimator=level)
    report = opticam.Survey(nights, out, [photometer], cluster=cluster, figures=False).run()
    assert len(report.reduced) == 2
    return {int(path.name) for path in noted.iterdir()}


@pytest.mark.cluster
def test_a_scheduler_elsewhere_reduces_every_night(cluster, nights, tmp_path):
    workers = set(cluster.run(os.getpid).values())
    # the estimator is tried once by the client
    seen = reduce_with(cluster.scheduler.address, nights, tmp_path / "out") - {os.getpid()}
    assert seen
    assert seen <= workers


def test_threads_are_threads_of_this_process(nights, tmp_path):
    assert reduce_with("threads", nights, tmp_path / "out") == {os.getpid()}


@pytest.mark.parametrize("awaited", ["running", "connecting", "closed"])
def test_a_scheduler_that_goes_between_two_nights_is_told_and_costs_no_night(
    nights, tmp_path, monkeypatch, awaited
):
    reduce_night = work.reduce_night
    with (
        dask.config.set({"opticam.connect-timeout": 3}),
        LocalCluster(
            processes=False, n_workers=1, protocol="tcp://", host="127.0.0.1", dashboard_address="127.0.0.1:0"
        ) as cluster,
    ):

        def reduce_and_go(*args, **options):
            reduce_night(*args, **options)
            monkeypatch.setattr(work, "reduce_night", gone)

        def gone(*args, **options):
            cluster.close()
            while awaited != "running" and options["cluster"].status not in (awaited, "closed"):
                time.sleep(0.01)
            reduce_night(*args, **options)

        monkeypatch.setattr(work, "reduce_night", reduce_and_go)
        photometer = opticam.AperturePhotometer(forced=True)
        address = cluster.scheduler_address
        survey = opticam.Survey(nights, tmp_path / "out", [photometer], cluster=address, figures=False)
        with pytest.raises(SchedulerLostError, match="the connection to the dask scheduler was lost; run"):
            survey.run()
    ledger = opticam.read_ledger(tmp_path / "out")
    assert set(ledger["status"]) == {"reduced"}
    assert ledger["night"].nunique() == 1
    monkeypatch.setattr(work, "reduce_night", reduce_night)
    again = opticam.Survey(nights, tmp_path / "out", [photometer], cluster="threads", figures=False)
    assert len(again.run().reduced) == 1
