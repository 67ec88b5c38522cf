"""Tile-compressed images whose tiles are Rice-coded integers, decoded without a detour.

Whatever else a compressed image may hold (other codes, quantised floats, tiles stored in other columns) is
left to astropy. FITS Standard 4.0, section 10.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opticam_dask.io.buffers import scratch
from opticam_dask.io.byte_streams import ByteStream
from opticam_dask.io.cards import CARD
from opticam_dask.io.containers import HduHeader
from opticam_dask.kernels.rice import CODES, RiceCode, decode_tiles

_LAYOUT = re.compile(
    rb"(Z[A-Z]+\d*|NAXIS[12]|THEAP|TFIELDS|TFORM\d+|TTYPE\d+) *= +(?:'([^']*)'|([^ /]+))", re.ASCII
)
_COLUMN = re.compile(r"(\d*)([LXBIJKAEDCMPQ])")
_COLUMN_BYTES = dict(zip("LBIJKAEDCMPQ", (1, 1, 2, 4, 8, 1, 4, 8, 8, 16, 8, 16), strict=True))
_DESCRIPTORS: dict[str, np.dtype[Any]] = {"P": np.dtype(">i4"), "Q": np.dtype(">i8")}
_NOT_PLAIN = {"ZSCALE", "ZZERO", "ZBLANK"}  # columns or keywords of numbers that are not stored as they are


class TileError(Exception):
    """Tiles are damaged; the message says how."""


@dataclass(frozen=True)
class RiceTiles:
    """Where the Rice-coded tiles of an image are.

    Parameters
    ----------
    shape : (height, width)
        Shape of a tile.
    per_plane : int
        Tiles of one plane.
    table, row_bytes : int
        Offset of the table of tiles in the file, and length of its rows [byte].
    column : int
        Place of the descriptor in a row [byte].
    descriptor : dtype
        Type of its two numbers: size and offset.
    heap, end : int
        Offsets of the first compressed byte and of the one after the last.
    code : RiceCode
        How the tiles are coded.
    """

    shape: tuple[int, int]
    per_plane: int
    table: int
    row_bytes: int
    column: int
    descriptor: np.dtype[Any]
    heap: int
    end: int
    code: RiceCode

    def read_into(
        self, words: NDArray[Any], stream: ByteStream, plane: int, height: int, first: int, flip: int
    ) -> bool:
        """Decode rows of a plane; false if tiles of it are stored in another way.

        Parameters
        ----------
        words : ndarray, shape (n_rows, nx), unsigned
            Where to put the bit patterns.
        stream : ByteStream
            The file, which has all its bytes.
        plane, height : int
            Plane, and its number of rows.
        first : int
            First row to decode.
        flip : int
            Bits to flip in each pixel.

        Raises
        ------
        TileError
            If the tiles are damaged.
        """
        top, bottom = first // self.shape[0], -(-(first + len(words)) // self.shape[0])
        across = -(-words.shape[1] // self.shape[1])
        number = plane * self.per_plane + top * across
        places = self._places(stream, number, (bottom - top) * across)
        if (places[:, 0] == 0).any():
            return False
        begin, end = places[:, 1], places.sum(axis=1)
        low, high = int(begin.min()), int(end.max())
        if places.min() < 0 or self.heap + high > self.end:
            raise TileError("a tile lies beyond the data")
        data = scratch(high - low)
        if stream.readinto_at(self.heap + low, data.data) < data.size:
            raise TileError(stream.fault or "the file ends early")
        ends = np.column_stack([begin, end]) - low
        skipped = top * self.shape[0]
        bad = decode_tiles(
            data,
            ends,
            self.shape,
            height - skipped,
            first - skipped,
            words,
            words.dtype.type(flip),
            self.code,
        )
        if bad >= 0:
            raise TileError(f"tile {number + bad + 1} does not hold what its pixels take")
        return True

    def _places(self, stream: ByteStream, first: int, count: int) -> NDArray[np.int64]:
        """Size and offset in the heap of some tiles, shape (count, 2)."""
        rows = np.empty((count, self.row_bytes), np.uint8)
        if stream.readinto_at(self.table + first * self.row_bytes, rows.reshape(-1).data) < rows.size:
            raise TileError(stream.fault or "the file ends early")
        width = 2 * self.descriptor.itemsize
        numbers = np.ascontiguousarray(rows[:, self.column : self.column + width])
        return numbers.view(self.descriptor).astype(np.int64)


def rice_tiles(header: HduHeader) -> RiceTiles | None:
    """Find the tiles of a compressed image; None if they are not Rice-coded integers and nothing else."""
    cards = _layout_cards(header.raw)
    code = _code(cards, header)
    try:
        column = _column(cards)
        tile = [
            int(cards.get(f"ZTILE{axis}", "1" if axis > 1 else header.shape[-1])) for axis in _axes(header)
        ]
        row_bytes, rows = int(cards["NAXIS1"]), int(cards["NAXIS2"])
        heap = int(cards.get("THEAP", row_bytes * rows))
    except (KeyError, ValueError):
        return None
    if code is None or column is None or min(tile) < 1 or any(depth != 1 for depth in tile[2:]):
        return None
    per_plane = math.prod(
        -(-length // side) for length, side in zip(header.shape[:-3:-1], tile[:2], strict=True)
    )
    place, kind = column
    descriptor = _DESCRIPTORS[kind]
    if rows != per_plane * math.prod(header.shape[:-2]) or place + 2 * descriptor.itemsize > row_bytes:
        return None
    start = header.data_offset
    return RiceTiles(
        (tile[1], tile[0]), per_plane, start, row_bytes, place, descriptor, start + heap,
        start + header.data_bytes, code,
    )  # fmt: skip


def _axes(header: HduHeader) -> range:
    return range(1, len(header.shape) + 1)


def _layout_cards(raw: bytes) -> dict[str, str]:
    """Values of the cards that say how an image is compressed, as text."""
    found: dict[str, str] = {}
    for start in range(0, len(raw), CARD):
        if card := _LAYOUT.match(raw, start, start + CARD):
            value = card[3] if card[2] is None else card[2]
            found.setdefault(card[1].decode(), value.decode("ascii", "replace").strip())
    return found


def _code(cards: dict[str, str], header: HduHeader) -> RiceCode | None:
    """How the tiles are coded, if as Rice-coded integers of the size of the pixels."""
    given = {cards.get(f"ZNAME{n}"): cards.get(f"ZVAL{n}", "") for n in range(1, 9)}
    bits, block = header.pixels.bitpix if header.pixels else 0, given.get("BLOCKSIZE", "32")
    if cards.get("ZCMPTYPE") not in ("RICE_1", "RICE_ONE") or bits not in CODES or _NOT_PLAIN & cards.keys():
        return None
    if given.get("BYTEPIX", "4") != str(bits // 8) or not block.isdecimal() or int(block) < 1:
        return None
    return RiceCode(*CODES[bits], bits, int(block))


def _column(cards: dict[str, str]) -> tuple[int, str] | None:
    """Place in a row of the descriptors of compressed data, and their kind; None if there are odd columns."""
    offset, found = 0, None
    for number in range(1, int(cards["TFIELDS"]) + 1):
        name, form = cards[f"TTYPE{number}"], _COLUMN.match(cards[f"TFORM{number}"])
        if form is None or name in _NOT_PLAIN:
            return None
        count = int(form[1] or 1)
        if name == "COMPRESSED_DATA":
            if form[2] not in _DESCRIPTORS or count != 1:
                return None
            found = offset, form[2]
        offset += -(-count // 8) if form[2] == "X" else count * _COLUMN_BYTES[form[2]]
    return found
