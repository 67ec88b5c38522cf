"""Ctrl-C and SIGTERM as requests to end in good order."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, current_thread, main_thread
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """Whether, and by what, an end was asked for; waiting ends at once when it is."""

    def __init__(self) -> None:
        self._event = Event()
        self.signal: int | None = None
        self._before: dict[int, Any] = {}

    def __bool__(self) -> bool:
        return self._event.is_set()

    def listen(self) -> None:
        """Take the place of the handlers of the two signals."""
        self._before = {number: signal.signal(number, self.ask) for number in _SIGNALS}

    def restore(self) -> None:
        """Put the handlers back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def wait(self, seconds: float) -> bool:
        """Wait so long, or until an end is asked for; tell whether it is."""
        return self._event.wait(seconds)

    def ask(self, number: int, frame: FrameType | None = None) -> None:
        """Ask for an end; the second time at once.

        Raises
        ------
        KeyboardInterrupt
            If an end was asked for before, unless the handler that was there does something else.
        """
        if self:
            self._ask_again(number, frame)
        self.signal = number
        self._event.set()

    def _ask_again(self, number: int, frame: FrameType | None) -> None:
        """Do what the signal did before."""
        self.restore()
        handler = self._before.get(number)
        if callable(handler):
            handler(number, frame)
        raise KeyboardInterrupt


@contextmanager
def stoppable() -> Iterator[Stop]:
    """Turn Ctrl-C and SIGTERM into requests while the block runs; outside the main thread there are none."""
    stop = Stop()
    if current_thread() is main_thread():
        stop.listen()
    try:
        yield stop
    finally:
        stop.restore()
