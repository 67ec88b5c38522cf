"""Progress bars: rate and time left, on stderr; in a notebook one at a time, for long work only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import NoReturn

from tqdm import tqdm

_CELL = Lock()
# In a cell: time until a bar appears, and between its changes [s].
_DELAY_S, _BETWEEN_S = 2.0, 1.0


def in_notebook() -> bool:
    """Whether this runs in IPython or Jupyter."""
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    return get_ipython() is not None


@contextmanager
def progress_bar(
    total: int | None, title: str, unit: str, *, shown: bool = True, leave: bool = False, delay_s: float = 0.0
) -> Iterator[tqdm[NoReturn]]:
    """Open a bar; cameras that are worked on at once have one each in a terminal, one alone in a cell.

    Parameters
    ----------
    total : int, optional
        Steps to do.
    title : str
        What stands before the bar.
    unit : str
        What a step is.
    shown : bool
        Whether to show it at all.
    leave : bool
        Whether it stays when all is done; in a notebook it never does.
    delay_s : float
        It appears after this time [s], so that an early error stands alone.
    """
    cell = in_notebook()
    mine = shown and cell and _CELL.acquire(blocking=False)
    try:
        with tqdm(
            total=total,
            desc=title,
            unit=unit,
            disable=not (mine if cell else shown),
            leave=leave and not cell,
            position=0 if cell else None,
            delay=_DELAY_S if cell else delay_s,
            mininterval=_BETWEEN_S if cell else 0.1,
        ) as bar:
            yield bar
    finally:
        if mine:
            _CELL.release()
