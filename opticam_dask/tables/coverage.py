"""Which frames the parts on disk hold, however they are cut, and which are still to be measured."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import pairwise

from opticam_dask.tables.parts import PartKey


class Coverage:
    """Frames of one camera that some spans hold.

    Parameters
    ----------
    spans : iterable of PartKey
        Spans of frames, of any nights, in any order; they may touch but not overlap.
    """

    def __init__(self, spans: Iterable[PartKey]) -> None:
        self._edges: dict[str, list[int]] = {}
        for night, _, start, stop in sorted(spans):
            edges = self._edges.setdefault(night, [])
            if edges and edges[-1] == start:
                edges[-1] = stop
            else:
                edges += [start, stop]

    def __bool__(self) -> bool:
        """Whether any frame is held."""
        return bool(self._edges)

    def holds(self, night: str, frame: int) -> bool:
        """Whether a frame is in one of the spans."""
        return bisect_right(self._edges.get(night, []), frame) % 2 == 1

    def edges(self, span: PartKey) -> list[int]:
        """Frames inside a span at which it begins or ceases to be held."""
        night, _, start, stop = span
        edges = self._edges.get(night, [])
        return edges[bisect_right(edges, start) : bisect_left(edges, stop)]

    def encloses(self, span: PartKey) -> bool:
        """Whether every frame of a span is held."""
        return self.holds(span[0], span[2]) and not self.edges(span)


def doubled(parts: Iterable[PartKey]) -> set[PartKey]:
    """Parts that hold a frame which an earlier one of the same night and camera, or a longer one, holds."""
    found, ends = set(), dict[tuple[str, str], int]()
    for key in sorted(parts, key=lambda part: (*part[:3], -part[3])):
        if key[2] < ends.get(key[:2], 0):
            found.add(key)
        else:
            ends[key[:2]] = key[3]
    return found


def lacking(span: PartKey, sets: Sequence[Coverage]) -> list[tuple[PartKey, tuple[int, ...]]]:
    """Cut a span where some set lacks frames.

    Returns
    -------
    list of (PartKey, tuple of int)
        The pieces to be measured, and which of the sets lack each.
    """
    night, camera, start, stop = span
    edges = sorted({start, stop}.union(*(each.edges(span) for each in sets)))
    pieces = (
        ((night, camera, a, b), tuple(i for i, each in enumerate(sets) if not each.holds(night, a)))
        for a, b in pairwise(edges)
    )
    return [(piece, numbers) for piece, numbers in pieces if numbers]
