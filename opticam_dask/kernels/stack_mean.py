"""Mean of a stack without the cosmic rays of single frames."""

from __future__ import annotations

import math

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
    total, number = stack.total.copy(), stack.count.copy()
    values = [np.where(np.isfinite(value), value, 0.0).astype(np.float64) for value in stack.largest]
    fixed = [np.rint(value * scale).astype(np.int64) for value in values]
    removable = np.clip(stack.count - _LEAST_LEFT, 0, 2)
    core = _mean(total - (removable >= 1) * fixed[0] - (removable >= 2) * fixed[1], number - removable, scale)
    light = np.maximum(np.nan_to_num(core) - _LIGHT * noise / np.sqrt(np.maximum(number, 1)), 0.0)
    allowed = RAY_SIGMAS * noise + ratio * _brightest_near(light, reach)
    both = (removable >= 2) & (values[1] - core > allowed)
    others = _mean(total - fixed[0], np.maximum(number - 1, 1), scale)
    first = both | ((removable >= 1) & (values[0] - others > allowed))
    for outlier, value in ((first, fixed[0]), (both, fixed[1])):
        total -= outlier * value
        number -= outlier
    return _mean(total, number, scale)


def _mean(total: NDArray[np.int64], number: NDArray[np.int32], scale: float) -> NDArray[np.float64]:
    mean = np.full(total.shape, np.nan)
    np.divide(total, scale * number.astype(np.float64), out=mean, where=number > 0)
    return mean


def _brightest_near(image: NDArray[np.float64], reach: int) -> NDArray[np.float64]:
    """Maximum of the square of ``2 * reach + 1`` pixels around each pixel."""
    for axis in range(2):
        margin = [(reach, reach) if n == axis else (0, 0) for n in range(2)]
        padded = np.pad(image, margin, mode="edge")
        image = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1, axis=axis).max(axis=-1)
    return image
