"""A disk that is full or becomes read-only in mid-run, and Ctrl-C: one line, and the next run goes on."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_spec = importlib.util.spec_from_file_location("kill_runs", Path(__file__).with_name("kill_runs.py"))
runs = sys.modules.setdefault("kill_runs", importlib.util.module_from_spec(_spec))
_spec.loader.exec_module(runs)

pytestmark = [pytest.mark.kill, pytest.mark.timeout(900)]
NO_WAIT = dict.fromkeys(runs.STAGES, 0.0)


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runs.simulate(tmp_path_factory.mktemp("night"))


@pytest.fixture(scope="module")
def undisturbed(night: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    run = runs.Reduction(night, tmp_path_factory.mktemp("undisturbed") / "out").start()
    assert run.wait() == 0, run.said()
    return runs.results(run.out)


def mount(*arguments: str) -> bool:
    return subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode == 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or not mount("-t", "tmpfs", "-o", "size=8m", "none", str(folder)):
        pytest.skip("needs root, to mount a file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Take all room that is left."""
    filler = disk / "filler"
    with filler.open("ab", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while file.write(b"\0" * size):
                    pass
            except OSError:
                continue
    return filler


def last_lines(run: Any) -> str:
    return "\n".join(run.said().replace("\r", "\n").splitlines()[-3:])


def reduction(night: Path, disk: Path, tmp_path: Path) -> Any:
    run = runs.Reduction(night, disk / "out")
    run.told = tmp_path / "said"
    return run.start()


def settled(run: Any, undisturbed: dict[str, bytes]) -> None:
    """Run again: the same bytes, and only what was missing is measured."""
    there, told = runs.rows_on_disk(run.out), len((run.out / "opticam.log").read_text())
    assert run.start().wait() == 0, run.said()
    redone = runs.rows_measured((run.out / "opticam.log").read_text()[told:])
    assert redone == runs.ROWS - there
    assert runs.different(run.out, undisturbed) == []
    assert runs.doubled_rows(run.out) == 0


@pytest.mark.parametrize("stage", ["catalogue", "photometry", "export"])
def test_a_full_disk(
    stage: str, night: Path, undisturbed: dict[str, bytes], disk: Path, tmp_path: Path
) -> None:
    run = reduction(night, disk, tmp_path)
    run.until(stage, 0.0, NO_WAIT)
    filler = fill(disk)
    code = run.wait()
    assert code == 1, run.said()
    assert "Traceback" not in run.said()
    assert "No space left on device" in last_lines(run)
    filler.unlink()
    settled(run, undisturbed)


def test_a_disk_that_becomes_read_only(
    night: Path, undisturbed: dict[str, bytes], disk: Path, tmp_path: Path
) -> None:
    run = reduction(night, disk, tmp_path)
    run.until("photometry", 0.0, NO_WAIT)
    # refused while a file is being written
    assert runs.wait_for(lambda: mount("-o", "remount,ro", str(disk)))
    code = run.wait()
    assert code == 1, run.said()
    assert "Traceback" not in run.said()
    assert "Read-only file system" in last_lines(run)
    assert mount("-o", "remount,rw", str(disk))
    settled(run, undisturbed)


@pytest.mark.parametrize(
    ("number", "code", "stage"),
    [(signal.SIGINT, 130, "catalogue"), (signal.SIGTERM, 143, "photometry")],
    ids=["Ctrl-C", "SIGTERM"],
)
def test_an_interrupted_run_leaves_no_process_and_goes_on(
    number: signal.Signals,
    code: int,
    stage: str,
    night: Path,
    undisturbed: dict[str, bytes],
    tmp_path: Path,
) -> None:
    run = runs.Reduction(night, tmp_path / "out").start()
    run.until(stage, 0.0, NO_WAIT)
    runs.wait_for(run.workers)
    time.sleep(0.1)
    run.see()
    run.process.send_signal(number)
    assert run.wait() == code, run.said()
    assert "Traceback" not in run.said()
    # bars that are cleared as their threads end may come after it
    assert "the same command goes on from there" in run.said()
    assert runs.gone(list(run.descendants.values()), 20.0)
    settled(run, undisturbed)
