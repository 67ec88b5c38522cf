"""One run at a time on one folder: who is second notices, and what a dead run left is taken over."""

import json
import os
import re
import socket
import subprocess
import sys

import pytest

from opticam_dask.cli import main
from opticam_dask.errors import BusyError, InputError
from opticam_dask.tables import lock
from opticam_dask.tables.lock import NAME, held, holder
from opticam_dask.tables.store import dataset_root

HOLD = """
import sys
from opticam_dask.tables.lock import held
with held(sys.argv[1], what="compact"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path):
    """Another process that holds the lock of a folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_the_second_run_says_who_is_at_work_and_waits_for_its_end(other, tmp_path):
    with pytest.raises(BusyError, match=rf"compact \(process {other.pid} on {socket.gethostname()}"):
        held(tmp_path).__enter__()
    assert f"process {other.pid}" in holder(tmp_path)
    other.communicate("")
    assert holder(tmp_path) is None
    with held(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_merged_beside_another_run(other, tmp_path, monkeypatch, capsys):
    root = dataset_root(tmp_path, "optimal")
    (root / "night=2024-01-01" / "camera=1%3Ag").mkdir(parents=True)
    monkeypatch.setattr(sys, "argv", ["opticam-dask", "compact", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr().err.strip()
    assert ended.value.code != 0
    assert re.fullmatch(rf"[^\n]*compact \(process {other.pid} on [^\n]* is at work there; wait [^\n]*", told)


def test_what_a_killed_run_left_is_taken_over(other, tmp_path):
    other.kill()
    # not waited for: the process is gone, its number is still in the table
    os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
    assert (tmp_path / NAME).is_file()
    with held(tmp_path):
        assert json.loads((tmp_path / NAME).read_text())["process"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_a_process_of_the_same_number_but_another_beginning_is_not_the_holder(tmp_path):
    mine = {"host": socket.gethostname(), "process": os.getpid(), "started": "1"}
    (tmp_path / NAME).write_text(json.dumps(mine))
    with held(tmp_path):
        pass


@pytest.mark.parametrize("content", ['{"host": "elsewhere", "process": 1, "what": "survey"}', ""])
def test_a_holder_on_another_host_is_believed_while_it_gives_signs_of_life(tmp_path, content):
    (tmp_path / NAME).write_text(content)
    with pytest.raises(BusyError, match=r"remove .*\.opticam\.lock"):
        held(tmp_path).__enter__()
    long_ago = (tmp_path / NAME).stat().st_mtime - lock.GIVEN_UP_AFTER - 5
    os.utime(tmp_path / NAME, (long_ago, long_ago))
    with held(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_signs_of_life_are_given(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "TOUCHED_EVERY", 0.01)
    with held(tmp_path):
        os.utime(tmp_path / NAME, (1.0, 1.0))
        for _ in range(1000):
            if (tmp_path / NAME).stat().st_mtime > 1.0:
                break
            lock.Event().wait(0.01)
        assert (tmp_path / NAME).stat().st_mtime > 1.0


def test_within_a_process_it_is_held_until_the_outermost_ends(tmp_path):
    with held(tmp_path):
        with held(tmp_path):
            pass
        assert (tmp_path / NAME).is_file()
    assert not (tmp_path / NAME).exists()


def test_a_lock_that_became_anothers_is_left_alone(tmp_path):
    with held(tmp_path):
        (tmp_path / NAME).write_text('{"host": "elsewhere"}')
    assert (tmp_path / NAME).is_file()


def test_one_of_many_gets_the_lock_of_a_dead_run(tmp_path):
    gone = {"host": socket.gethostname(), "process": 2**22 + 1, "started": "1"}
    (tmp_path / NAME).write_text(json.dumps(gone))
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    first = [run.stdout.readline() for run in runs]
    errors = [run.communicate("")[1] for run in runs]
    assert sorted(first) == ["", "", "held\n"]
    assert sum("BusyError" in error for error in errors) == 2
    assert list(tmp_path.iterdir()) == []


def test_without_hard_links_the_lock_is_made_all_the_same(tmp_path, monkeypatch):
    def unknown(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", unknown)
    with held(tmp_path):
        assert json.loads((tmp_path / NAME).read_text())["process"] == os.getpid()
    (tmp_path / NAME).write_text('{"host": "elsewhere"}')
    with pytest.raises(BusyError):
        held(tmp_path).__enter__()


def test_a_folder_that_cannot_be_written_to_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        held(tmp_path / "file" / "out").__enter__()
