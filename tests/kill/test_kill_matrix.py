"""Whatever is killed, and whenever: the same command again gives the bytes of an undisturbed run.

OPTICAM_KILL_MOMENTS says how often each victim is killed (2 by default, 10 for the full matrix);
OPTICAM_KILL_NOTES names a file to which each moment adds a line: victim, stage, what was redone.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

_spec = importlib.util.spec_from_file_location("kill_runs", Path(__file__).with_name("kill_runs.py"))
runs = sys.modules.setdefault("kill_runs", importlib.util.module_from_spec(_spec))
_spec.loader.exec_module(runs)

pytestmark = [pytest.mark.kill, pytest.mark.timeout(900)]

MOMENTS = int(os.environ.get("OPTICAM_KILL_MOMENTS", "2"))
VICTIMS = ("worker", "all workers", "scheduler", "client")
CASES = sorted(
    (number, victim, *moment)
    for offset, victim in enumerate(VICTIMS)
    for number, moment in enumerate(runs.moments_of(victim, MOMENTS, offset * MOMENTS))
)
HIT: list[tuple[str, str]] = []


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runs.simulate(tmp_path_factory.mktemp("night"))


@pytest.fixture(scope="module")
def undisturbed(night: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Files of a run that nobody disturbs, and how long its stages take."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    run = runs.Reduction(night, out).start()
    lengths = runs.lengths_of(run)
    assert run.wait() == 0, run.said()
    assert runs.doubled_rows(out) == 0
    return {"files": runs.results(out), "lengths": lengths}


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A cluster whose workers are killed, and started again by their nannies."""
    with runs.cluster_elsewhere(tmp_path_factory.mktemp("scratch")) as place:
        yield place


class Disturbed:
    """A run, where it computes, and what is killed."""

    def __init__(self, night: Path, folder: Path, victim: str, place: dict[str, Any] | None) -> None:
        self.victim, self.folder, self.stack, self.place = victim, folder, ExitStack(), place
        if victim == "scheduler":
            self.place = self.stack.enter_context(runs.cluster_elsewhere(folder / "scratch"))
        self.run = runs.Reduction(night, folder / "out", self.place and self.place["address"]).start()

    def workers(self) -> list[psutil.Process]:
        if self.place is None:
            return self.run.workers()
        return runs.workers_among(runs.below(self.place["workers"].pid))

    def strike(self) -> None:
        self.run.see()
        if self.victim == "client":
            self.run.process.kill()
        elif self.victim == "scheduler":
            self.place["scheduler"].kill()
        else:
            found = runs.wait_for(self.workers, 60.0) or []
            runs.kill(found[:1] if self.victim == "worker" else found)

    def again(self) -> None:
        """Start the same command again; a scheduler that was killed, and its workers, first."""
        if self.victim == "scheduler":
            port = self.place["port"]
            self.stack.close()
            self.place = self.stack.enter_context(runs.cluster_elsewhere(self.folder / "scratch", port))
        self.run = runs.Reduction(self.run.night, self.run.out, self.run.cluster).start()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize(
    ("number", "victim", "stage", "share"),
    CASES,
    ids=[f"{victim} {number} {stage}" for number, victim, stage, _ in CASES],
)
def test_a_killed_run_goes_on_to_the_same_bytes(
    number: int,
    victim: str,
    stage: str,
    share: float,
    night: Path,
    undisturbed: dict[str, Any],
    lasting: dict[str, Any],
    tmp_path: Path,
    stack: ExitStack,
) -> None:
    # the command's own workers do not live yet while headers are read
    elsewhere = victim == "all workers" or (victim, stage) == ("worker", "scan")
    case = Disturbed(night, tmp_path, victim, lasting if elsewhere else None)
    stack.callback(case.stack.close)
    stack.callback(lambda: case.run.end())
    hit = case.run.until(stage, share, undisturbed["lengths"])
    case.strike()
    survived = case.run.wait() == 0
    HIT.append((victim, hit))
    redone = 0
    if victim in ("worker", "all workers"):
        assert survived, case.run.said()
    if not survived or number == 0:
        redone = resumed(case, wait=number % 2 == 0)
    assert runs.different(tmp_path / "out", undisturbed["files"]) == []
    assert runs.doubled_rows(tmp_path / "out") == 0
    runs.note({"victim": victim, "aimed": stage, "hit": hit, "survived": survived, "redone": redone})


def resumed(case: Disturbed, *, wait: bool) -> int:
    """Run the command again, at once or when nothing is left of the first; count the rows it measures."""
    orphans, out = list(case.run.descendants.values()), case.run.out
    if wait:
        assert runs.gone(orphans, 60.0), "processes of a killed run live on"
    there, before, told = runs.rows_on_disk(out), runs.inodes(out), len(log_of(out))
    case.again()
    assert case.run.wait() == 0, case.run.said()
    redone = runs.rows_measured(log_of(out)[told:])
    # what a worker that was left alone wrote meanwhile need not be measured either
    assert redone == runs.ROWS - there if wait else redone <= runs.ROWS - there
    if there == runs.ROWS and len(before) == runs.CAMERAS:
        assert runs.inodes(out) == before
    assert runs.gone(orphans, 60.0), "processes of a killed run live on"
    return redone


def log_of(out: Path) -> str:
    path = out / "opticam.log"
    return path.read_text() if path.exists() else ""


def test_every_stage_was_hit() -> None:
    if len(HIT) < len(CASES):
        pytest.skip("only some of the moments were run")
    assert len({stage for _, stage in HIT}) >= min(len(runs.STAGES), len(CASES))
