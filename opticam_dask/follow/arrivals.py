"""Files as they arrive in a folder: which are complete and new, which are waited for, which have gone.

The folder is listed again and again. Notifications of the operating system would say sooner that a file is
there, by less than a second, but they say nothing on network file systems, where the frames of a telescope
usually lie, and a file that is listed is found even if nobody watched when it came.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from opticam_dask.errors import InputError
from opticam_dask.follow.completeness import shortfall
from opticam_dask.io.frame_files import Source, find_files
from opticam_dask.io.head_reader import HeadReader

LOOKED_AT = 2048
"""Files examined in one look: more wait for the next, so that the first are measured soon."""
_AGAIN_S = 30.0
_GONE = "gone before it was complete"

Stat = tuple[int, int, int]


@dataclass
class Waiting:
    """A file that is not complete yet, or was not when it was last looked at."""

    stat: Stat
    since: float
    reason: str = "not looked at yet"
    looked_at: Stat | None = None
    looked_when: float = 0.0


@dataclass(frozen=True)
class Arrival:
    """A complete file, when it was first seen (monotonic clock) [s], and whether it was told before."""

    path: str
    seen: float
    again: bool = False


class Arrivals:
    """The files of a source, told once each when they are complete.

    A file is complete when it is what its headers announce (`completeness.shortfall`) and was the same, in
    size and time of modification, in two looks: one written into space set aside has its size from the start.
    Times of the files are compared for being equal only, and waiting goes by the monotonic clock, so that
    clocks may jump. Hidden files, such as rsync writes, are no frames until they are renamed.

    Parameters
    ----------
    source : path, pattern, or iterable of paths
        See `opticam_dask.io.frame_files.find_files`; the folder may be empty, or not there yet.
    recursive : bool
        Whether to look into folders inside folders.
    known : iterable of str
        Files of an earlier run, not to be told again.
    clock : callable
        Seconds that never jump.
    """

    def __init__(
        self,
        source: Source,
        *,
        recursive: bool = False,
        known: Iterable[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source, self._recursive, self._clock = source, recursive, clock
        self._known = set(known)
        self._reader = HeadReader()
        self.waiting: dict[str, Waiting] = {}
        self.gone: dict[str, str] = {}
        self._doubted: set[str] = set()

    def __len__(self) -> int:
        return len(self._known) + len(self.waiting)

    def look(self) -> list[Arrival]:
        """List the files and examine those that are new or have changed.

        Returns
        -------
        list of Arrival
            Files that are complete and were not told before, by name.
        """
        listed, now = self._listed(), self._clock()
        ready, there = [path for path in listed if self._is_steady(path, now)], set(listed)
        for path in [path for path in self.waiting if path not in there and _stat(path) is None]:
            self._lose(path)
        return [arrival for path in ready[:LOOKED_AT] if (arrival := self._examine(path, now)) is not None]

    def put_back(self, path: str, reason: str) -> None:
        """Wait again for a file that turned out not to be readable."""
        self._known.discard(path)
        self._doubted.add(path)
        stat = _stat(path)
        if stat is None:
            self.gone[path] = _GONE
        else:
            now = self._clock()
            self.waiting[path] = Waiting(stat, now, reason, looked_at=stat, looked_when=now)

    def incomplete(self) -> dict[str, str]:
        """Tell the files that were never complete, and why."""
        return {path: each.reason for path, each in sorted(self.waiting.items())} | self.gone

    def _listed(self) -> list[str]:
        try:
            found = find_files(self._source, recursive=self._recursive)
        except InputError:
            # empty, not there before the first frame, or a file server that is away for a moment
            return []
        return [path for path in found if path not in self._known]

    def _is_steady(self, path: str, now: float) -> bool:
        """Whether a file is as it was in the look before, and there is something new to find out."""
        stat = _stat(path)
        if stat is None:
            return False
        before = self.waiting.get(path)
        if before is None:
            self.gone.pop(path, None)
            self.waiting[path] = Waiting(stat, now)
            return False
        if before.stat != stat:
            before.stat = stat
            return False
        return before.looked_at != stat or now - before.looked_when > _AGAIN_S

    def _examine(self, path: str, now: float) -> Arrival | None:
        each = self.waiting[path]
        each.reason = shortfall(path, self._reader)
        each.looked_at, each.looked_when = each.stat, now
        if each.reason:
            return None
        self._known.add(path)
        del self.waiting[path]
        return Arrival(path, each.since, again=path in self._doubted)

    def _lose(self, path: str) -> None:
        """Forget a file that has gone; one of the same number among the others is its new name."""
        inode = self.waiting.pop(path).stat[2]
        if all(each.stat[2] != inode for each in self.waiting.values()):
            self.gone[path] = _GONE


def _stat(path: str) -> Stat | None:
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ino
