"""Work that is repeated while frames come, as often as it takes little of the time."""

from __future__ import annotations

import time
from collections.abc import Callable

_SHARE = 0.1


class Paced:
    """Calls a function now and then: not sooner than asked, and for a tenth of the time at most.

    Parameters
    ----------
    work : callable
        What to do.
    every_s : float
        Least time between two calls [s].
    clock : callable
        Seconds that never jump.
    """

    def __init__(
        self, work: Callable[[], object], every_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._work, self._every, self._clock = work, every_s, clock
        self._due = -float("inf")
        self._dirty = False

    def __call__(self, *, now: bool = False) -> None:
        """Call the function if there is something new for it and it is due, or ``now``."""
        began = self._clock()
        if not self._dirty or (began < self._due and not now):
            return
        self._work()
        self._dirty = False
        ended = self._clock()
        self._due = ended + max(self._every, (ended - began) / _SHARE)

    def changed(self) -> None:
        """Take note that there is something new."""
        self._dirty = True
