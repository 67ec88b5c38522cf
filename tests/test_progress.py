"""Progress bars: one a camera in a terminal, one alone in a notebook's cell."""

from __future__ import annotations

import pytest

from opticam_dask import progress


def test_a_terminal_shows_each_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.progress_bar(2, "one", "block"), progress.progress_bar(2, "two", "block") as second:
        second.update(2)
    err = capsys.readouterr().err
    assert "one" in err
    assert "two" in err


def test_a_cell_shows_one_bar_at_a_time_and_none_of_short_work(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "in_notebook", lambda: True)
    for _ in range(2):
        with progress.progress_bar(2, "one", "block") as first:
            with progress.progress_bar(2, "two", "block") as second:
                assert (first.disable, second.disable) == (False, True)
            first.update(2)
    assert not capsys.readouterr().err.strip()


def test_a_quiet_run_shows_none(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.progress_bar(2, "one", "block", shown=False) as bar:
        bar.update(2)
    assert not capsys.readouterr().err
