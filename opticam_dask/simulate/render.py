"""Stars drawn on cut-outs: Gaussians integrated over the pixels or sampled at their centres, and Moffats."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from opticam_dask.compiled import keep_compiled_code

keep_compiled_code()

Array = NDArray[np.float64]

GAUSSIAN_RADIUS = 5.6
"""Half-width of a cut-out in sigmas: exp(-5.6**2 / 2), the light outside, is 1.5e-7."""

MOFFAT_LOSS = 1e-4
"""Light of a Moffat star outside its cut-out, at most."""

FINE_SIGMA = 0.8
"""Narrower Gaussians [pixel] are integrated with more points per pixel."""

_POINTS = {n: np.polynomial.legendre.leggauss(n) for n in (4, 5, 8)}
NODES_4, NODES_5, NODES_8 = (_POINTS[n][0] / 2 for n in (4, 5, 8))
WEIGHTS_4, WEIGHTS_5, WEIGHTS_8 = (_POINTS[n][1] / 2 for n in (4, 5, 8))
_SQRT_HALF = math.sqrt(0.5)
FWHM_PER_SIGMA = 2.0 * math.sqrt(2.0 * math.log(2.0))


@njit(cache=True, nogil=True)
def _span(centre: float, half: float, size: int) -> tuple[int, int]:
    """First and one-past-last pixel within ``half`` of a centre, cut to the frame."""
    low = max(0.0, math.floor(centre - half + 0.5))
    high = min(float(size), math.ceil(centre + half + 0.5))
    return int(min(low, float(size))), int(max(high, 0.0))


@njit(cache=True, nogil=True)
def covariance(semimajor: float, semiminor: float, orientation_rad: float) -> tuple[float, float, float]:
    """Variances along x and y, and covariance, of an elliptical Gaussian [pixel**2]."""
    cos, sin = math.cos(orientation_rad), math.sin(orientation_rad)
    var_x = (semimajor * cos) ** 2 + (semiminor * sin) ** 2
    var_y = (semimajor * sin) ** 2 + (semiminor * cos) ** 2
    return var_x, var_y, (semimajor**2 - semiminor**2) * sin * cos


@njit(cache=True, nogil=True)
def add_gaussian(
    image: Array, throughput: Array, x: float, y: float, flux: float, shape: tuple[float, float, float]
) -> None:
    """Add an elliptical Gaussian integrated over every pixel.

    The integral along x is exact (error function, for the row's conditional Gaussian); along y it
    is a Gauss-Legendre sum.

    Parameters
    ----------
    image : ndarray, shape (ny, nx), float64
        Changed in place.
    throughput : ndarray, shape (ny, nx), float64
        Fraction of the light each pixel receives.
    x, y : float
        Centre [pixel].
    flux : float
        Total, in the unit of the image.
    shape : tuple of float
        Semimajor sigma, semiminor sigma [pixel] and orientation [rad, counter-clockwise from +x].
    """
    var_x, var_y, cov = covariance(shape[0], shape[1], shape[2])
    x0, x1 = _span(x, GAUSSIAN_RADIUS * math.sqrt(var_x), image.shape[1])
    y0, y1 = _span(y, GAUSSIAN_RADIUS * math.sqrt(var_y), image.shape[0])
    fine = shape[1] < FINE_SIGMA
    nodes = NODES_8 if fine else NODES_4
    weights = WEIGHTS_8 if fine else WEIGHTS_4
    slope = cov / var_y
    scale = _SQRT_HALF / math.sqrt(var_x - cov * slope)
    norm = 0.5 * flux / math.sqrt(2.0 * math.pi * var_y)
    for j in range(y0, y1):
        for k in range(nodes.size):
            dy = j + nodes[k] - y
            height = norm * weights[k] * math.exp(-0.5 * dy * dy / var_y)
            centre = x + slope * dy
            before = math.erf((x0 - 0.5 - centre) * scale)
            for i in range(x0, x1):
                after = math.erf((i + 0.5 - centre) * scale)
                image[j, i] += throughput[j, i] * height * (after - before)
                before = after


@njit(cache=True, nogil=True)
def add_sampled_gaussian(
    image: Array, throughput: Array, x: float, y: float, flux: float, shape: tuple[float, float, float]
) -> None:
    """Add an elliptical Gaussian sampled at the pixel centres; parameters as in `add_gaussian`."""
    var_x, var_y, cov = covariance(shape[0], shape[1], shape[2])
    det = var_x * var_y - cov * cov
    x0, x1 = _span(x, GAUSSIAN_RADIUS * math.sqrt(var_x), image.shape[1])
    y0, y1 = _span(y, GAUSSIAN_RADIUS * math.sqrt(var_y), image.shape[0])
    peak = flux / (2.0 * math.pi * math.sqrt(det))
    for j in range(y0, y1):
        dy = j - y
        for i in range(x0, x1):
            dx = i - x
            chi2 = (dx * dx * var_y - 2.0 * dx * dy * cov + dy * dy * var_x) / det
            image[j, i] += throughput[j, i] * peak * math.exp(-0.5 * chi2)


@njit(cache=True, nogil=True)
def add_moffat(
    image: Array,
    throughput: Array,
    x: float,
    y: float,
    flux: float,
    shape: tuple[float, float, float],
    beta: float,
) -> None:
    """Add an elliptical Moffat star, integrated over the pixels of its core.

    Parameters are those of `add_gaussian`, but the sigmas stand for the full widths at half
    maximum, 2.355 sigma. Beyond 5 core widths pixels are sampled at their centres.
    """
    width = FWHM_PER_SIGMA / (2.0 * math.sqrt(2.0 ** (1.0 / beta) - 1.0))
    var_x, var_y, cov = covariance(shape[0] * width, shape[1] * width, shape[2])
    det = var_x * var_y - cov * cov
    reach = math.sqrt(MOFFAT_LOSS ** (1.0 / (1.0 - beta)) - 1.0)
    x0, x1 = _span(x, reach * math.sqrt(var_x), image.shape[1])
    y0, y1 = _span(y, reach * math.sqrt(var_y), image.shape[0])
    peak = flux * (beta - 1.0) / (math.pi * math.sqrt(det))
    for j in range(y0, y1):
        for i in range(x0, x1):
            inverse = (var_y / det, cov / det, var_x / det)
            value = _moffat_pixel(i - x, j - y, inverse, beta)
            image[j, i] += throughput[j, i] * peak * value


@njit(cache=True, nogil=True)
def _moffat_pixel(dx: float, dy: float, inverse: tuple[float, float, float], beta: float) -> float:
    """Mean over a pixel of a Moffat profile of peak 1."""
    a, b, c = inverse
    centre = a * dx * dx - 2.0 * b * dx * dy + c * dy * dy
    if centre > 25.0:
        return math.pow(1.0 + centre, -beta)
    total: float = 0.0
    for k in range(NODES_5.size):
        v = dy + NODES_5[k]
        for m in range(NODES_5.size):
            u = dx + NODES_5[m]
            r2 = a * u * u - 2.0 * b * u * v + c * v * v
            total += WEIGHTS_5[k] * WEIGHTS_5[m] * math.pow(1.0 + r2, -beta)
    return total


@njit(cache=True, nogil=True)
def add_stars(
    image: Array,
    throughput: Array,
    xy: Array,
    flux: Array,
    shape: tuple[float, float, float],
    profile: int,
    beta: float,
) -> None:
    """Add all stars of a frame.

    Parameters
    ----------
    image, throughput : ndarray, shape (ny, nx), float64
        The image, changed in place, and the fraction of light each pixel receives.
    xy : ndarray, shape (n_star, 2)
        Centres [pixel].
    flux : ndarray, shape (n_star,)
        Totals.
    shape : tuple of float
        Semimajor sigma, semiminor sigma [pixel] and orientation [rad].
    profile : int
        0 integrated Gaussian, 1 sampled Gaussian, 2 Moffat.
    beta : float
        Exponent of the Moffat profile.
    """
    for s in range(xy.shape[0]):
        if flux[s] <= 0.0:
            continue
        if profile == 0:
            add_gaussian(image, throughput, xy[s, 0], xy[s, 1], flux[s], shape)
        elif profile == 1:
            add_sampled_gaussian(image, throughput, xy[s, 0], xy[s, 1], flux[s], shape)
        else:
            add_moffat(image, throughput, xy[s, 0], xy[s, 1], flux[s], shape, beta)
