"""Gaussian profile of a star on a pixel grid, and what can be wrong with its pixels."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from opticam_dask.schema import Flag

PROFILE_RADIUS = 5.0
"""The profile is followed out to this many standard deviations."""

CORE = 1e-3
"""Pixels above this fraction of the profile's peak can spoil a measurement."""

_EDGE, _SATURATED, _NON_FINITE = int(Flag.EDGE), int(Flag.SATURATED), int(Flag.NON_FINITE)


@njit(cache=True, nogil=True)
def fill_profile(profile, x, y, a, b, theta):
    """Fill ``profile`` with a Gaussian of standard deviations ``a``, ``b`` sampled at pixel centres.

    Returns the sum, taken over the whole cut-out whether on the frame or not; divide by it for unit sum.
    """
    cos, sin = math.cos(theta), math.sin(theta)
    total = 0.0
    for j in range(profile.shape[0]):
        for i in range(profile.shape[1]):
            u = ((i - x) * cos + (j - y) * sin) / a
            v = ((j - y) * cos - (i - x) * sin) / b
            profile[j, i] = math.exp(-0.5 * (u * u + v * v))
            total += profile[j, i]
    return total


@njit(cache=True, nogil=True)
def pixel_flag(value, column, row, shape, saturation):
    """Flag of one pixel of a cut-out: off the frame, bad, saturated, or 0. A NaN saturation flags nothing."""
    if not (0 <= row < shape[0] and 0 <= column < shape[1]):
        return _EDGE
    if math.isnan(value):
        return _NON_FINITE
    return _SATURATED if value >= saturation else 0


@njit(cache=True, nogil=True)
def core_flags(pixels, profile, corner, shape, saturation):
    """Gather the flags of the pixels where ``profile`` (peak 1) exceeds `CORE`."""
    flags = np.int64(0)
    for j in range(pixels.shape[0]):
        for i in range(pixels.shape[1]):
            if profile[j, i] > CORE:
                flags |= pixel_flag(pixels[j, i], corner[0] + i, corner[1] + j, shape, saturation)
    return flags
