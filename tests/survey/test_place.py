"""The nights of a survey are reduced where the user says, and nowhere else."""

import os

import numpy as np
import pytest

import opticam_dask as opticam
from opticam_dask.simulate import simulate_survey


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
