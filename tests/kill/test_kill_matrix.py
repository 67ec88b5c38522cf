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
CASES = [
    (victim, number, *moment)
    for offset, victim in enumerate(VICTIMS)
    for number, moment in enumerate(runs.moments_of(victim, MOMENTS, offset * MOMENTS))
]
HIT: list[tuple[str, str]] = []


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runs.simulate(tmp_path_factory.mktemp("night"))


@pytest.fixture(scope="module")
def undisturbed(night: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Files of a run that nobody disturbs, and how long its stages take."""
    folder = tmp_path_factory.mktemp("undisturbed")
    warm = runs.Reduction(night, folder / "warm").start()
    assert warm.wait() == 0, warm.said()
    run = runs.Reduction(night, folder / "out").start()
    lengths = runs.lengths_of(run)
    assert run.wait() == 0, run.said()
    files = runs.results(folder / "out")
    assert files == runs.results(folder / "warm")
    assert runs.doubled_rows(folder / "out") == 0
    return {"files": files, "lengths": lengths}


class Disturbed:
    """A run, where it computes, and what is killed."""

    def __init__(self, night: Path, folder: Path, victim: str, stage: str) -> None:
        self.victim, self.stack, self.folder = victim, ExitStack(), folder
        # the command's own workers do not live yet while headers are read
        elsewhere = victim in ("all workers", "scheduler") or (victim, stage) == ("worker", "scan")
        self.place = self.begin_cluster(None) if elsewhere else None
        self.run = runs.Reduction(night, folder / "out", self.place and self.place["address"]).start()

    def begin_cluster(self, port: int | None) -> dict[str, Any]:
        place: dict[str, Any] = self.stack.enter_context(
            runs.cluster_elsewhere(self.folder / "scratch", port)
        )
        runs.wait_for(lambda: len(runs.workers_among(runs.below(place["workers"].pid))) == 2)
        return place

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
            found = runs.wait_for(self.workers, 20.0) or []
            runs.kill(found[:1] if self.victim == "worker" else found)

    def again(self) -> None:
        """Start the same command again; a scheduler that was killed, or its workers, first."""
        if self.victim == "scheduler":
            port = self.place["port"]
            self.stack.close()
            self.place = self.begin_cluster(port)
        self.run = runs.Reduction(self.run.night, self.run.out, self.run.cluster).start()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize(
    ("victim", "number", "stage", "share"),
    CASES,
    ids=[f"{victim} {number} {stage}" for victim, number, stage, _ in CASES],
)
def test_a_killed_run_goes_on_to_the_same_bytes(
    victim: str,
    number: int,
    stage: str,
    share: float,
    night: Path,
    undisturbed: dict[str, Any],
    tmp_path: Path,
    stack: ExitStack,
) -> None:
    case = Disturbed(night, tmp_path, victim, stage)
    stack.callback(case.stack.close)
    stack.callback(lambda: case.run.end())
    hit = case.run.until(stage, share, undisturbed["lengths"])
    case.strike()
    code = case.run.wait()
    HIT.append((victim, hit))
    survived = code == 0
    if victim in ("worker", "all workers"):
        assert survived, case.run.said()
    orphans = list(case.run.descendants.values()) if victim == "client" else []
    # every second time the next run begins while the workers of the killed one are still there
    if number % 2 == 0:
        assert runs.gone(orphans, 60.0), "processes of a killed run live on"
    there, before = runs.rows_on_disk(tmp_path / "out"), runs.inodes(tmp_path / "out")
    told = len(log_of(tmp_path))
    case.again()
    assert case.run.wait() == 0, case.run.said()
    redone = runs.rows_measured(log_of(tmp_path)[told:])
    assert runs.different(tmp_path / "out", undisturbed["files"]) == []
    assert runs.doubled_rows(tmp_path / "out") == 0
    if number % 2 == 0:
        assert redone == runs.ROWS - there
    else:
        assert redone <= runs.ROWS - there
    if redone == 0:
        assert {p: i for p, i in runs.inodes(tmp_path / "out").items() if p in before} == before
    assert runs.gone(orphans, 60.0), "processes of a killed run live on"
    runs.note({"victim": victim, "aimed": stage, "hit": hit, "survived": survived, "redone": redone})


def log_of(folder: Path) -> str:
    path = folder / "out" / "opticam.log"
    return path.read_text() if path.exists() else ""


def test_every_stage_was_hit() -> None:
    if len(HIT) < len(CASES):
        pytest.skip("only some of the moments were run")
    assert set(runs.STAGES) <= {stage for _, stage in HIT}
