"""Sums of calibration frames, in integers so that any order gives the same bits; calibration of a frame."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numba
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from opticam_dask.types import Image

_SQUARE_BITS = 62  # of the sum of the squares of all frames
_VALUE_BITS = 30  # of one value, kept as int32
_NONE_LOW, _NONE_HIGH = np.int32(2**31 - 1), np.int32(-(2**31))
_LEFT_OUT = np.int64(-(2**62))
NOTHING = np.empty((0, 0), np.float32)
"""Stands for a map that there is none of."""


@dataclass(frozen=True)
class Digits:
    """How values become integers.

    Parameters
    ----------
    scale : float
        Integer steps per unit; a power of two.
    limit : float
        Values beyond this, on either side, do not count.
    """

    scale: float
    limit: float

    @classmethod
    def of(cls, limit: float, n_frames: int) -> Digits:
        """Finest digits for which the squares of ``n_frames`` values of up to ``limit`` add up in int64."""
        bits = min((_SQUARE_BITS - math.ceil(math.log2(n_frames + 1))) // 2, _VALUE_BITS)
        return cls(2.0 ** (bits - math.ceil(math.log2(limit))), float(limit))


@dataclass(frozen=True, eq=False)
class Response:
    """What turns the numbers of a frame into light: ``(raw - bias - dark x seconds - constant) x factor``.

    Parameters
    ----------
    bias, dark : ndarray, shape (ny, nx), float32
        Bias [adu] and dark rate [adu / s]; `NOTHING` for none.
    seconds : float
        Exposure time.
    constant : float
        Level to subtract everywhere [adu].
    factor : float
        To multiply with.
    saturation : float
        Raw level from which a pixel counts as saturated [adu]; NaN for none.
    """

    bias: NDArray[np.float32] = field(default_factory=lambda: NOTHING)
    dark: NDArray[np.float32] = field(default_factory=lambda: NOTHING)
    seconds: float = 0.0
    constant: float = 0.0
    factor: float = 1.0
    saturation: float = math.nan


@dataclass(frozen=True, eq=False)
class Sums:
    """What is kept of some frames at each pixel; integers, so that order and grouping do not matter.

    Parameters
    ----------
    sums : ndarray of int64, shape (2, ny, nx)
        Sum and sum of squares, in integer steps.
    small : ndarray of int32, shape (1 or 5, ny, nx)
        Number of values; then the lowest, the second lowest, the highest and the second highest.
    """

    sums: NDArray[np.int64]
    small: NDArray[np.int32]

    @classmethod
    def empty(cls, shape: tuple[int, int], *, extremes: bool) -> Sums:
        """Make the sums of no frame."""
        small = np.zeros((5 if extremes else 1, *shape), np.int32)
        small[1:3], small[3:] = _NONE_LOW, _NONE_HIGH
        return cls(np.zeros((2, *shape), np.int64), small)

    def strip(self, rows: slice) -> Sums:
        """Take some rows, without a copy."""
        return Sums(self.sums[:, rows], self.small[:, rows])


def merged(parts: Sequence[Sums]) -> Sums:
    """Add up the sums of several groups of frames."""
    first, *others = parts
    total = Sums(np.array(first.sums), np.array(first.small))
    for other in others:
        np.add(total.sums, other.sums, out=total.sums)
        total.small[0] += other.small[0]
        if len(total.small) > 1:
            _merge_extremes(total.small, np.asarray(other.small))
    return total


def _merge_extremes(mine: NDArray[np.int32], other: NDArray[np.int32]) -> None:
    for first, nearer, farther in ((1, np.minimum, np.maximum), (3, np.maximum, np.minimum)):
        second = nearer(farther(mine[first], other[first]), nearer(mine[first + 1], other[first + 1]))
        mine[first] = nearer(mine[first], other[first])
        mine[first + 1] = second


def add_to_extremes(image: Image, response: Response, digits: Digits, into: Sums) -> None:
    """Add a frame to sums with extremes: the first pass.

    Parameters
    ----------
    image : ndarray, shape (ny, nx) [adu]
        uint16, float32 or float64. NaN, saturated pixels and values beyond the limit have no part.
    response : Response
        What is done to the values first.
    digits : Digits
        How they become integers.
    into : Sums
        Changed in place.
    """
    r = response
    _add_all(
        image,
        *(r.bias, r.dark, r.seconds, r.constant, r.factor, r.saturation),
        *(digits.scale, digits.limit),
        *(into.sums, into.small),
    )


def add_within(
    image: Image, response: Response, digits: Digits, bounds: NDArray[np.int32], into: Sums
) -> None:
    """Add a frame's values between bounds to sums: the second pass.

    Parameters
    ----------
    image, response, digits, into
        As for `add_to_extremes`.
    bounds : ndarray of int32, shape (2, ny, nx)
        Lowest and highest value to accept, in integer steps.
    """
    r = response
    _add_bounded(
        image,
        *(r.bias, r.dark, r.seconds, r.constant, r.factor, r.saturation),
        *(digits.scale, digits.limit, bounds),
        *(into.sums, into.small),
    )


@numba.njit(cache=True, nogil=True)
def _light(values, raw, bias, dark, j, first, seconds, constant, factor):
    """Fill ``values`` with the light of a row from column ``first`` on, without branches in the loops."""
    for i in range(values.size):
        values[i] = raw[i] - constant
    if bias.size:
        level = bias[j, first : first + values.size]
        for i in range(values.size):
            values[i] -= level[i]
    if dark.size:
        rate = dark[j, first : first + values.size]
        for i in range(values.size):
            values[i] -= rate[i] * seconds
    for i in range(values.size):
        values[i] *= factor


@numba.njit(cache=True, nogil=True)
def _steps(steps, values, raw, saturation, scale, limit):
    """Fill ``steps`` with integers, `_LEFT_OUT` where the value does not count."""
    for i in range(values.size):
        counts = abs(values[i]) <= limit and not raw[i] >= saturation
        steps[i] = np.int64(np.rint(values[i] * scale)) if counts else _LEFT_OUT


@numba.njit(cache=True, nogil=True)
def _add_all(image, bias, dark, seconds, constant, factor, saturation, scale, limit, sums, small):
    ny, nx = image.shape
    values, steps = np.empty(nx), np.empty(nx, np.int64)
    for j in range(ny):
        _light(values, image[j], bias, dark, j, 0, seconds, constant, factor)
        _steps(steps, values, image[j], saturation, scale, limit)
        for i in range(nx):
            step = steps[i]
            if step == _LEFT_OUT:
                continue
            sums[0, j, i] += step
            sums[1, j, i] += step * step
            small[0, j, i] += 1
            if step < small[2, j, i]:
                small[2, j, i] = max(step, small[1, j, i])
                small[1, j, i] = min(step, small[1, j, i])
            if step > small[4, j, i]:
                small[4, j, i] = min(step, small[3, j, i])
                small[3, j, i] = max(step, small[3, j, i])


@numba.njit(cache=True, nogil=True)
def _add_bounded(image, bias, dark, seconds, constant, factor, saturation, scale, limit, bounds, sums, small):
    ny, nx = image.shape
    values, steps = np.empty(nx), np.empty(nx, np.int64)
    for j in range(ny):
        _light(values, image[j], bias, dark, j, 0, seconds, constant, factor)
        _steps(steps, values, image[j], saturation, scale, limit)
        for i in range(nx):
            # what is left out lies below any bound
            if bounds[0, j, i] <= steps[i] <= bounds[1, j, i]:
                sums[0, j, i] += steps[i]
                sums[1, j, i] += steps[i] * steps[i]
                small[0, j, i] += 1


def calibrated(
    image: Image,
    response: Response,
    inverse: NDArray[np.float32],
    start: tuple[int, int],
    out: NDArray[np.float32],
    boxes: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """Calibrate a part of a frame, or some boxes in it, in one pass over its pixels.

    Parameters
    ----------
    image : ndarray, shape (ny, nx) [adu]
        The whole frame: uint16, float32 or float64.
    response : Response
        Maps of the part's shape.
    inverse : ndarray, shape of the part, float32
        One over the flat field, NaN at bad pixels; `NOTHING` for neither.
    start : tuple of int
        First row and column of the part in the frame.
    out : ndarray, float32
        Filled in place, NaN at bad pixels; its shape is that of the part.
    boxes : ndarray of int64, shape (n, 4), optional
        First row, row after the last, first column and column after the last of each box, within the part;
        they may overlap. Pixels outside are left as they are. Default: the whole part.

    Returns
    -------
    ndarray of int64
        Flat indices, in the part, of raw pixels at or above the saturation level; several times if in
        several boxes.
    """
    r = response
    if boxes is None:
        boxes = np.array([[0, out.shape[0], 0, out.shape[1]]])
    counts = np.zeros(len(boxes), np.int64)
    numbers = r.seconds, r.constant, r.factor, r.saturation
    _calibrate(image, r.bias, r.dark, *numbers, inverse, *start, boxes, out, counts)
    saturated = [np.empty(0, np.int64)]
    for y0, y1, x0, x1 in boxes[counts > 0].tolist():
        box = image[start[0] + y0 : start[0] + y1, start[1] + x0 : start[1] + x1]
        row, column = np.nonzero(box >= r.saturation)
        saturated.append((row + y0) * out.shape[1] + column + x0)
    return np.concatenate(saturated)


@numba.njit(cache=True, nogil=True)
def _calibrate(
    image, bias, dark, seconds, constant, factor, saturation, inverse, top, left, boxes, out, counts
):
    buffer = np.empty(out.shape[1])
    for k in range(len(boxes)):
        y0, y1, x0, x1 = boxes[k]
        values = buffer[: x1 - x0]
        for j in range(y0, y1):
            raw, clean = image[top + j, left + x0 : left + x1], out[j, x0:x1]
            _light(values, raw, bias, dark, j, x0, seconds, constant, factor)
            if inverse.size:
                gain = inverse[j, x0:x1]
                for i in range(values.size):
                    values[i] *= gain[i]
            for i in range(values.size):
                clean[i] = values[i]
            for i in range(values.size):
                counts[k] += raw[i] >= saturation
