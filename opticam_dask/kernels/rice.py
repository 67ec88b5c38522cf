"""Rice decompression of tiles: FITS Standard 4.0, section 10.4.1.

A tile is its first value, and then blocks of differences between neighbours, mapped to non-negative numbers.
Each block has a level: so many low bits of a difference are stored as they are, the rest is the length of a
run of zeros. Two levels are special: all differences are 0, or all are stored in full.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

if TYPE_CHECKING:
    from numpy.typing import NDArray

_U = np.uint64
_WORD = _U(64)
_VALID = _U(56)  # bits that a refilled buffer holds at least
_MAX_PADDING = 8  # bytes that may follow the last pixel of a tile; more and the stream is damaged


class RiceCode(NamedTuple):
    """How the tiles of an image are coded.

    Parameters
    ----------
    level_bits : int
        Bits of a block's level.
    full : int
        Level from which the differences are stored in full.
    value_bits : int
        Bits of a pixel.
    block : int
        Pixels of a block.
    """

    level_bits: int
    full: int
    value_bits: int
    block: int


CODES = {8: (3, 6), 16: (4, 14), 32: (5, 25)}
"""Bits of the level, and the level of full differences, by bits of a pixel."""


def _count_leading_zeros(_context, word):
    """Count the leading zeros of a word; 64 if it is 0."""

    def codegen(_target, builder, _signature, arguments):
        return builder.ctlz(arguments[0], cgutils.false_bit)

    return types.uint64(word), codegen


def _load_word(_context, data, at):
    """Eight bytes of ``data``, which must hold them, as one big-endian word."""

    def codegen(target, builder, signature, arguments):
        array = cgutils.create_struct_proxy(signature.args[0])(target, builder, arguments[0])
        word = target.get_value_type(types.uint64).as_pointer()
        place = builder.bitcast(builder.gep(array.data, [arguments[1]]), word)
        return builder.bswap(builder.load(place, align=1))

    return types.uint64(data, at), codegen


_leading_zeros: Any = intrinsic(_count_leading_zeros)
_word_at: Any = intrinsic(_load_word)


@njit(cache=True, nogil=True)
def _word(data, at, stop):
    """Eight bytes from ``at`` on, with zeros in place of those from ``stop`` on."""
    if at + _U(8) <= stop:
        return _word_at(data, at)
    word = _U(0)
    for k in range(8):
        word <<= _U(8)
        if at + _U(k) < stop:
            word |= _U(data[at + _U(k)])
    return word


@njit(cache=True, nogil=True)
def _refill(data, buffer, at, count, stop):
    """Bring the valid bits of the buffer, which are its highest, to 56 or more."""
    buffer |= _word(data, at, stop) >> count
    return buffer, at + ((_U(63) - count) >> _U(3)), count | _VALID


@njit(cache=True, nogil=True)
def _long_run(data, buffer, at, count, stop):
    """Count a run of zeros of any length and step over it and the bit that ends it."""
    zeros = _U(0)
    while buffer >> _U(8) == _U(0) and at <= stop + _U(8):
        zeros += _VALID
        buffer, at, count = _refill(data, buffer << _VALID, at, count - _VALID, stop)
    run = _leading_zeros(buffer | _U(1))
    buffer, at, count = _refill(data, buffer << run, at, count - min(run, count), stop)
    return zeros + run, buffer << _U(1), at, count - _U(1)


@njit(cache=True, nogil=True)
def _unmapped(difference):
    """Signed difference, modulo 2^64, from the number that stands for it."""
    return (difference >> _U(1)) ^ (_U(0) - (difference & _U(1)))


@njit(cache=True, nogil=True)
def _full_block(data, buffer, at, count, stop, last, values, bits):
    for k in range(len(values)):
        buffer, at, count = _refill(data, buffer, at, count, stop)
        last += _unmapped(buffer >> (_WORD - bits))
        buffer, count = buffer << bits, count - bits
        values[k] = last
    return buffer, at, count, last


@njit(cache=True, nogil=True)
def _coded_block(data, buffer, at, count, stop, last, values, level):
    for k in range(len(values)):
        buffer, at, count = _refill(data, buffer, at, count, stop)
        zeros = _leading_zeros(buffer)
        used = zeros + _U(1) + level
        if used <= _VALID:
            rest = buffer << zeros << _U(1)
            count -= used
        else:
            zeros, buffer, at, count = _long_run(data, buffer, at, count, stop)
            rest, at, count = _refill(data, buffer, at, count, stop)
            count -= level
        last += _unmapped((zeros << level) | (rest >> _U(1) >> (_U(63) - level)))
        buffer = rest << level
        values[k] = last
    return buffer, at, count, last


@njit(cache=True, nogil=True)
def _decode(data, first, stop, values, code):
    """Decode one tile into ``values``; False if its bytes are not what so many pixels take."""
    level_bits, full, bits = _U(code.level_bits), _U(code.full), _U(code.value_bits)
    begin, end = _U(first) + (bits >> _U(3)), _U(stop)
    if begin > end:
        return False
    last = _word(data, _U(first), end) >> (_WORD - bits)
    buffer, at, count = _U(0), begin, _U(0)
    for start in range(0, len(values), code.block):
        block = values[start : start + code.block]
        buffer, at, count = _refill(data, buffer, at, count, end)
        level = buffer >> (_WORD - level_bits)
        buffer, count = buffer << level_bits, count - level_bits
        if level == _U(0):
            block[:] = last
        elif level <= full:
            buffer, at, count, last = _coded_block(data, buffer, at, count, end, last, block, level - _U(1))
        else:
            buffer, at, count, last = _full_block(data, buffer, at, count, end, last, block, bits)
        if (level > full + _U(1)) or at - (count >> _U(3)) > end:
            return False
    return end - (at - (count >> _U(3))) <= _U(_MAX_PADDING)


@njit(cache=True, nogil=True)
def decode_tiles(
    data: NDArray[np.uint8],
    places: NDArray[np.int64],
    tile: tuple[int, int],
    height: int,
    first_row: int,
    out: NDArray[Any],
    flip: int,
    code: RiceCode,
) -> int:
    """Decode the tiles that hold some rows of an image.

    Parameters
    ----------
    data : ndarray of uint8
        Compressed bytes.
    places : ndarray of int64, shape (n_tiles, 2)
        Where in ``data`` each tile of the image begins and ends, tiles counted along rows first. Only those
        of the tiles that hold the rows are looked at, and they must lie within ``data``.
    tile : (height, width)
        Shape of a tile; those at the upper and right edge may be smaller.
    height : int
        Rows of the image.
    first_row : int
        Row of the image that is the first of ``out``.
    out : ndarray, shape (n_rows, width of the image), uint8, uint16 or uint32
        Bit patterns of the pixels; written to.
    flip : int
        Bits to flip in each, see `kernels.decode.to_native`.
    code : RiceCode
        How the tiles are coded.

    Returns
    -------
    int
        -1, or the number of the first tile whose bytes are damaged.
    """
    across = (out.shape[1] + tile[1] - 1) // tile[1]
    values = np.empty(min(tile[0], height) * min(tile[1], out.shape[1]), out.dtype)
    for number in range(
        first_row // tile[0] * across, (first_row + len(out) - 1) // tile[0] * across + across
    ):
        top, left = number // across * tile[0], number % across * tile[1]
        shape = min(tile[0], height - top), min(tile[1], out.shape[1] - left)
        held = values[: shape[0] * shape[1]]
        if not _decode(data, places[number, 0], places[number, 1], held, code):
            return number
        _place(held.reshape(shape), out, top - first_row, left, flip)
    return -1


@njit(cache=True, nogil=True)
def _place(pixels, out, top, left, flip):
    """Copy the rows of a tile that ``out`` has."""
    for j in range(max(0, -top), min(pixels.shape[0], len(out) - top)):
        for i in range(pixels.shape[1]):
            out[top + j, left + i] = pixels[j, i] ^ flip
