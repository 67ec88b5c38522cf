"""Re-centring of stars on their images, and who may claim which."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

from opticam_dask.kernels.gaussian import fill_gaussian, quadratic_form
from opticam_dask.kernels.stamps import stamp_batches

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from opticam_dask.kernels.stamps import Ellipse
    from opticam_dask.types import XY, Image

WINDOW = 4.0
"""The window is followed out to this many standard deviations."""

_MAX_ITERATIONS = 50
_TOLERANCE = 1e-6  # step at which the iteration has converged [standard deviations]
# Once steps are this small, a pixel at the window's rim that comes and goes may have them turn back for ever.
_RIM = 1e-2
_MAX_STEP = 1.0  # a step is kept within the window's core [standard deviations]


class Centroids(NamedTuple):
    """Result of `recentre`, each of n rows.

    Parameters
    ----------
    xy : ndarray, shape (n, 2) [pixel]
        Centres; NaN where the search failed.
    signal_to_noise : ndarray
        Signal-to-noise of the matched filter there; NaN where the search failed.
    """

    xy: XY
    signal_to_noise: NDArray[np.float64]


def recentre(
    image: Image,
    xy: XY,
    psf: Ellipse,
    level: NDArray[np.float64],
    scatter: NDArray[np.float64],
    max_shift: float,
) -> Centroids:
    """Centres of stars near predicted places, with a window shaped like the PSF.

    Each step fits a Gaussian of the PSF's shape, its amplitude and its first-order shift, to the pixels in
    the window, with weights that are constant. On complete pixels this is the windowed centroid of
    SExtractor (XWIN); with bad pixels, or at the edge of the frame, it stays unbiased.

    Parameters
    ----------
    image : ndarray, shape (ny, nx), uint16, float32 or float64 [adu]
        NaN marks a bad pixel.
    xy : ndarray, shape (n, 2) [pixel]
        Predicted places.
    psf : Ellipse
        Standard deviations and the angle of the major axis.
    level, scatter : ndarray, shape (n,) [adu / pixel]
        Sky under each source.
    max_shift : float
        A star found farther than this from its predicted place is not found [pixel].

    Returns
    -------
    Centroids
        NaN where the iteration does not converge within ``max_shift``.

    References
    ----------
    Bertin & Arnouts 1996, A&AS 117, 393 (SExtractor; windowed positions in its manual).
    """
    table = np.full((len(xy), 3), np.nan)
    half_x, half_y = psf.half_extent(WINDOW)
    shape = (psf.semimajor, psf.semiminor, psf.orientation_rad)
    for rows, stamps in stamp_batches(image, xy, (half_x + max_shift, half_y + max_shift)):
        _recentre(stamps.pixels, stamps.xy, shape, level[rows], scatter[rows], max_shift, table[rows])
        table[rows, :2] += stamps.corner
    return Centroids(table[:, :2], table[:, 2])


@njit(cache=True, nogil=True)
def _recentre(pixels, xy, psf, level, scatter, max_shift, table):
    buffer = np.empty(pixels[0].size)
    for k in range(pixels.shape[0]):
        x, y, signal = _search(pixels[k], xy[k, 0], xy[k, 1], psf, level[k], max_shift, buffer)
        table[k, 0], table[k, 1] = x, y
        table[k, 2] = signal / scatter[k] if scatter[k] > 0.0 else np.inf * signal


@njit(cache=True, nogil=True)
def _search(pixels, x_start, y_start, psf, level, max_shift, buffer):
    """Iterate to the centre; return it and amplitude * sqrt(sum P^2), or NaN."""
    cos, sin = math.cos(psf[2]), math.sin(psf[2])
    x, y, before, share = x_start, y_start, (0.0, 0.0), 1.0
    for _ in range(_MAX_ITERATIONS):
        amplitude, du, dv, norm = _step(pixels, x, y, psf, level, buffer)
        if not amplitude > 0.0:
            break
        length = math.hypot(du, dv)
        if length < _RIM and length > 0.5 * math.hypot(*before) and du * before[0] + dv * before[1] < 0.0:
            share *= 0.5
        before = (du, dv)
        du, dv, length = share * du, share * dv, share * length
        if length < _TOLERANCE:
            return x, y, amplitude * math.sqrt(norm)
        scale = min(1.0, _MAX_STEP / length)
        du, dv = du * scale * psf[0], dv * scale * psf[1]
        x += du * cos - dv * sin
        y += du * sin + dv * cos
        if math.hypot(x - x_start, y - y_start) > max_shift:
            break
    return np.nan, np.nan, np.nan


@njit(cache=True, nogil=True)
def _step(pixels, x, y, psf, level, buffer):
    """Amplitude, shift along the axes [standard deviations] and sum of the squared window."""
    a, b, theta = psf
    cos, sin = math.cos(theta), math.sin(theta)
    half_x = WINDOW * math.hypot(a * cos, b * sin)
    half_y = WINDOW * math.hypot(a * sin, b * cos)
    left, right = max(0, math.ceil(x - half_x)), min(pixels.shape[1], math.floor(x + half_x) + 1)
    low, high = max(0, math.ceil(y - half_y)), min(pixels.shape[0], math.floor(y + half_y) + 1)
    if left >= right or low >= high:
        return np.nan, np.nan, np.nan, np.nan
    window = buffer[: (high - low) * (right - left)].reshape(high - low, right - left)
    fill_gaussian(window, x - left, y - low, quadratic_form(a * a, b * b, theta))
    moments, sums = _moments(pixels, window, low, left, x - left, y - low, level)
    along, across = (cos / a, sin / a), (-sin / b, cos / b)
    amplitude, du, dv = _solve(
        moments[0], _first(moments[1:3], along), _first(moments[1:3], across),
        _second(moments[3:], along, along), _second(moments[3:], along, across),
        _second(moments[3:], across, across), sums[0], _first(sums[1:], along), _first(sums[1:], across),
    )  # fmt: skip
    if not amplitude > 0.0:
        return np.nan, np.nan, np.nan, np.nan
    return amplitude, du / amplitude, dv / amplitude, moments[0]


@njit(cache=True, nogil=True)
def _moments(pixels, window, low, left, x, y, level):
    """Moments of the squared window (0, x, y, xx, xy, yy) and of the data under it (0, x, y), of good pixels.

    Each row is summed on its own first: its distance from the centre in y is the same for all its pixels.
    """
    w0, wx, wy, wxx, wxy, wyy, d0, dx, dy = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for j in range(window.shape[0]):
        row, weights = pixels[low + j, left : left + window.shape[1]], window[j]
        row0, row1, row2, data0, data1 = 0.0, 0.0, 0.0, 0.0, 0.0
        for i in range(weights.size):
            good = row[i] == row[i]
            weight = weights[i] if good else 0.0
            value = weight * (row[i] - level) if good else 0.0
            square, place = weight * weight, i - x
            row0 += square
            row1 += square * place
            row2 += square * place * place
            data0 += value
            data1 += value * place
        place = j - y
        w0, wx, wxx, wy = w0 + row0, wx + row1, wxx + row2, wy + row0 * place
        wxy, wyy = wxy + row1 * place, wyy + row0 * place * place
        d0, dx, dy = d0 + data0, dx + data1, dy + data0 * place
    return (w0, wx, wy, wxx, wxy, wyy), (d0, dx, dy)


@njit(cache=True, nogil=True)
def _first(moments, axis):
    """First moment along an axis."""
    return moments[0] * axis[0] + moments[1] * axis[1]


@njit(cache=True, nogil=True)
def _second(moments, one, other):
    """Second moment along two axes."""
    xx, xy, yy = moments
    mixed = one[0] * other[1] + one[1] * other[0]
    return xx * one[0] * other[0] + xy * mixed + yy * one[1] * other[1]


@njit(cache=True, nogil=True)
def _solve(a, b, c, d, e, f, r0, r1, r2):
    """Solve the symmetric 3 x 3 system (a b c, b d e, c e f) by its adjugate; NaN if it is undetermined."""
    minors = (d * f - e * e, c * e - b * f, b * e - c * d)
    determinant = a * minors[0] + b * minors[1] + c * minors[2]
    if not determinant > 1e-9 * a * d * f:
        return np.nan, np.nan, np.nan
    return (
        (minors[0] * r0 + minors[1] * r1 + minors[2] * r2) / determinant,
        (minors[1] * r0 + (a * f - c * c) * r1 + (b * c - a * e) * r2) / determinant,
        (minors[2] * r0 + (b * c - a * e) * r1 + (a * d - b * b) * r2) / determinant,
    )


def claim_winners(xy: XY, shift: NDArray[np.float64], radius: float) -> NDArray[np.bool_]:
    """Which sources keep their place when several were found on one star.

    Parameters
    ----------
    xy : ndarray, shape (n, 2) [pixel]
        Places found; NaN rows claim nothing.
    shift : ndarray, shape (n,) [pixel]
        Distance of each from its own prediction: the nearest keeps the star.
    radius : float
        Places closer than this are one star [pixel].

    Returns
    -------
    ndarray of bool, shape (n,)
        True where the source keeps its place.
    """
    return _claim_in_order(xy, np.argsort(shift, kind="stable"), radius)


@njit(cache=True, nogil=True)
def _claim_in_order(xy, order, radius):
    keeps = np.zeros(len(xy), dtype=np.bool_)
    for k in order:
        keeps[k] = not math.isnan(xy[k, 0])
        for m in range(len(xy)):
            if m != k and keeps[m] and math.hypot(xy[m, 0] - xy[k, 0], xy[m, 1] - xy[k, 1]) < radius:
                keeps[k] = False
                break
    return keeps


@njit(cache=True, nogil=True)
def has_neighbour(xy, a, b, theta):
    """Whether another source lies in the ellipse (a, b, theta) around each source; NaN rows have none."""
    cos, sin = math.cos(theta), math.sin(theta)
    near = np.zeros(len(xy), dtype=np.bool_)
    for k in range(len(xy)):
        for m in range(len(xy)):
            dx, dy = xy[m, 0] - xy[k, 0], xy[m, 1] - xy[k, 1]
            u, v = (dx * cos + dy * sin) / a, (dy * cos - dx * sin) / b
            if m != k and u * u + v * v < 1.0:
                near[k] = True
                break
    return near
