"""Numbers as text of a page: rounded as far as nobody sees, compressed, in base64."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MANTISSA = 23  # bits of a float32
_LEVEL = 6


def packed(values: NDArray[Any]) -> str:
    """Array as text that ``unpack`` of the page's script reads back.

    The bytes of all values are sorted by their place, the first of each value first: neighbours are alike
    in sign, exponent and first digits, and compress.
    """
    array = np.ascontiguousarray(values)
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    planes = little.view(np.uint8).reshape(-1, array.dtype.itemsize).T
    return base64.b64encode(zlib.compress(planes.tobytes(), _LEVEL)).decode("ascii")


def rounded(values: NDArray[Any], bits: int) -> NDArray[np.float32]:
    """Float32 values with so many bits of mantissa: a relative error of at most 2^-(bits + 1)."""
    drop = _MANTISSA - bits
    # to the nearest: half of what is dropped is added first; NaN must not turn into something else
    with np.errstate(over="ignore"):
        single = np.ascontiguousarray(values, np.float32)
    raw = single.view(np.uint32)
    kept = ((raw + np.uint32(1 << (drop - 1))) & np.uint32(~((1 << drop) - 1) & 0xFFFFFFFF)).view(np.float32)
    return np.where(np.isfinite(single) & np.isfinite(kept), kept, single)


def rounded_to_errors(values: NDArray[Any], errors: NDArray[Any], part: float) -> NDArray[np.float32]:
    """Values as multiples of a power of two that is at most ``part`` of the smallest error.

    Parameters
    ----------
    values, errors : ndarray, shape (n,)
        NaN stays NaN; without a positive error the values are kept as float32.
    part : float
        Largest step in units of the errors.
    """
    known = errors[np.isfinite(errors) & (errors > 0)]
    if not known.size:
        return np.asarray(values, np.float32)
    step = 2.0 ** np.floor(np.log2(part * float(known.min())))
    return np.asarray(np.rint(np.asarray(values, np.float64) / step) * step, np.float32)
