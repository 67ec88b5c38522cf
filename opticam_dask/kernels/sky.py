"""Sky of one frame, and the pixels that stand out of it alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from opticam_dask.errors import InputError
from opticam_dask.types import Image

ISOLATED_SIGMAS = 6.0
"""A single pixel must stand out by this much of the sky's scatter before it is tested."""
ISOLATED_RATIO = 0.3
"""Least light around a star in units of its two brightest pixels; 0.59 at sigma 0.6 px, 0.42 at 0.5."""
SKY_SAMPLES = 20_000
_RUN = 128  # pixels of a row looked at together


@dataclass(frozen=True)
class Sky:
    """Sky of one frame: median and robust scatter [adu / pixel], NaN if no pixel is finite."""

    level: float
    rms: float


def to_single(frame: Image, out: NDArray[np.float32]) -> None:
    """Copy a frame of any numbers, of either byte order, into a float32 image.

    Raises
    ------
    InputError
        If it is not a two-dimensional array of numbers.
    """
    frame = np.asarray(frame)
    if frame.ndim != 2 or frame.dtype.kind not in "iufb":
        raise InputError(f"a frame must be a 2-D array of numbers, not {frame.dtype} of shape {frame.shape}")
    with np.errstate(over="ignore"):  # what is too large becomes infinite, which is a bad pixel
        np.copyto(out, frame, casting="unsafe")


