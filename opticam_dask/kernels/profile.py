"""Profile of a star on a pixel grid: an elliptical Gaussian or Moffat, integrated over each pixel.

Widths are those of the pixels' data, so they hold the pixel's own response. What is integrated over a pixel
is therefore narrower by the part of that response which the integration puts back.

References
----------
Moffat 1969, A&A 3, 455, for the profile (1 + r^2 / alpha^2)^-beta.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from opticam_dask.kernels.gaussian import fill_gaussian, form_at, quadratic_form
from opticam_dask.kernels.sums import moments_about
from opticam_dask.schema import Flag

PROFILE_RADIUS = 5.0
"""A Gaussian is followed out to this many standard deviations."""

MOFFAT_RADIUS = 12.0
"""A Moffat is followed out to at most this many times FWHM / 2.3548, where its wings no longer tell much."""

MOFFAT_LOSS = 0.01
"""A Moffat is followed, within `MOFFAT_RADIUS`, until no more than this part of its light is left out."""

CORE = 1e-3
"""Pixels above this fraction of the profile's peak can spoil a measurement."""

_EDGE, _SATURATED, _NON_FINITE = int(Flag.EDGE), int(Flag.SATURATED), int(Flag.NON_FINITE)
_LN2 = math.log(2.0)
_NARROWEST = 0.01  # least variance [pixel^2] of what is integrated: stars cannot be narrower than a pixel


def profile_radius(beta: float) -> float:
    """Radius to which a profile is followed, in standard deviations (of a Moffat: in FWHM / 2.3548).

    ``beta`` is the exponent of a Moffat, infinite for a Gaussian.
    """
    if math.isinf(beta):
        return PROFILE_RADIUS
    left = (1.0 + _steepness(beta) * MOFFAT_RADIUS**2) ** (1.0 - beta)
    if left > MOFFAT_LOSS:
        return MOFFAT_RADIUS
    return max(math.sqrt((MOFFAT_LOSS ** (1.0 / (1.0 - beta)) - 1.0) / _steepness(beta)), PROFILE_RADIUS)


def core_radius(beta: float) -> float:
    """Radius at which a profile has fallen to `CORE` of its peak, in the unit of `profile_radius`."""
    if math.isinf(beta):
        return math.sqrt(-2.0 * math.log(CORE))
    return min(math.sqrt((CORE ** (-1.0 / beta) - 1.0) / _steepness(beta)), profile_radius(beta))


def peak_density(semimajor: float, semiminor: float, beta: float) -> float:
    """Height of the centre of a profile of unit sum [1 / pixel], not averaged over a pixel."""
    area = math.pi * semimajor * semiminor
    return 0.5 / area if math.isinf(beta) else _steepness(beta) * (beta - 1.0) / area


@njit(cache=True, nogil=True)
def _steepness(beta):
    """Factor k of (1 + k ((u/a)^2 + (v/b)^2))^-beta for which a and b are FWHM / 2.3548."""
    return (2.0 ** (1.0 / beta) - 1.0) / (2.0 * _LN2)


@njit(cache=True, nogil=True)
def fill_profile(profile, x, y, shape):
    """Fill ``profile`` with a star of unit sum centred at (``x``, ``y``), 0 beyond its radius.

    A Gaussian has unit sum over the cut-out, whether on the frame or not; a Moffat, whose wings reach far,
    over the whole plane.

    Parameters
    ----------
    profile : ndarray, shape (ny, nx)
        Filled in place.
    x, y : float
        Centre in coordinates of the cut-out [pixel].
    shape : tuple of float
        Standard deviations along the axes (of a Moffat: its FWHM / 2.3548) [pixel], the angle of the first
        [radian], the exponent beta of a Moffat, infinite for a Gaussian, and `profile_radius` of beta.
    """
    if math.isinf(shape[3]):
        norm = 1.0 / _fill_gaussian(profile, x, y, shape)
    else:
        norm = _fill_moffat(profile, x, y, shape)
    for j in range(profile.shape[0]):
        for i in range(profile.shape[1]):
            profile[j, i] *= norm


@njit(cache=True, nogil=True)
def _points(b):
    """Points per pixel and axis for the smaller standard deviation ``b``: at least one in 2/3 of it."""
    return max(1, min(math.ceil(1.5 / b), 6))


@njit(cache=True, nogil=True)
def _fill_gaussian(profile, x, y, shape):
    """Sum n x n points in each pixel, of a Gaussian whose second moments are then right; return the total.

    The points of a pixel have themselves a variance of (1 - 1/n^2) / 12 along any axis. What remains is the
    fourth cumulant of the spaces between them: some 3 / (2880 (n b)^4) of the peak.
    """
    n = _points(shape[1])
    spread = (1.0 - 1.0 / (n * n)) / 12.0
    limit = quadratic_form(shape[0] ** 2, shape[1] ** 2, shape[2])
    form = quadratic_form(
        max(shape[0] ** 2 - spread, _NARROWEST), max(shape[1] ** 2 - spread, _NARROWEST), shape[2]
    )
    if n == 1:
        fill_gaussian(profile, x, y, form)
    else:
        fine = np.empty((n * profile.shape[0], n * profile.shape[1]))
        fine_form = (form[0] / (n * n), form[1] / (n * n), form[2] / (n * n))
        fill_gaussian(fine, n * x + 0.5 * (n - 1), n * y + 0.5 * (n - 1), fine_form)
        _add_squares(fine, n, profile)
    for j in range(profile.shape[0]):
        row = profile[j]
        for i in range(row.size):
            row[i] = row[i] if form_at(limit, i - x, j - y) <= shape[4] ** 2 else 0.0
    return moments_about(profile.ravel(), 0.0)[0]


