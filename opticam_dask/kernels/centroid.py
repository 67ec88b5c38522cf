"""Re-centring of stars on their images, and who may claim which."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

from opticam_dask.kernels.stamps import stamp_batches

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from opticam_dask.kernels.stamps import Ellipse
    from opticam_dask.types import XY, Image

WINDOW = 4.0
"""The window is followed out to this many standard deviations."""

_MAX_ITERATIONS = 50
_TOLERANCE = 1e-6  # step at which the iteration has converged [standard deviations]
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
    for k in range(pixels.shape[0]):
        x, y, signal = _search(pixels[k], xy[k, 0], xy[k, 1], psf, level[k], max_shift)
        table[k, 0], table[k, 1] = x, y
        table[k, 2] = signal / scatter[k] if scatter[k] > 0.0 else np.inf * signal


@njit(cache=True, nogil=True)
def _search(pixels, x_start, y_start, psf, level, max_shift):
    """Iterate to the centre; return it and amplitude * sqrt(sum P^2), or NaN."""
    cos, sin = math.cos(psf[2]), math.sin(psf[2])
    x, y = x_start, y_start
    for _ in range(_MAX_ITERATIONS):
        amplitude, du, dv, norm = _step(pixels, x, y, psf, level)
        if not amplitude > 0.0:
            break
        length = math.hypot(du, dv)
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
def _step(pixels, x, y, psf, level):
    """Amplitude, shift along the axes [standard deviations] and sum of the squared window."""
    a, b, theta = psf
    cos, sin = math.cos(theta), math.sin(theta)
    half_x = WINDOW * math.hypot(a * cos, b * sin)
    half_y = WINDOW * math.hypot(a * sin, b * cos)
    normal = np.zeros((3, 3))
    right = np.zeros(3)
    basis = np.empty(3)
    for j in range(max(0, math.ceil(y - half_y)), min(pixels.shape[0], math.floor(y + half_y) + 1)):
        for i in range(max(0, math.ceil(x - half_x)), min(pixels.shape[1], math.floor(x + half_x) + 1)):
            if not math.isnan(pixels[j, i]):
                _fill_basis(basis, ((i - x) * cos + (j - y) * sin) / a, ((j - y) * cos - (i - x) * sin) / b)
                _add(normal, right, basis, pixels[j, i] - level)
    amplitude, du, dv = _solve(normal, right)
    if not amplitude > 0.0:
        return np.nan, np.nan, np.nan, np.nan
    return amplitude, du / amplitude, dv / amplitude, normal[0, 0]


@njit(cache=True, nogil=True)
def _fill_basis(basis, u, v):
    """Gaussian window and its derivatives with respect to a shift along each axis."""
    window = math.exp(-0.5 * (u * u + v * v))
    basis[0], basis[1], basis[2] = window, window * u, window * v


@njit(cache=True, nogil=True)
def _add(normal, right, basis, value):
    for m in range(3):
        right[m] += basis[m] * value
        for n in range(m, 3):
            normal[m, n] += basis[m] * basis[n]


@njit(cache=True, nogil=True)
def _solve(normal, right):
    """Solve the symmetric 3 x 3 system by its adjugate; NaN if the pixels left do not determine it."""
    a, b, c = normal[0, 0], normal[0, 1], normal[0, 2]
    d, e, f = normal[1, 1], normal[1, 2], normal[2, 2]
    minors = (d * f - e * e, c * e - b * f, b * e - c * d)
    determinant = a * minors[0] + b * minors[1] + c * minors[2]
    if not determinant > 1e-9 * a * d * f:
        return np.nan, np.nan, np.nan
    r0, r1, r2 = right[0], right[1], right[2]
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
