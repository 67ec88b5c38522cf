"""Mean of a stack without the cosmic rays of single frames."""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from opticam_dask.kernels.stack import Stack

RAY_SIGMAS = 6.0
"""A value left out exceeds the mean of the others by this much of one frame's noise, and more near stars."""
RAY_RATIO = 0.5
"""The more: this part of the brightest mean nearby, as seeing and jitter change a star's flanks so much."""
_NEAR = 1.5  # how far "nearby" is, in units of the stars' sigma
_LIGHT = 3.0  # only what exceeds the mean's noise this much is light of a star
_STRIP = 256  # rows worked on at a time, which bounds the memory
_LEAST_LEFT = 2  # frames at a pixel without the values left out: one alone could be the ray


def clean_mean(
    stack: Stack, scale: float, *, noise: float, spread: float, sigma: float
) -> NDArray[np.float64]:
    """Mean of the frames at each pixel, leaving out its one or two largest values where these are outliers.

    A value is an outlier if it exceeds the mean m of the smaller ones by more than ``RAY_SIGMAS`` times
    the noise of a frame plus a part of the brightest m within 1.5 sigma of the stars. That part is
    ``RAY_RATIO``, more if some frames show all stars with higher peaks than others do; so stars keep their
    light through clouds and changes of seeing. A ray on top of a star stays unless it rivals the star.

    Two values can be left out where four frames contributed, one where three did, none where fewer did: of
    one or two frames the rays stay. A third ray at one pixel stays too, divided by the number of frames.

    Parameters
    ----------
    stack : Stack
        Sum, count and largest contributions.
    scale : float
        Fixed point of the sum, see `opticam_dask.kernels.stack.fixed_point_scale`.
    noise : float
        Scatter of the sky of one frame [adu]; if infinite, nothing is left out.
    spread : float
        Peak of a star on the frame where it is highest, in units of where it is lowest; 1 or more.
    sigma : float
        Width of the stars [pixel].

    Returns
    -------
    ndarray of float64, shape (rows, columns) [adu]
        Rounded to float32 precision, as it is stored; NaN where no frame contributed.
    """
    reach, rows = max(1, math.ceil(_NEAR * sigma)), len(stack.count)
    mean = np.empty(stack.count.shape)
    for start in range(0, rows, _STRIP):
        low = max(0, start - reach)
        strip = np.s_[..., low : start + _STRIP + reach, :]
        part = Stack(stack.total[strip], stack.count[strip], stack.largest[strip])
        clean = _clean(part, scale, noise, RAY_RATIO + spread - 1.0, reach)
        mean[start : start + _STRIP] = clean[start - low :][:_STRIP]
    return mean.astype(np.float32).astype(np.float64)


def _clean(stack: Stack, scale: float, noise: float, ratio: float, reach: int) -> NDArray[np.float64]:
    light = np.empty(stack.count.shape)
    _light(stack.total, stack.count, stack.largest, scale, noise, light)
    near = _brightest_near(light, reach)
    mean = np.empty(stack.count.shape)
    _mean(stack.total, stack.count, stack.largest, scale, RAY_SIGMAS * noise, ratio, near, mean)
    return mean


@numba.njit(cache=True, nogil=True)
def _without_largest(total: Any, number: int, first: float, second: float, k: int, scale: float) -> float:
    """Mean at a pixel without its ``k`` largest values, truncated as they were in the sum."""
    if number <= k:
        return np.nan
    if k >= 1:
        total -= np.int64(np.float64(first) * scale)
    if k >= 2:
        total -= np.int64(np.float64(second) * scale)
    return total / (scale * (number - k))


@numba.njit(cache=True, nogil=True)
def _light(total: Any, count: Any, largest: Any, scale: float, noise: float, light: Any) -> None:
    """Find how far the mean of the smaller values exceeds its own noise."""
    rows, columns = light.shape
    for j in range(rows):
        for i in range(columns):
            n, first, second = count[j, i], largest[0, j, i], largest[1, j, i]
            k = min(max(n - _LEAST_LEFT, 0), 2)
            core = _without_largest(total[j, i], n, first, second, k, scale)
            excess = core - _LIGHT * noise / math.sqrt(max(n, 1))
            light[j, i] = excess if excess > 0.0 else 0.0


@numba.njit(cache=True, nogil=True)
def _mean(
    total: Any, count: Any, largest: Any, scale: float, least: float, ratio: float, near: Any, mean: Any
) -> None:
    rows, columns = mean.shape
    for j in range(rows):
        for i in range(columns):
            all_of_them, n = total[j, i], count[j, i]
            first, second = largest[0, j, i], largest[1, j, i]
            allowed = least + ratio * near[j, i]
            k = min(max(n - _LEAST_LEFT, 0), 2)
            # two rays hide each other: the second is looked at first
            if k == 2 and not second - _without_largest(all_of_them, n, first, second, 2, scale) > allowed:
                k = 1
            if k == 1 and not first - _without_largest(all_of_them, n, first, second, 1, scale) > allowed:
                k = 0
            mean[j, i] = _without_largest(all_of_them, n, first, second, k, scale)


@numba.njit(cache=True, nogil=True)
def _brightest_near(image: Any, reach: int) -> Any:
    """Maximum of the square of ``2 * reach + 1`` pixels around each pixel."""
    rows, columns = image.shape
    wide, out = image.copy(), image.copy()
    for j in range(rows):
        for shift in range(1, min(reach, columns - 1) + 1):
            for i in range(columns - shift):
                wide[j, i] = max(wide[j, i], image[j, i + shift])
            for i in range(shift, columns):
                wide[j, i] = max(wide[j, i], image[j, i - shift])
    for j in range(rows):
        out[j] = wide[j]
        for other in range(max(0, j - reach), min(rows, j + reach + 1)):
            for i in range(columns):
                out[j, i] = max(out[j, i], wide[other, i])
    return out