@njit(cache=True, nogil=True)
def _add_squares(fine, n, out):
    """Sum the n x n points of each pixel."""
    for j in range(out.shape[0]):
        for i in range(out.shape[1]):
            out[j, i] = 0.0
            for k in range(n):
                for m in range(n):
                    out[j, i] += fine[n * j + k, n * i + m]


@njit(cache=True, nogil=True)
def _fill_moffat(profile, x, y, shape):
    """Fill with the Moffat integrated over pixels, not normalised; return the norm."""
    n, beta, steepness = _points(shape[1]), shape[3], _steepness(shape[3])
    a2, b2 = _without_pixel(shape[0] ** 2, shape[1] ** 2, beta)
    limit = quadratic_form(shape[0] ** 2, shape[1] ** 2, shape[2])
    form = quadratic_form(a2 / steepness, b2 / steepness, shape[2])
    for j in range(profile.shape[0]):
        for i in range(profile.shape[1]):
            inside = form_at(limit, i - x, j - y) <= shape[4] ** 2
            profile[j, i] = _moffat_points(form, beta, i - x, j - y, n) if inside else 0.0
    return steepness * (beta - 1.0) / (math.pi * math.sqrt(a2 * b2) * n * n)


@njit(cache=True, nogil=True)
def _moffat_points(form, beta, dx, dy, n):
    """Sum n x n sub-pixels, each the Moffat at its centre and h^2/24 of its Laplacian.

    That is the integral over a sub-pixel of side h up to the fourth order in h. With the widths of
    `_without_pixel` it is right within 0.15 % of the peak if FWHM / 2.3548 exceeds a pixel, 0.7 % at 0.6.
    """
    slope, bend = 2.0 * beta * (form[0] + form[2]) / (24.0 * n * n), beta * (beta + 1.0) / (24.0 * n * n)
    value = 0.0
    for k in range(n):
        y = dy + (k + 0.5) / n - 0.5
        for m in range(n):
            x = dx + (m + 0.5) / n - 0.5
            inverse = 1.0 / (1.0 + form_at(form, x, y))
            gx, gy = 2.0 * form[0] * x + form[1] * y, form[1] * x + 2.0 * form[2] * y
            laplacian = (bend * (gx * gx + gy * gy) * inverse - slope) * inverse
            value += inverse**beta * (1.0 + laplacian)
    return value


@njit(cache=True, nogil=True)
def _without_pixel(a2, b2, beta):
    """Square widths of the Moffat that has FWHM^2 of ``a2``, ``b2`` (in sigmas) after averaging over pixels.

    A pixel adds 1/24 of the Laplacian; to first order this moves the half-maximum by what is taken off here,
    which for a Gaussian (beta infinite) is the variance of a pixel, 1/12.
    """
    half = 2.0 ** (1.0 / beta)
    common, own = (half - 1.0) / (24.0 * _LN2), 1.0 + 2.0 * (beta + 1.0) / half
    narrow_a, narrow_b = a2 - common * (own + a2 / b2), b2 - common * (own + b2 / a2)
    return max(narrow_a, _NARROWEST), max(narrow_b, _NARROWEST)


@njit(cache=True, nogil=True)
def clip_profile(profile, x, y, shape, radius):
    """Set the profile to 0 in pixels with centres beyond ``radius`` standard deviations.

    The pixel that holds the source is never left out.
    """
    form = quadratic_form(shape[0] ** 2, shape[1] ** 2, shape[2])
    for j in range(profile.shape[0]):
        for i in range(profile.shape[1]):
            if form_at(form, i - x, j - y) > radius * radius and max(abs(i - x), abs(j - y)) > 0.5:
                profile[j, i] = 0.0


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
    """Gather the flags of the pixels where ``profile`` exceeds `CORE` times its highest pixel."""
    threshold = CORE * profile.max()
    flags = np.int64(0)
    for j in range(pixels.shape[0]):
        for i in range(pixels.shape[1]):
            if profile[j, i] > threshold:
                flags |= pixel_flag(pixels[j, i], corner[0] + i, corner[1] + j, shape, saturation)
    return flags


@njit(cache=True, nogil=True)
def all_plain(pixels, saturation):
    """Whether no pixel of a cut-out has a flag: all on the frame, good, and not saturated."""
    limit = math.inf if math.isnan(saturation) else saturation
    plain = 0
    for j in range(pixels.shape[0]):
        for i in range(pixels.shape[1]):
            plain += pixels[j, i] < limit
    return plain == pixels.size
