"""Sum of aligned frames on the reference grid, in fixed-point integers: any order gives the same bits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from opticam_dask.kernels.sky import means_around
from opticam_dask.types import Affine, Image

_HEADROOM_BITS = 62
_STEEP = 0.05  # change of place along a row from which runs of neighbours are too short to pay


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

    @property
    def nbytes(self) -> int:
        """Size of its arrays [byte]."""
        return self.total.nbytes + self.count.nbytes + self.largest.nbytes

    @classmethod
    def empty(cls, shape: tuple[int, int]) -> Stack:
        """Stack of no frame."""
        return cls(np.zeros(shape, np.int64), np.zeros(shape, np.int32), np.full((2, *shape), -np.inf, "f4"))

    @classmethod
    def merged(cls, parts: Sequence[Stack]) -> Stack:
        """One stack of all the frames of several."""
        merged, *others = parts
        for other in others:
            # What was merged before is ours to write over; the parts themselves are not.
            out = merged if merged is not parts[0] else cls(*map(np.empty_like, merged._arrays))
            _merge(merged._arrays, other._arrays, out._arrays)
            merged = out
        return merged

    @property
    def _arrays(self) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
        return self.total, self.count, self.largest


def fixed_point_scale(limit: float, n_frames: int) -> float:
    """Power of two to multiply counts with, so that ``n_frames`` values of up to ``limit`` fit in int64.

    Never finer than 2^-30 counts, which is far below the noise of any detector.
    """
    bits = _HEADROOM_BITS - math.ceil(math.log2(max(limit, 1.0))) - math.ceil(math.log2(n_frames + 1))
    return 2.0 ** min(bits, 30)


@numba.njit(cache=True, nogil=True)
def _merge(one: Any, other: Any, out: Any) -> None:
    """Write totals, counts and largest values of two stacks together into ``out``, which may be the first."""
    (total, count, largest), (number, times, peaks), (sums, counts, highest) = one, other, out
    for j in range(len(total)):
        for i in range(len(total[j])):
            sums[j, i] = total[j, i] + number[j, i]
            counts[j, i] = count[j, i] + times[j, i]
            first, second = largest[0, j, i], peaks[0, j, i]
            next_of_both = max(largest[1, j, i], peaks[1, j, i])
            highest[0, j, i] = max(first, second)
            highest[1, j, i] = max(min(first, second), next_of_both)


@numba.njit(cache=True, nogil=True)
def _span(a: float, b: float, last: float, low: int, stop: int) -> tuple[int, int]:
    """Part of the columns i from ``low`` to ``stop`` for which ``a i + b`` is within 0 and ``last``."""
    if a == 0.0:
        return (low, stop) if 0.0 <= b <= last else (0, 0)
    ends = -b / a, (last - b) / a
    first, final = min(ends), max(ends)
    low = max(low, math.ceil(min(max(first, -1.0), float(stop))))
    return low, min(stop, math.floor(min(max(final, -1.0), float(stop))) + 1)


@numba.njit(cache=True, nogil=True)
def _until(slope: float, start: float, whole: float, i: int, stop: int) -> int:
    """Column after ``i`` at which ``slope i + start`` leaves the interval from ``whole`` to the next."""
    if slope == 0.0:
        return stop
    edge = (whole + (1.0 if slope > 0.0 else 0.0) - start) / slope
    return min(stop, max(i + 1, math.ceil(min(edge, float(stop)))))


@numba.njit(cache=True, nogil=True)
def _blend(
    p: Any, right: Any, below: Any, across: Any, ramp: Any, u: Any, du: Any, v: Any, dv: Any, out: Any
) -> None:
    """Bilinear values of one run of columns, its four corners as rows; in single precision throughout."""
    for n in range(len(out)):
        s, t = u + du * ramp[n], v + dv * ramp[n]
        a, b = np.float32(p[n]), np.float32(below[n])
        a += s * (np.float32(right[n]) - a)
        b += s * (np.float32(across[n]) - b)
        out[n] = a + t * (b - a)


@numba.njit(cache=True, nogil=True)
def _smooth_row(
    image: Any, gx: float, bx: float, gy: float, by: float, low: int, stop: int, ramp: Any, out: Any
) -> None:
    """Row of the reference from runs of columns that are neighbours in the frame too.

    The place in the frame is (i + gx i + bx, gy i + by). Corners of no weight are not looked at where a whole
    run has none: 0 x NaN is NaN.
    """
    ny, nx = image.shape
    i = low
    while i < stop:
        x, y = gx * i + bx, gy * i + by
        c, r = math.floor(x), math.floor(y)
        one = 0 if gx == 0.0 and x == c else 1
        down = 0 if gy == 0.0 and y == r else 1
        c, r = min(max(c, -i), nx - 1 - one - i), min(max(r, 0), ny - 1 - down)
        end = min(stop, nx - one - c)
        end = _until(gx, bx, float(c), i, _until(gy, by, float(r), i, end))
        low, high = i + c, end + c
        _blend(
            image[r, low:high],
            image[r, low + one : high + one],
            image[r + down, low:high],
            image[r + down, low + one : high + one],
            ramp,
            np.float32(x - c),
            np.float32(gx),
            np.float32(y - r),
            np.float32(gy),
            out[i:end],
        )
        i = end


@numba.njit(cache=True, nogil=True)
def _steep_row(image: Any, ax: float, bx: float, ay: float, by: float, low: int, stop: int, out: Any) -> None:
    """Row of the reference, pixel by pixel, where the frame is turned so far that no run would be long."""
    ny, nx = image.shape
    for i in range(low, stop):
        x, y = ax * i + bx, ay * i + by
        c, r = min(max(math.floor(x), 0), nx - 2), min(max(math.floor(y), 0), ny - 2)
        u, v = np.float32(x - c), np.float32(y - r)
        a, b = np.float32(image[r, c]), np.float32(image[r + 1, c])
        a += u * (np.float32(image[r, c + 1]) - a)
        b += u * (np.float32(image[r + 1, c + 1]) - b)
        out[i] = a + v * (b - a)


@numba.njit(cache=True, nogil=True)
def _accumulate(
    values: Any, level: Any, limit: Any, scale: float, total: Any, count: Any, first: Any, second: Any
) -> None:
    """Add a row. What is kept is float32, as the largest are: these can be taken out of the sum again."""
    for n in range(len(values)):
        value = values[n]
        good = abs(value) < np.float32(np.inf)
        kept = min(max(value - level, -limit), limit) if good else np.float32(0.0)
        total[n] += np.int64(np.float64(kept) * scale)
        count[n] += np.int32(good)
        high = kept if good else np.float32(-np.inf)
        second[n] = max(second[n], min(first[n], high))
        first[n] = max(first[n], high)


@numba.njit(cache=True, nogil=True)
def _resampled(image: Any, a: Any, j: int, ramp: Any, values: Any) -> tuple[int, int]:
    """Fill ``values`` with row ``j`` of the reference; from which column to which the frame reaches."""
    ny, nx = image.shape
    gx, gy = a[0, 0] - 1.0, a[1, 0]
    bx, by = a[0, 1] * j + a[0, 2], a[1, 1] * j + a[1, 2]
    low, stop = _span(a[0, 0], bx, nx - 1.0, 0, len(values))
    low, stop = _span(gy, by, ny - 1.0, low, stop)
    if abs(gx) + abs(gy) > _STEEP:
        _steep_row(image, a[0, 0], bx, gy, by, low, stop, values)
    else:
        _smooth_row(image, gx, bx, gy, by, low, stop, ramp, values)
    return low, stop


@numba.njit(cache=True, nogil=True)
def _add(
    images: Any, levels: Any, affines: Any, scale: float, limit: Any, total: Any, count: Any, largest: Any
) -> None:
    rows, columns = total.shape
    ramp, values = np.arange(columns).astype(np.float32), np.empty(columns, np.float32)
    for j in range(rows):
        for k in range(len(images)):  # the row of the stack stays in the cache meanwhile
            low, stop = _resampled(images[k], affines[k], j, ramp, values)
            part = slice(low, stop)
            _accumulate(
                values[part],
                levels[k],
                limit,
                scale,
                total[j, part],
                count[j, part],
                largest[0, j, part],
                largest[1, j, part],
            )


def add_frames(
    images: NDArray[Any],
    levels: Sequence[float],
    affines: Sequence[Affine],
    stack: Stack,
    *,
    scale: float,
    limit: float,
) -> None:
    """Add frames to a stack, each reference pixel taken from its place in the frame (bilinear).

    Several at once are faster, for less of the stack passes through memory; the result is the same.

    Parameters
    ----------
    images : ndarray, shape (n, ny, nx) [adu]
        uint16, float32 or float64; NaN marks a bad pixel, which spoils only the pixels it contributes to.
    levels : sequence of float
        Sky of each frame, to subtract [adu].
    affines : sequence of ndarray, shape (2, 3)
        From the reference into each frame.
    stack : Stack
        Changed in place.
    scale, limit : float
        Fixed-point scale, see `fixed_point_scale`, and the largest value kept; the rest is clipped.
    """
    skies, transforms = np.asarray(levels, np.float32), np.ascontiguousarray(affines, np.float64)
    into = stack.total, stack.count, stack.largest
    _add(images, skies, transforms, float(scale), np.float32(limit), *into)


def add_frame(
    image: Image, level: float, affine: Affine, stack: Stack, *, scale: float, limit: float
) -> None:
    """Add one frame to a stack, see `add_frames`."""
    add_frames(image[None], [level], [affine], stack, scale=scale, limit=limit)


def fill_holes(image: NDArray[np.float64], fallback: float = 0.0) -> NDArray[np.float64]:
    """Replace NaN by the mean of its finite neighbours, ring by ring up to 3 pixels; then by ``fallback``."""
    filled = image.copy()
    holes = np.flatnonzero(~np.isfinite(filled))
    for _ in range(3):
        means = means_around(filled, holes)
        filled.ravel()[holes] = means
        holes = holes[~np.isfinite(means)]
    filled.ravel()[holes] = fallback
    return filled
