"""Ctrl-C, and SIGTERM as batch systems warn: the first ends a command in order, the second at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopError(KeyboardInterrupt):
    """A signal to stop; whatever is prepared for Ctrl-C is prepared for this.

    Parameters
    ----------
    number : int
        The signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number

    @property
    def exit_code(self) -> int:
        """Exit code of a command that a signal has ended: 130 for Ctrl-C, 143 for SIGTERM."""
        return 128 + self.number


@contextmanager
def stopping_in_order() -> Iterator[None]:
    """Raise `StopError` on the first signal in the main thread, and end the process on the second."""
    wanted = [number for number in _SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, _stop) for number in wanted}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(number: int, _frame: FrameType | None) -> NoReturn:
    for each in _SIGNALS:
        if signal.getsignal(each) == _stop:
            signal.signal(each, _end)
    raise StopError(number)


def _end(number: int, _frame: FrameType | None) -> None:
    # Workers see that their client is gone and end by themselves.
    os.write(2, b"interrupted again; ends at once\n")
    os._exit(128 + number)
