"""Ctrl-C and SIGTERM end a command in order, with one line and a code; the second one ends it at once."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click
import pytest

from opticam_dask import cli
from opticam_dask.errors import OpticamError

WAITING = """
import sys, time
import click
from opticam_dask import cli

@click.command()
def command():
    try:
        print("at work", flush=True)
        time.sleep(60)
    finally:
        print("cleaning", flush=True)
        time.sleep(cleaning)
        print("clean", flush=True)

cli.LazyGroup.get_command = lambda *_: command
cleaning = float(sys.argv.pop())
sys.argv.append("wait")
cli.main()
"""


@contextmanager
def command_at_work(cleaning_s: float) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING, str(cleaning_s)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "at work\n"
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_ends_in_order(number: signal.Signals, code: int) -> None:
    with command_at_work(0.0) as process:
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert out == "cleaning\nclean\n"
    assert err.split("\n") == [
        "",
        "interrupted; what was finished is kept, and the same command goes on from there",
        "",
    ]


@pytest.mark.parametrize(("second", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_second_signal_ends_at_once(second: signal.Signals, code: int) -> None:
    with command_at_work(60.0) as process:
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        assert process.stdout.readline() == "cleaning\n"
        process.send_signal(second)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (code, "")
    assert "ends at once" in err


def test_a_signal_that_is_ignored_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with cli.stopping_in_order():
            assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
            assert signal.getsignal(signal.SIGINT) != signal.default_int_handler
        assert signal.getsignal(signal.SIGINT) == signal.default_int_handler
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (OpticamError("no frame"), 1, "error: no frame"),
        (OSError(errno.ENOSPC, "No space left on device", "out/log"), 1, "out/log: cannot be written"),
        (OSError(errno.EROFS, "Read-only file system", "out/log"), 1, "choose a folder you can write to"),
        (click.UsageError("no such option"), 2, "no such option"),
    ],
    ids=["ours", "full", "read-only", "usage"],
)
def test_errors_are_one_line_and_a_code(
    error: Exception,
    code: int,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fails(**_: object) -> None:
        raise error

    monkeypatch.setattr(cli, "group", fails)
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == code
    assert line in capsys.readouterr().err


def test_what_nobody_foresaw_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(**_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(cli, "group", fails)
    with pytest.raises(OSError, match="Input/output"):
        cli.main()
