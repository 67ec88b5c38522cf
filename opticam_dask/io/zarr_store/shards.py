"""The bytes of a shard: compressed tiles frame after frame, then an index; Zarr's ``sharding_indexed``.

Each tile ends in its CRC-32C, and so does the index. Tiles of one frame lie side by side, so that a frame is
one read.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self, TypeAlias

import google_crc32c
import numpy as np
from numcodecs import blosc
from numpy.typing import NDArray

from opticam_dask.io.buffers import scratch
from opticam_dask.io.indexing import AxisIndex
from opticam_dask.io.zarr_store.layout import ArrayLayout, blosc_settings
from opticam_dask.types import Image

Where: TypeAlias = slice | NDArray[np.intp]

ABSENT = 2**64 - 1
"""Offset and size of a tile that is not there."""

_CRC = 4


class ShardError(Exception):
    """Bytes of a shard are missing or damaged."""


def checksum(data: Any) -> bytes:
    """CRC-32C of some bytes, as Zarr stores it."""
    # as an array: the library takes no memoryview
    return int(google_crc32c.value(np.frombuffer(data, np.uint8))).to_bytes(_CRC, "little")


def encode_frame(image: Image, layout: ArrayLayout) -> list[bytes]:
    """Compress the tiles of a frame, each with its checksum, row after row of tiles."""
    how = blosc_settings(layout)
    shuffle = blosc.SHUFFLE if how["shuffle"] == "shuffle" else blosc.NOSHUFFLE
    ty, tx = layout.tile
    tile = np.zeros(layout.tile, layout.dtype)  # what reaches beyond the frame stays 0
    found = []
    for y, x in np.ndindex(layout.tiles):
        part = image[y * ty : (y + 1) * ty, x * tx : (x + 1) * tx]
        tile[...] = 0
        tile[: part.shape[0], : part.shape[1]] = part
        packed = blosc.compress(tile, how["cname"].encode(), how["clevel"], shuffle, how["blocksize"])
        found.append(packed + checksum(packed))
    return found


def decode_tile(data: memoryview, tile: Image) -> None:
    """Check and decompress one tile into ``tile``.

    Raises
    ------
    ShardError
        If its bytes are not those that were written.
    """
    packed = data[:-_CRC]
    if checksum(packed) != data[-_CRC:]:
        raise ShardError("damaged: the checksum of a tile does not fit")
    try:
        blosc.decompress(packed, tile)
    except (RuntimeError, ValueError) as error:
        raise ShardError(f"damaged: {error}") from error


def decode_frame(tiles: list[bytes], layout: ArrayLayout) -> Image:
    """Decompress the tiles of a frame.

    Raises
    ------
    ShardError
        If one is damaged.
    """
    (ty, tx), image = layout.tile, np.empty(layout.shape, layout.dtype)
    tile = np.empty(layout.tile, layout.dtype)
    for (y, x), data in zip(np.ndindex(layout.tiles), tiles, strict=True):
        decode_tile(memoryview(data), tile)
        part = image[y * ty : (y + 1) * ty, x * tx : (x + 1) * tx]
        part[...] = tile[: part.shape[0], : part.shape[1]]
    return image


def write_shard(path: Path, frames: list[list[bytes]], layout: ArrayLayout) -> None:
    """Write a shard; a frame without tiles is absent."""
    index = np.full((layout.frames_per_shard, math.prod(layout.tiles), 2), ABSENT, "<u8")
    offset = 0
    with path.open("wb") as file:
        for place, tiles in enumerate(frames):
            sizes = np.array([len(tile) for tile in tiles], "<u8")
            if tiles:
                index[place, :, 1] = sizes
                index[place, :, 0] = offset + np.cumsum(sizes) - sizes
            file.writelines(tiles)
            offset += int(sizes.sum())
        raw = index.tobytes()
        file.write(raw + checksum(raw))


class Shard:
    """An open shard.

    Parameters
    ----------
    path : Path
        Its file.
    layout : ArrayLayout
        Layout of its array.

    Raises
    ------
    ShardError
        If it cannot be opened, or its index is damaged.
    """

    def __init__(self, path: Path, layout: ArrayLayout) -> None:
        self.path, self._layout = path, layout
        try:
            self._file = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise ShardError(f"cannot be opened: {error.strerror}") from error
        try:
            self._index = self._read_index()
        except ShardError:
            self.close()
            raise
        self._tile = np.empty(layout.tile, layout.dtype)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _read_index(self) -> NDArray[np.uint64]:
        tiles = math.prod(self._layout.tiles)
        size = self._layout.frames_per_shard * tiles * 16
        start = os.fstat(self._file).st_size - size - _CRC
        raw = bytes(self._read(start, size + _CRC)) if start >= 0 else b""
        if not raw or checksum(raw[:-_CRC]) != raw[-_CRC:]:
            raise ShardError("truncated or damaged: its index does not fit")
        return np.frombuffer(raw[:-_CRC], "<u8").reshape(-1, tiles, 2)

    def _read(self, start: int, size: int) -> memoryview:
        """Bytes of the file, in memory that the next read uses again."""
        data = scratch(size).data
        try:
            count = os.preadv(self._file, [data], start)
        except OSError as error:
            raise ShardError(f"cannot be read: {error.strerror}") from error
        if count < size:
            raise ShardError(f"truncated: {size} bytes at {start} needed, {count} found")
        return data

    def holds(self, place: int) -> bool:
        """Whether the frame at a place of the shard is there."""
        return bool((self._index[place] != ABSENT).all())

    def packed(self, place: int) -> list[bytes]:
        """Tiles of a frame as they are stored, checksums included; none of an absent frame.

        Raises
        ------
        ShardError
            If they cannot be read.
        """
        if not self.holds(place):
            return []
        return [bytes(data) for _, data in self._tiles(place, range(self._index.shape[1]))]

    def read_into(self, out: Image, place: int, rows: AxisIndex, columns: AxisIndex) -> None:
        """Decode a frame, or a part of it, into ``out``; only tiles that hold some of it are read.

        Raises
        ------
        ShardError
            If a tile cannot be read or is damaged.
        """
        (ty, tx), (_, across) = self._layout.tile, self._layout.tiles
        down, along = _cuts(rows, ty), _cuts(columns, tx)
        wanted = {y * across + x: (*down[y], *along[x]) for y in down for x in along}
        for number, data in self._tiles(place, sorted(wanted)):
            decode_tile(data, self._tile)
            to_y, from_y, to_x, from_x = wanted[number]
            out[_mesh(to_y, to_x)] = self._tile[_mesh(from_y, from_x)]

    def _tiles(self, place: int, numbers: Sequence[int]) -> Iterator[tuple[int, memoryview]]:
        """Bytes of some tiles of a frame; neighbours in the file are read at once."""
        spans = self._index[place].tolist()
        first = 0
        while first < len(numbers):
            stop = first + 1
            while stop < len(numbers) and spans[numbers[stop]][0] == sum(spans[numbers[stop - 1]]):
                stop += 1
            start, (last, size) = spans[numbers[first]][0], spans[numbers[stop - 1]]
            data = self._read(start, last + size - start)
            for number in numbers[first:stop]:
                at, size = spans[number]
                yield number, data[at - start : at - start + size]
            first = stop


def _cuts(axis: AxisIndex, length: int) -> dict[int, tuple[Where, Where]]:
    """For each tile that holds some of the positions: their places in the output, and in the tile."""
    if isinstance(axis.where, slice) and axis.where.step == 1:
        start, stop = axis.span
        return {
            tile: (
                slice(max(tile * length - start, 0), min((tile + 1) * length, stop) - start),
                slice(max(start - tile * length, 0), min(stop - tile * length, length)),
            )
            for tile in range(start // length, -(-stop // length))
        }
    positions = np.asarray(axis.positions(), np.intp)
    tiles = positions // length
    places = {int(tile): np.flatnonzero(tiles == tile) for tile in np.unique(tiles)}
    return {tile: (where, positions[where] - tile * length) for tile, where in places.items()}


def _mesh(rows: Where, columns: Where) -> tuple[Any, Any]:
    """Index of rows and columns, each on its own."""
    if isinstance(rows, slice) or isinstance(columns, slice):
        return rows, columns
    return rows[:, None], columns