def sky_of(image: Image) -> Sky:
    """Median and scatter of the sky, from a regular subsample of about 20 000 pixels.

    Pixels farther than 3 sigma from the median are clipped until none is left; sigma is 1.4826 times the
    median absolute deviation, so stars hardly count. Of whole numbers, as cameras give them, both are those
    of grouped data: a median that is whole itself would be wrong by up to half a unit, and with a scatter of
    2 units a whole median deviation by a quarter of it.
    """
    ny, nx = image.shape
    # steps that are odd and unequal do not walk along one detector column or one readout channel
    step = max(1, math.isqrt(ny * nx // SKY_SAMPLES)) | 1
    return sky_of_sample(image[::step, step // 2 :: step])


def sky_of_sample(pixels: NDArray[Any]) -> Sky:
    """Median and scatter of some pixels, clipped as by `sky_of`; those that are not finite are left out."""
    return Sky(*_clipped(np.sort(pixels, axis=None)))


@numba.njit(cache=True, nogil=True)
def _clipped(values: Any) -> tuple[float, float]:
    """Clipped median and scatter of sorted values: what is clipped lies at the ends."""
    low, high = 0, len(values)
    while low < high and not np.isfinite(np.float64(values[high - 1])):
        high -= 1
    while low < high and not np.isfinite(np.float64(values[low])):
        low += 1
    if low == high:
        return np.nan, np.nan
    spread = values[low:high].astype(np.float64)
    unit = _unit(spread)
    _ungroup(spread, unit)
    low, high, level, rms = 0, len(spread), np.nan, np.nan
    for _ in range(5):
        level = 0.5 * (spread[(low + high - 1) // 2] + spread[(low + high) // 2])
        rms = 1.482602218505602 * _median_deviation(spread[low:high], level)
        if rms == 0.0:  # more than half of the values are the same
            rms = _deviation(spread[low:high])
        before = high - low
        while low < high and level - spread[low] > 3.0 * rms:
            low += 1
        while low < high and spread[high - 1] - level > 3.0 * rms:
            high -= 1
        if high - low == before:
            break
    if rms < unit:  # steps are wider than the noise: their spread says nothing of it
        rms = _deviation(spread[low:high])
    return level, math.sqrt(max(rms * rms - unit * unit / 12.0, 0.0))


@numba.njit(cache=True, nogil=True)
def _unit(values: Any) -> float:
    """Step in which sorted whole numbers come, 0 if they are not whole.

    It is 16 where a camera of 12 bits fills 16. Nine tenths of the values tell: among many of one value a few
    hot pixels say nothing of the steps.
    """
    for value in values:
        if value != math.floor(value):
            return 0.0
    unit, rim = 0.0, len(values) // 20
    for i in range(rim + 1, len(values) - rim):
        rest = values[i] - values[i - 1]
        while rest > 0.0:  # Euclid's algorithm, for what they all have in common
            unit, rest = rest, unit % rest
        if unit == 1.0:
            break
    return unit if unit > 0.0 else 1.0


@numba.njit(cache=True, nogil=True)
def _ungroup(values: Any, unit: float) -> None:
    """Spread equal ones of sorted values evenly over the unit they stand for, in place: they stay sorted."""
    start = 0
    while start < len(values) and unit > 0.0:
        stop = start
        while stop < len(values) and values[stop] == values[start]:
            stop += 1
        whole = values[start]
        for i in range(start, stop):
            values[i] = whole + unit * ((i - start + 0.5) / (stop - start) - 0.5)
        start = stop


@numba.njit(cache=True, nogil=True)
def _median_deviation(values: Any, level: float) -> float:
    """Median of the distances of sorted values from their median."""
    n = len(values)
    lower = _nearest(values, level, (n - 1) // 2)
    return lower if n % 2 else 0.5 * (lower + _nearest(values, level, n // 2))


@numba.njit(cache=True, nogil=True)
def _nearest(values: Any, level: float, k: int) -> float:
    """Distance of the k-th nearest of sorted values from their median, k from 0.

    The distances grow from the middle to both ends; bisection tells how many of the k + 1 lie below it.
    """
    n = len(values)
    middle = n // 2
    low, high = max(0, k + 1 - (n - middle)), min(k + 1, middle)
    while low < high:
        i = (low + high) // 2
        if level - np.float64(values[middle - 1 - i]) < np.float64(values[middle + k - i]) - level:
            low = i + 1
        else:
            high = i
    below = level - np.float64(values[middle - low]) if low > 0 else 0.0
    above = np.float64(values[middle + k - low]) - level if low <= k else 0.0
    return max(below, above)


@numba.njit(cache=True, nogil=True)
def _deviation(values: Any) -> float:
    """Root mean square distance from the mean."""
    total = 0.0
    for value in values:
        total += np.float64(value)
    mean, square = total / len(values), 0.0
    for value in values:
        square += (np.float64(value) - mean) ** 2
    return math.sqrt(square / len(values))


@numba.njit(cache=True, nogil=True)
def _surround(image: Any, x0: int, y0: int, x1: int, y1: int, level: float) -> float:
    """Light in the pixels that touch either of two neighbouring pixels, scaled up for bad ones."""
    ny, nx = image.shape
    total, good, all_of_them = 0.0, 0, 0
    for y in range(min(y0, y1) - 1, max(y0, y1) + 2):
        for x in range(min(x0, x1) - 1, max(x0, x1) + 2):
            if (x == x0 and y == y0) or (x == x1 and y == y1):
                continue
            near = (abs(x - x0) <= 1 and abs(y - y0) <= 1) or (abs(x - x1) <= 1 and abs(y - y1) <= 1)
            if not near:
                continue
            all_of_them += 1
            if 0 <= x < nx and 0 <= y < ny and np.isfinite(float(image[y, x])):
                total += float(image[y, x]) - level
                good += 1
    return total * all_of_them / good if good > 0 else 0.0


@numba.njit(cache=True, nogil=True)
def brightest_neighbour(image: Any, x0: int, y0: int) -> tuple[int, int, bool]:
    """Brightest neighbour of a pixel, and whether the pixel is a local maximum."""
    ny, nx = image.shape
    centre = image[y0, x0]
    bx, by, best, highest = x0, y0, -np.inf, True
    for y in range(max(0, y0 - 1), min(ny, y0 + 2)):
        for x in range(max(0, x0 - 1), min(nx, x0 + 2)):
            if x == x0 and y == y0:
                continue
            value = image[y, x]
            if value > centre or (value == centre and (y < y0 or (y == y0 and x < x0))):
                highest = False
            if float(value) > best:
                bx, by, best = x, y, float(value)
    return bx, by, highest


@numba.njit(cache=True, nogil=True)
def _isolated(image: Any, level: float, rms: float, limit: float, ratio: float, out: Any) -> int:
    ny, nx = image.shape
    threshold = np.float32(level + limit * rms)
    n: Any = np.int64(0)  # a literal would have what it is passed to compiled twice
    for y in range(ny):
        for start in range(0, nx, _RUN):
            stop = min(nx, start + _RUN)
            if not exceeds(image[y, start:stop], threshold):
                continue
            for x in range(start, stop):
                if np.float32(image[y, x]) > threshold and n + 2 <= len(out):
                    n = _add_if_alone(image, x, y, level, rms, ratio, out, n)
    return n


@numba.njit(cache=True, nogil=True)
def exceeds(values: Any, threshold: Any) -> bool:
    """Whether some value exceeds a threshold; without a branch, so many are looked at at once."""
    hits = np.int32(0)
    for n in range(len(values)):
        hits += np.int32(np.float32(values[n]) > threshold)
    return bool(hits > 0)


@numba.njit(cache=True, nogil=True)
def _add_if_alone(
    image: Any, x: int, y: int, level: float, rms: float, ratio: float, out: Any, n: int
) -> int:
    """Append a pixel, or it and its brightest neighbour, if there is no light around; the new length."""
    nx = image.shape[1]
    bx, by, highest = brightest_neighbour(image, x, y)
    if not highest:
        return n
    pair = (bx != x or by != y) and float(image[by, bx]) > level + 3.0 * rms
    core = float(image[y, x]) - level + (float(image[by, bx]) - level if pair else 0.0)
    if not pair:
        bx, by = x, y
    if _surround(image, x, y, bx, by, level) >= ratio * core:
        return n
    out[n] = y * nx + x
    if not pair:
        return n + 1
    out[n + 1] = by * nx + bx
    return n + 2


def isolated_pixels(image: Image, sky: Sky) -> NDArray[np.int64]:
    """Flat indices of pixels, single or in pairs, that stand out with no light around them.

    Hot pixels and cosmic rays do; a star does not, as long as its sigma is at least 0.5 px: the pixels
    around its two brightest hold a third or more of their light.

    Parameters
    ----------
    image : ndarray, shape (ny, nx) [adu]
        uint16, float32 or float64; NaN marks a bad pixel, and is not in the result.
    sky : Sky
        Sky of the image.

    Returns
    -------
    ndarray of int64
        Sorted. At most one pixel in 64 is reported.
    """
    if not sky.rms > 0:
        return np.empty(0, np.int64)
    out = np.empty(image.size // 64 + 64, np.int64)
    n = _isolated(image, sky.level, sky.rms, ISOLATED_SIGMAS, ISOLATED_RATIO, out)
    return np.unique(out[:n])


def alone_without_others(image: Image, sky: Sky, isolated: NDArray[np.int64]) -> NDArray[np.int64]:
    """Those of the isolated pixels that would stand out alone if the others were bad.

    Beside a bright hot pixel, a pixel of a star passes for the second of a pair; the star's light around it
    tells it from a hot one.

    Parameters
    ----------
    image : ndarray, shape (ny, nx) [adu]
        uint16, float32 or float64; NaN marks a bad pixel.
    sky : Sky
        Sky of the image.
    isolated : ndarray of int64
        Flat indices from `isolated_pixels`.
    """
    clean, width, values = without(image, isolated), image.shape[1], image.ravel()
    surround = [_surround(clean, i % width, i // width, i % width, i // width, sky.level) for i in isolated]
    core = values[isolated].astype(np.float64) - sky.level
    return isolated[np.asarray(surround, np.float64) < ISOLATED_RATIO * core]


def without(image: Image, bad: NDArray[np.int64]) -> Image:
    """Copy of an image with the pixels of flat indices ``bad`` replaced by NaN; the image itself if none."""
    if bad.size == 0:
        return image
    copy = image.astype(np.float32 if image.dtype != np.float64 else np.float64)
    copy.ravel()[bad] = np.nan
    return copy


@numba.njit(cache=True, nogil=True)
def means_around(image: Any, pixels: Any) -> Any:
    """Mean of the good pixels that touch each pixel of a flat index; NaN where there is none."""
    ny, nx = image.shape
    means = np.empty(len(pixels))
    for k in range(len(pixels)):
        y0, x0 = pixels[k] // nx, pixels[k] % nx
        total, n = 0.0, 0
        for y in range(max(0, y0 - 1), min(ny, y0 + 2)):
            for x in range(max(0, x0 - 1), min(nx, x0 + 2)):
                if (y != y0 or x != x0) and np.isfinite(image[y, x]):
                    total += image[y, x]
                    n += 1
        means[k] = total / n if n > 0 else np.nan
    return means
