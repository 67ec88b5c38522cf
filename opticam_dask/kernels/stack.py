"""Sum of aligned frames on the reference grid, in fixed-point integers: any order gives the same bits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from opticam_dask.types import Affine, Image

_HEADROOM_BITS = 62


@dataclass(frozen=True, eq=False)
class Stack:
    """What is kept of the frames at each pixel of the reference.

    Integers and maxima: the order and grouping of the frames do not matter.

    Parameters
    ----------
    total : ndarray of int64, shape (rows, columns)
        Sum, in units of ``1 / scale`` counts.
    count : ndarray of int32, shape (rows, columns)
        Frames that contributed.
    largest : ndarray of float32, shape (2, rows, columns) [adu]
        The largest and the second largest contribution; minus infinity where there is none.
    """

    total: NDArray[np.int64]
    count: NDArray[np.int32]
    largest: NDArray[np.float32]

    @classmethod
    def empty(cls, shape: tuple[int, int]) -> Stack:
        """Stack of no frame."""
        return cls(np.zeros(shape, np.int64), np.zeros(shape, np.int32), np.full((2, *shape), -np.inf, "f4"))

    @classmethod
    def merged(cls, parts: Sequence[Stack]) -> Stack:
        """One stack of all the frames of several."""
        first, *others = parts
        merged = cls(first.total.copy(), first.count.copy(), first.largest.copy())
        for other in others:
            _merge(merged.total, merged.count, merged.largest, other.total, other.count, other.largest)
        return merged


def fixed_point_scale(limit: float, n_frames: int) -> float:
    """Power of two to multiply counts with, so that ``n_frames`` values of up to ``limit`` fit in int64.

    Never finer than 2^-30 counts, which is far below the noise of any detector.
    """
    bits = _HEADROOM_BITS - math.ceil(math.log2(max(limit, 1.0))) - math.ceil(math.log2(n_frames + 1))
    return 2.0 ** min(bits, 30)


@numba.njit(cache=True, nogil=True)
def _careful(image: Any, x0: int, y0: int, u: float, v: float) -> float:
    """Bilinear value in which a pixel of no weight, bad or beyond the edge, has no part: 0 x NaN is NaN."""
    value = 0.0
    for dy in range(2):
        for dx in range(2):
            weight = (u if dx else 1.0 - u) * (v if dy else 1.0 - v)
            if weight > 0.0:
                value += weight * float(image[y0 + dy, x0 + dx])
    return value


@numba.njit(cache=True, nogil=True)
def _merge(total: Any, count: Any, largest: Any, other: Any, number: Any, peaks: Any) -> None:
    rows, columns = total.shape
    for j in range(rows):
        for i in range(columns):
            total[j, i] += other[j, i]
            count[j, i] += number[j, i]
            first, second = largest[0, j, i], peaks[0, j, i]
            largest[0, j, i] = max(first, second)
            largest[1, j, i] = max(min(first, second), max(largest[1, j, i], peaks[1, j, i]))


@numba.njit(cache=True, nogil=True)
def _add(
    image: Any, level: float, a: Any, scale: float, limit: float, total: Any, count: Any, largest: Any
) -> None:
    ny, nx = image.shape
    rows, columns = total.shape
    for j in range(rows):
        for i in range(columns):
            x = a[0, 0] * i + a[0, 1] * j + a[0, 2]
            y = a[1, 0] * i + a[1, 1] * j + a[1, 2]
            if not (0.0 <= x <= nx - 1.0 and 0.0 <= y <= ny - 1.0):
                continue
            x0, y0 = int(x), int(y)
            u, v = x - x0, y - y0
            value = np.nan
            if x0 < nx - 1 and y0 < ny - 1:
                value = (
                    (1.0 - u) * (1.0 - v) * image[y0, x0]
                    + u * (1.0 - v) * image[y0, x0 + 1]
                    + (1.0 - u) * v * image[y0 + 1, x0]
                    + u * v * image[y0 + 1, x0 + 1]
                )
            if not np.isfinite(value) and (u == 0.0 or v == 0.0):
                value = _careful(image, x0, y0, u, v)
            if np.isfinite(value):
                # float32, as the largest are kept: these can be taken out of the sum again to the last bit
                kept = np.float32(min(max(value - level, -limit), limit))
                total[j, i] += np.int64(np.rint(np.float64(kept) * scale))
                count[j, i] += 1
                if kept > largest[1, j, i]:
                    if kept > largest[0, j, i]:
                        largest[1, j, i] = largest[0, j, i]
                        largest[0, j, i] = kept
                    else:
                        largest[1, j, i] = kept


def add_frame(
    image: Image,
    level: float,
    affine: Affine,
    stack: Stack,
    *,
    scale: float,
    limit: float,
) -> None:
    """Add one frame to a stack, each reference pixel taken from its place in the frame (bilinear).

    Parameters
    ----------
    image : ndarray, shape (ny, nx) [adu]
        uint16, float32 or float64; NaN marks a bad pixel, which spoils only the pixels it contributes to.
    level : float
        Sky to subtract [adu].
    affine : ndarray, shape (2, 3)
        From the reference into the frame.
    stack : Stack
        Changed in place.
    scale, limit : float
        Fixed-point scale, see `fixed_point_scale`, and the largest value kept; the rest is clipped.
    """
    affine = np.asarray(affine, np.float64)
    into = stack.total, stack.count, stack.largest
    _add(image, float(level), affine, float(scale), float(limit), *into)


def fill_holes(image: NDArray[np.float64], fallback: float = 0.0) -> NDArray[np.float64]:
    """Replace NaN by the mean of its finite neighbours, ring by ring up to 3 pixels; then by ``fallback``."""
    filled = image.copy()
    for _ in range(3):
        hole = ~np.isfinite(filled)
        if not hole.any():
            return filled
        padded = np.pad(np.where(hole, 0.0, filled), 1)
        weight = np.pad((~hole).astype(np.float64), 1)
        windows = [
            (slice(j, j + image.shape[0]), slice(i, i + image.shape[1])) for j in range(3) for i in range(3)
        ]
        number = sum(weight[w] for w in windows)
        near = np.asarray(sum(padded[w] for w in windows))
        np.divide(near, number, out=filled, where=hole & (np.asarray(number) > 0))
    return np.where(np.isfinite(filled), filled, fallback)
