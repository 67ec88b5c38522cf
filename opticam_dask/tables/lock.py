"""One run at a time on one folder: the second notices, and says who is at work there.

The lock is a small file in the folder, ``.opticam.lock``: which process holds it, on which host, for what. It
appears whole, by a hard link (or, where there are none, by creating it exclusively), which is atomic on local
disks and on NFS alike; no lock daemon is needed. It is advice: readers do not ask for it.

A lock whose holder is gone is taken over. On the same host the process table tells: a process of that number,
started at that moment. On another host nothing can be asked, so a holder touches its lock every 20 seconds,
and one left alone for three minutes counts as given up; both times are taken from the file server's clock,
for those of two hosts differ.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any

from opticam_dask.errors import BusyError, InputError

NAME = ".opticam.lock"
TOUCHED_EVERY = 20.0
"""A holder gives a sign of life this often [s]."""
GIVEN_UP_AFTER = 180.0
"""A holder on another host that gave none for so long is gone [s]."""

_TRIES = 20
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS)
_mine: dict[tuple[int, str], tuple[Any, ...]] = {}
"""Locks of this process: (process, path) -> how often it holds it, what it wrote there, and its keeper."""
_guard = Lock()


@contextmanager
def held(folder: str | Path, what: str = "reduce") -> Iterator[None]:
    """Hold the lock of a folder; within one process, what holds it already may do so again.

    Parameters
    ----------
    folder : path
        Made when missing.
    what : str
        What is done there, for the message that another run gives.

    Raises
    ------
    BusyError
        If another process holds the lock; the message names it.
    InputError
        If the folder cannot be written to.
    """
    path = Path(folder).resolve() / NAME
    mine = os.getpid(), str(path)
    with _guard:
        times, *taken = _mine[mine] if mine in _mine else (0, *_take(path, what))
        _mine[mine] = (times + 1, *taken)
    try:
        yield
    finally:
        with _guard:
            times, *taken = _mine.pop(mine)
            if times > 1:
                _mine[mine] = (times - 1, *taken)
            else:
                _give_up(path, *taken)


def holder(folder: str | Path) -> str | None:
    """Say who is at work in a folder, as ``reduce (process 12 on host, since ...)``; None if nobody is."""
    path = Path(folder) / NAME
    found = _read(path)
    return None if found is None or _is_gone(path, found) else _who(found)


def _take(path: Path, what: str) -> tuple[dict[str, Any], Event]:
    """Put our lock in place; a thread keeps it fresh until the event is set."""
    me = {
        "host": socket.gethostname(),
        "process": os.getpid(),
        "started": _started(os.getpid()),
        "what": what,
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
        "token": uuid.uuid4().hex,
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for _ in range(_TRIES):
            if _placed(path, me):
                done = Event()
                Thread(target=_keep, args=(path, me, done), name="opticam-lock", daemon=True).start()
                return me, done
            _make_way(path)
    except OSError as error:
        raise InputError(
            f"{path.parent}: cannot be written ({error.strerror}); choose a folder you can write to"
        ) from error
    raise BusyError(f"{path.parent}: several runs want to begin there at once; run again")


def _give_up(path: Path, me: dict[str, Any], done: Event) -> None:
    """Remove our lock, unless it has become another's."""
    done.set()
    with suppress(OSError):
        if _read(path) == me:
            path.unlink()


def _placed(path: Path, me: dict[str, Any]) -> bool:
    """Whether our lock is there now; not if another's is."""
    beside = path.with_name(f"{NAME}.{me['token']}")
    try:
        beside.write_text(json.dumps(me), encoding="utf-8")
        try:
            os.link(beside, path)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            return _created(path, me)
        return True
    finally:
        with suppress(OSError):
            beside.unlink()


def _created(path: Path, me: dict[str, Any]) -> bool:
    """Do what `_placed` does where the file system knows no links."""
    try:
        with path.open("x", encoding="utf-8") as file:
            json.dump(me, file)
    except FileExistsError:
        return False
    return True


def _make_way(path: Path) -> None:
    """Take away a lock whose holder is gone.

    Raises
    ------
    BusyError
        If its holder is at work.
    """
    found = _read(path)
    if found is None:
        return
    if not _is_gone(path, found):
        raise BusyError(
            f"{path.parent}: {_who(found)} is at work there; wait until it has ended "
            f"(if it is gone for certain, remove {path})"
        )
    aside = path.with_name(f"{NAME}.{uuid.uuid4().hex}")
    with suppress(FileNotFoundError):
        path.rename(aside)
        # another run may have been quicker, and this be its lock: then it goes back
        if _read(aside) != found:
            with suppress(FileExistsError):
                os.link(aside, path)
        aside.unlink()


def _read(path: Path) -> dict[str, Any] | None:
    """Read a lock: None if there is none, empty if it does not say whose it is."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _is_gone(path: Path, found: dict[str, Any]) -> bool:
    """Whether the holder of a lock has ended, or gave no sign of life for long."""
    if found.get("host") == socket.gethostname():
        return _has_ended(int(found.get("process", 0)), found.get("started"))
    probe = path.with_name(f"{NAME}.{uuid.uuid4().hex}")
    try:
        probe.touch()
        return probe.stat().st_mtime - path.stat().st_mtime > GIVEN_UP_AFTER
    except FileNotFoundError:
        return True
    finally:
        probe.unlink(missing_ok=True)


def _has_ended(process: int, started: str | None) -> bool:
    """Whether a process of this host has ended; its number may be another's by now."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    now = _started(process)
    return now is not None and started is not None and now != started


def _started(process: int) -> str | None:
    """When a process of this host began, in its own units; None if that cannot be told."""
    try:
        # the name, in brackets, may hold anything; the state and 18 more fields come before the time
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return "ended" if fields[0] == "Z" else fields[19]


def _who(found: dict[str, Any]) -> str:
    if not found:
        return "another run"
    return (
        f"{found.get('what')} (process {found.get('process')} on {found.get('host')}, "
        f"since {found.get('since')})"
    )


def _keep(path: Path, me: dict[str, Any], done: Event) -> None:
    """Give signs of life until the end."""
    while not done.wait(TOUCHED_EVERY):
        with suppress(OSError):
            if _read(path) == me:
                os.utime(path)
