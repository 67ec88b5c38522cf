"""Paths of many files in little memory: those of neighbouring frames differ by a digit or two."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import Any, overload


class PackedPaths(Sequence[str]):
    """A sequence of paths, compressed; each look inside unpacks all of it, so take a tuple of it for many.

    Parameters
    ----------
    packed : bytes
        As `of` makes it.
    count : int
        Number of paths.
    """

    __slots__ = ("_count", "packed")

    def __init__(self, packed: bytes, count: int) -> None:
        self.packed, self._count = packed, count

    @classmethod
    def of(cls, paths: Sequence[str]) -> PackedPaths:
        """Pack some paths; packed ones stay as they are."""
        if isinstance(paths, PackedPaths):
            return paths
        text = "\0".join(paths).encode("utf-8", "surrogateescape")
        return cls(zlib.compress(text, 1), len(paths))

    def joined(self) -> bytes:
        """All paths, a zero byte between two."""
        return zlib.decompress(self.packed)

    def _all(self) -> tuple[str, ...]:
        text = self.joined().decode("utf-8", "surrogateescape")
        return tuple(text.split("\0")) if self._count else ()

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: Any) -> Any:
        return self._all()[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self._all() == tuple(other)

    def __hash__(self) -> int:
        return hash(self._all())

    def __repr__(self) -> str:
        return repr(self._all())

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return type(self), (self.packed, self._count)
