"""The dashboard's link and the performance report, and what is said where they cannot be had."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from opticam_dask.cluster import ClusterSpec, connect
from opticam_dask.errors import ClusterError, InputError
from opticam_dask.session import Session

needs_bokeh = pytest.mark.skipif(importlib.util.find_spec("bokeh") is None, reason="bokeh is not installed")


def report_to(path: Path) -> ClusterSpec:
    return ClusterSpec(place="threads", workers=1, performance_report=path)


@needs_bokeh
def test_the_report_is_written_and_named(tmp_path: Path, capsys: Any) -> None:
    with connect(report_to(tmp_path / "report.html")) as client:
        assert client.submit(sum, [1, 2]).result() == 3
    assert "<html" in (tmp_path / "report.html").read_text()[:500]
    assert f"performance report: {tmp_path / 'report.html'}" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


@needs_bokeh
def test_the_report_of_a_run_that_fails_is_written_and_the_failure_stays(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no star"), connect(report_to(tmp_path / "report.html")):
        raise InputError("no star")
    assert (tmp_path / "report.html").stat().st_size > 10_000


def test_a_session_that_computes_nothing_says_why_there_is_no_report(tmp_path: Path, capsys: Any) -> None:
    with Session(report_to(tmp_path / "report.html"), progress=False):
        pass
    assert "nothing had to be computed" in capsys.readouterr().out


@pytest.mark.parametrize("place", ["nowhere/report.html", "."])
@needs_bokeh
def test_a_report_that_cannot_be_written_is_refused_before_anything_starts(
    place: str, tmp_path: Path
) -> None:
    with pytest.raises(ClusterError, match="give a file in a folder"), connect(report_to(tmp_path / place)):
        pass


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"dashboard": True}, r"the dashboard needs bokeh: pip install"),
        ({"performance_report": "report.html"}, r"the performance report needs bokeh: pip install"),
    ],
)
def test_without_bokeh_it_is_said_what_to_install(asked: Any, message: str, monkeypatch: Any) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ClusterError, match=message), connect(ClusterSpec(place="threads", **asked)):
        pass


@needs_bokeh
def test_the_link_is_printed_and_a_scheduler_without_a_dashboard_says_so(capsys: Any) -> None:
    with connect(ClusterSpec(place="threads", workers=1, dashboard=True)) as client:
        address = client.scheduler.address
        assert f"dashboard: {client.dashboard_link}" in capsys.readouterr().out
        with connect(address, dashboard=True) as second:
            assert f"dashboard: {second.dashboard_link}" in capsys.readouterr().out
    with (
        connect("threads", n_workers=1) as client,
        pytest.raises(ClusterError, match="serves no dashboard"),
        connect(client.scheduler.address, dashboard=True),
    ):
        pass


def test_a_client_given_is_used_and_asked_for_nothing_it_cannot_do() -> None:
    with connect("threads", n_workers=1) as client:
        with connect(client, n_workers=3) as same:
            assert same is client
        with Session(client, n_workers=3, progress=False) as session:
            assert session.begin().result().client is client
        with (
            client.as_current(),
            pytest.raises(ClusterError, match="the active client runs already, so memory"),
            connect(ClusterSpec(memory="1GB")),
        ):
            pass
        assert client.status == "running"
