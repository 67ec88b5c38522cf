"""Stored numbers to native ones where they lie, in one pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


def to_native(words: NDArray[Any], flip: int = 0) -> None:
    """Turn big-endian numbers into native ones in place, and flip bits of each.

    Parameters
    ----------
    words : ndarray, shape (n,), uint8, uint16, uint32 or uint64
        Bit patterns; contiguous.
    flip : int
        Bits to flip in the native numbers: the highest one adds half the range to a two's-complement number,
        as the offset of unsigned integers does.
    """
    if words.dtype.itemsize == 1:
        np.bitwise_xor(words, words.dtype.type(flip), out=words)
    else:
        _SWAPS[words.dtype.itemsize](words, words.dtype.type(flip))


@njit(cache=True, nogil=True)
def _swap_16(words, flip):
    eight = np.uint16(8)
    for i in range(len(words)):
        word = words[i]
        words[i] = (np.uint16(word >> eight) | np.uint16(word << eight)) ^ flip


@njit(cache=True, nogil=True)
def _swap_32(words, flip):
    for i in range(len(words)):
        word = words[i]
        outer = np.uint32(word << np.uint32(24)) | (word >> np.uint32(24))
        inner = ((word >> np.uint32(8)) & np.uint32(0xFF00)) | ((word & np.uint32(0xFF00)) << np.uint32(8))
        words[i] = np.uint32(outer | inner) ^ flip


def _swap_64(words: NDArray[Any], flip: Any) -> None:
    # rare in cameras: numpy's two passes do
    words.byteswap(inplace=True)
    np.bitwise_xor(words, flip, out=words)


_SWAPS: dict[int, Callable[[NDArray[Any], Any], None]] = {2: _swap_16, 4: _swap_32, 8: _swap_64}
