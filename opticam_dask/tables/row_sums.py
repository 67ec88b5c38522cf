"""A sum over rows that tells whether two sets of rows are the same, whatever their order and grouping."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_ODD = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class RowSum:
    """Number of rows, and the sum of their hashes modulo 2**64."""

    rows: int = 0
    total: int = 0

    def __add__(self, other: RowSum) -> RowSum:
        return RowSum(self.rows + other.rows, (self.total + other.total) % 2**64)

    @classmethod
    def of(cls, table: pa.Table) -> RowSum:
        """Sum over the rows of a table: every bit of every column counts, NaN's own included."""
        mixed = np.zeros(table.num_rows, np.uint64)
        for name in sorted(table.column_names):
            mixed ^= _bits(table.column(name))
            # multiply and fold (as splitmix64 does): what a column adds depends on all those before it
            mixed *= _ODD
            mixed ^= mixed >> np.uint64(29)
        return cls(table.num_rows, int(mixed.sum(dtype=np.uint64)))


def _bits(column: pa.ChunkedArray) -> NDArray[np.uint64]:
    if pa.types.is_string(column.type):
        coded = column.combine_chunks().dictionary_encode()
        words = [zlib.crc32(word.encode()) for word in coded.dictionary.to_pylist()]
        return np.asarray(np.array(words, np.uint64)[coded.indices.to_numpy()])
    values = np.ascontiguousarray(column.to_numpy())
    return np.asarray((values if values.itemsize == 8 else values.astype(np.int64)).view(np.uint64))
