"""Indexing of one axis, in a form that tells what has to be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Key: TypeAlias = int | slice | Sequence[int] | NDArray[Any]
"""What may select along one axis: an integer, a slice, integers, or a boolean mask."""

ALL = slice(None)


@dataclass(frozen=True)
class AxisIndex:
    """Positions selected along an axis.

    Parameters
    ----------
    where : slice or ndarray of int
        Positions, none negative; a slice runs forwards.
    size : int
        Number of positions.
    dropped : bool
        Whether the axis vanishes (an integer selected it).
    """

    where: slice | NDArray[np.intp]
    size: int
    dropped: bool = False

    @property
    def span(self) -> tuple[int, int]:
        """First position, and the one after the last."""
        if not self.size:
            return 0, 0
        if isinstance(self.where, slice):
            return self.where.start, self.where.start + (self.size - 1) * self.where.step + 1
        return int(self.where.min()), int(self.where.max()) + 1

    @property
    def is_run(self) -> bool:
        """Whether the positions follow one another."""
        return isinstance(self.where, slice) and self.where.step == 1

    @property
    def within(self) -> slice | NDArray[np.intp]:
        """The same positions, counted from the first of ``span``."""
        if isinstance(self.where, slice):
            return slice(0, None, self.where.step)
        return self.where - self.span[0]

    def positions(self) -> list[int]:
        """Positions as a list."""
        if isinstance(self.where, slice):
            return list(range(*self.where.indices(self.where.stop)))
        return [int(position) for position in self.where]


def axis_index(key: Key, length: int) -> AxisIndex:
    """Bring an index of an axis of ``length`` into standard form.

    Raises
    ------
    IndexError
        If it lies outside the axis.
    """
    if isinstance(key, Integral):
        position = int(key) + (length if key < 0 else 0)
        if not 0 <= position < length:
            raise IndexError(f"index {key} is outside an axis of length {length}")
        return AxisIndex(slice(position, position + 1, 1), 1, dropped=True)
    if isinstance(key, slice):
        run = range(*key.indices(length))
        if run.step > 0:
            return AxisIndex(slice(run.start, max(run.stop, run.start), run.step), len(run))
        return AxisIndex(np.array(run, np.intp), len(run))
    chosen = np.asarray(key)
    if not chosen.size:
        chosen = chosen.astype(np.intp)
    where = np.arange(length)[chosen]
    return AxisIndex(where, where.size)


def axis_indices(key: Any, shape: Sequence[int]) -> tuple[AxisIndex, ...]:
    """Bring an index of an array into one standard form per axis; each axis is indexed on its own.

    Raises
    ------
    IndexError
        If there are more indices than axes, or one lies outside its axis.
    """
    keys = list(key) if isinstance(key, tuple) else [key]
    for place in [i for i, k in enumerate(keys) if k is Ellipsis][:1]:
        keys[place : place + 1] = [ALL] * (len(shape) - len(keys) + 1)
    if len(keys) > len(shape):
        raise IndexError(f"{len(keys)} indices for {len(shape)} axes")
    keys += [ALL] * (len(shape) - len(keys))
    return tuple(axis_index(k, length) for k, length in zip(keys, shape, strict=True))


def merged(spans: NDArray[np.int64], gap: int = 0) -> list[tuple[int, int]]:
    """Sort half-open spans, shape (n, 2), and join those that overlap or are at most ``gap`` apart."""
    joined: list[tuple[int, int]] = []
    for start, stop in sorted(spans.tolist()):
        if joined and start <= joined[-1][1] + gap:
            joined[-1] = joined[-1][0], max(joined[-1][1], stop)
        else:
            joined.append((start, stop))
    return joined


def pick(array: NDArray[Any], rows: AxisIndex, columns: AxisIndex) -> NDArray[Any]:
    """Rows (counted from the first of their span) and columns of an image, each on its own."""
    return array[rows.within][:, columns.where]


def drop_axes(array: NDArray[Any], axes: Sequence[AxisIndex]) -> NDArray[Any]:
    """Remove the axes that integers selected."""
    return array[tuple(0 if axis.dropped else ALL for axis in axes)]
