"""Dask schedulers that prove laziness."""

from __future__ import annotations

from typing import Any

from dask.local import get_sync


class CountingScheduler:
    """Synchronous dask scheduler that fails on one compute more than allowed.

    Parameters
    ----------
    allowed : int, default 0
        Computes that may happen.

    Attributes
    ----------
    seen : int
        Computes so far.

    Examples
    --------
    >>> import dask.array as da
    >>> with dask.config.set(scheduler=CountingScheduler()):
    ...     lazy = da.ones(3, chunks=1) + 1
    """

    def __init__(self, allowed: int = 0) -> None:
        self.allowed = allowed
        self.seen = 0

    def __call__(self, graph: Any, keys: Any, **kwargs: Any) -> Any:
        """Compute ``keys``, or raise AssertionError if that is one compute too many."""
        self.seen += 1
        if self.seen > self.allowed:
            raise AssertionError(f"{self.seen} computes, {self.allowed} allowed")
        return get_sync(graph, keys, **kwargs)
