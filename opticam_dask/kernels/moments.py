"""Adaptive second moments: place, flux and shape of one star, its own Gaussian being the weight."""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from opticam_dask.kernels.gaussian_weight import held, next_covariance, widen
from opticam_dask.types import XY, Image

STAR = np.dtype(
    [
        ("x", "f8"),
        ("y", "f8"),
        ("flux", "f8"),
        ("snr", "f8"),
        ("peak", "f8"),
        ("mxx", "f8"),
        ("mxy", "f8"),
        ("myy", "f8"),
        ("converged", "?"),
    ]
)
"""One star: place [pixel], flux [adu], signal-to-noise ratio of a flux of known shape, peak pixel [adu],
covariance [pixel^2]; NaN in all of them where the fit did not converge."""

MAX_ITERATIONS = 40
MIN_SIGMA = 0.35
"""Narrower than any sampled star [pixel]: a single hot pixel shrinks to nothing."""
NARROWEST = 0.62
"""Least sigma of a star along its minor axis [pixel]: most cosmic rays are narrower."""
_REACH = 3.5  # of the weight, in sigmas: exp(-6) of its peak
_SKY_INNER = 4.5  # of the sky ring, in sigmas along the major axis: 4e-5 of a Gaussian's peak
_SKY_INSIDE = 4.2  # a ring nearer than this holds light of the star: it is laid again, farther out
_SKY_OUTSIDE = 5.5  # a ring farther off than this meets other stars: it is laid again, nearer
_LEAST_INNER = 4.0  # of a ring [pixel]
_MAX_RINGS = 4
_MAX_HALF = 60  # largest half width of a stamp [pixel]


@numba.njit(cache=True, nogil=True)
def _ring_level(image: Any, x0: int, y0: int, inner: float, fallback: float) -> float:
    """Median of the finite pixels in a ring three pixels wide; ``fallback`` if there are fewer than 12."""
    ny, nx = image.shape
    outer = inner + 3.0
    half = int(outer) + 1
    values = np.empty((2 * half + 1) ** 2, np.float64)
    n = 0
    for y in range(max(0, y0 - half), min(ny, y0 + half + 1)):
        for x in range(max(0, x0 - half), min(nx, x0 + half + 1)):
            r2 = (x - x0) ** 2 + (y - y0) ** 2
            value = float(image[y, x])
            if inner * inner <= r2 <= outer * outer and np.isfinite(value):
                values[n] = value
                n += 1
    if n < 12:
        return fallback
    return float(np.median(values[:n]))


@numba.njit(cache=True, nogil=True)
def _weighted_sums(image: Any, level: float, x: float, y: float, m: Any, sums: Any) -> bool:
    """Add up weight x signal x (1, dx, dy, dx^2, dx dy, dy^2), weight^2 and pixels, into ``sums``.

    Bad pixels are left out, and so is the pixel opposite: the sums stay centred.
    """
    ny, nx = image.shape
    det = m[0] * m[2] - m[1] * m[1]
    ixx, ixy, iyy = m[2] / det, -m[1] / det, m[0] / det
    reach = min(_REACH * math.sqrt(max(m[0], m[2])), float(_MAX_HALF))
    sums[:] = 0.0
    cx, cy = round(x), round(y)
    half = math.ceil(reach)
    bad = 0
    for j in range(cy - half, cy + half + 1):
        for i in range(cx - half, cx + half + 1):
            dx, dy = i - x, j - y
            q = ixx * dx * dx + 2.0 * ixy * dx * dy + iyy * dy * dy
            if q > _REACH * _REACH:
                continue
            io, jo = 2 * cx - i, 2 * cy - j
            if i < 0 or j < 0 or i >= nx or j >= ny or io < 0 or jo < 0 or io >= nx or jo >= ny:
                bad += 1
                continue
            value = float(image[j, i])
            if not (np.isfinite(value) and np.isfinite(float(image[jo, io]))):
                bad += 1
                continue
            w = math.exp(-0.5 * q)
            s = w * (value - level)
            sums[0] += s
            sums[1] += s * dx
            sums[2] += s * dy
            sums[3] += s * dx * dx
            sums[4] += s * dx * dy
            sums[5] += s * dy * dy
            sums[6] += w * w
            sums[7] += 1.0
    return bool(bad <= 0.25 * (sums[7] + bad))


@numba.njit(cache=True, nogil=True)
def _fit(image: Any, level: float, x0: int, y0: int, max_shift: float, m: Any, out: Any) -> bool:
    """Adaptive moments; ``m`` is the first guess, and changed.

    ``out`` = (x, y, flux, sum w^2 for a weight that holds half of the flux, mxx, mxy, myy).

    The search starts from the place in ``out``, which stays within ``max_shift`` of the pixel (x0, y0).
    """
    c, sums, weight = np.empty(3), np.empty(8), np.empty(3)
    x, y = out[0], out[1]
    for iteration in range(MAX_ITERATIONS):
        widen(m, weight)
        if not _weighted_sums(image, level, x, y, weight, sums) or not sums[0] > 0.0:
            return False
        dx, dy = sums[1] / sums[0], sums[2] / sums[0]
        c[0] = sums[3] / sums[0] - dx * dx
        c[1] = sums[4] / sums[0] - dx * dy
        c[2] = sums[5] / sums[0] - dy * dy
        old0, old1, old2 = m[0], m[1], m[2]
        # a weight like the star halves the distance to its centre: twice the step lands on it
        step = 1.0 + (m[0] + m[2]) / (weight[0] + weight[2])
        next_covariance(c, weight, m)
        x, y = x + step * dx, y + step * dy
        minor = m[0] * m[2] - m[1] * m[1]
        if not (abs(x - x0) <= max_shift and abs(y - y0) <= max_shift and minor > MIN_SIGMA**4):
            return False
        if max(m[0], m[2]) > float(_MAX_HALF) ** 2 / 9.0:
            return False
        change = abs(m[0] - old0) + abs(m[1] - old1) + abs(m[2] - old2)
        # a pixel at the rim of the weight may enter and leave for ever: then the small change is the answer
        loose = 1e-7 if iteration < MAX_ITERATIONS // 2 else 3e-3
        if change < loose * (m[0] + m[2]) and abs(dx) + abs(dy) < loose:
            if 0.5 * (m[0] + m[2]) - math.hypot(0.5 * (m[0] - m[2]), m[1]) < NARROWEST**2:
                return False
            part = held(m, weight)
            out[:] = (x, y, sums[0] / part, sums[6] / (4.0 * part * part), m[0], m[1], m[2])
            return True
    return False


@numba.njit(cache=True, nogil=True)
def _fit_with_sky(
    image: Any, level: float, x0: int, y0: int, sigma: float, max_shift: float, out: Any
) -> bool:
    """Adaptive moments from a peak pixel, over the level of a ring that lies outside the star itself."""
    m = np.array([sigma * sigma, 0.0, sigma * sigma])
    inner = max(_SKY_INNER * sigma, _LEAST_INNER)
    out[0], out[1] = float(x0), float(y0)
    found = False
    for _ in range(_MAX_RINGS):
        local = _ring_level(image, x0, y0, inner, level)
        found = _fit(image, local, x0, y0, max_shift, m, out)
        if not found:
            break
        half = math.hypot(0.5 * (m[0] - m[2]), m[1])
        major = math.sqrt(0.5 * (m[0] + m[2]) + half)
        if _SKY_INSIDE * major <= inner <= max(_SKY_OUTSIDE * major, _LEAST_INNER):
            break
        inner = max(_SKY_INNER * major, _LEAST_INNER)
    return found


@numba.njit(cache=True, nogil=True)
def _measure(
    image: Any, px: Any, py: Any, sigma: float, level: float, noise: float, max_shift: float, stars: Any
) -> None:
    out = np.empty(7)
    for n in range(len(px)):
        star = stars[n]
        star.x = star.y = star.flux = star.snr = star.peak = star.mxx = star.mxy = star.myy = np.nan
        star.converged = False
        if _fit_with_sky(image, level, px[n], py[n], sigma, max_shift, out):
            star.x, star.y, star.flux = out[0], out[1], out[2]
            star.snr = out[2] / (2.0 * noise * math.sqrt(out[3])) if noise > 0.0 else np.inf
            star.peak = float(image[py[n], px[n]])
            star.mxx, star.mxy, star.myy = out[4], out[5], out[6]
            star.converged = True


def measure_stars(
    image: Image,
    peaks: NDArray[np.int64],
    *,
    sigma: float,
    level: float = 0.0,
    noise: float = 0.0,
    max_shift: float | None = None,
) -> NDArray[np.void]:
    """Adaptive moments of stars whose peak pixels are known.

    The weight is an elliptical Gaussian that takes on the star's own place and covariance, so for a Gaussian
    star the covariance is the star's own: isophotal moments, cut at the noise, are too narrow. Results depend
    on the peak pixel and on ``sigma`` only through the sky ring and the start, not on where a caller expected
    the star.

    Parameters
    ----------
    image : ndarray, shape (ny, nx) [adu]
        uint16, float32 or float64; NaN marks a bad pixel.
    peaks : ndarray of int, shape (n, 2)
        Peak pixels as (x, y).
    sigma : float
        First guess of the width [pixel]; sets the radius of the sky ring too.
    level, noise : float
        Sky, where a ring holds too few pixels, and its scatter [adu].
    max_shift : float, optional
        A centre farther than this from its peak pixel [pixel] is no fit; default ``max(2, 2 sigma)``.

    Returns
    -------
    ndarray, shape (n,), dtype STAR
        NaN, with ``converged`` false, where a quarter of the pixels is bad or outside, where the signal is
        not positive, and where the width runs away.

    References
    ----------
    Bernstein & Jarvis 2002, AJ 123, 583, section 3; Hirata & Seljak 2003, MNRAS 343, 459, appendix C.
    """
    stars = np.zeros(len(peaks), STAR)
    shift = max(2.0, 2.0 * sigma) if max_shift is None else max_shift
    columns = np.ascontiguousarray(np.asarray(peaks, np.int64).reshape(-1, 2).T)
    _measure(image, columns[0], columns[1], float(sigma), float(level), float(noise), float(shift), stars)
    return stars


def axes_of(
    mxx: NDArray[np.float64], mxy: NDArray[np.float64], myy: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Sigmas along major and minor axis [pixel] and position of the major axis [radian] of covariances."""
    mean, half = (mxx + myy) / 2.0, np.hypot((mxx - myy) / 2.0, mxy)
    return np.sqrt(mean + half), np.sqrt(mean - half), 0.5 * np.arctan2(2.0 * mxy, mxx - myy)


@numba.njit(cache=True, nogil=True)
def _fluxes(image: Any, xy: Any, shape: Any, inner: float, level: float, out: Any) -> None:
    sums = np.empty(8)
    ny, nx = image.shape
    for n in range(len(xy)):
        x, y = xy[n, 0], xy[n, 1]
        out[n, 0] = out[n, 1] = np.nan
        if -0.5 <= x < nx - 0.5 and -0.5 <= y < ny - 0.5:
            local = _ring_level(image, round(x), round(y), inner, level)
            if _weighted_sums(image, local, x, y, shape, sums):
                out[n, 0], out[n, 1] = 2.0 * sums[0], 2.0 * math.sqrt(sums[6])


def shape_fluxes(
    image: Image, xy: XY, shape: NDArray[np.float64], level: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fluxes of stars of one known shape at known places: linear in the pixels, so unbiased however faint.

    Parameters
    ----------
    image : ndarray, shape (ny, nx) [adu]
        uint16, float32 or float64; NaN marks a bad pixel.
    xy : ndarray, shape (n, 2) [pixel]
        Places.
    shape : ndarray, shape (3,) [pixel^2]
        Covariance (xx, xy, yy) of the stars.
    level : float
        Sky where a ring holds too few pixels [adu].

    Returns
    -------
    flux : ndarray, shape (n,) [adu]
        Total flux; NaN for a star off the frame, or with a quarter of its pixels bad.
    noise : ndarray, shape (n,)
        Its error by the sky, in units of the scatter of a pixel.
    """
    out = np.empty((len(xy), 2))
    shape = np.ascontiguousarray(shape, np.float64)
    inner = max(_SKY_INNER * float(np.sqrt(max(shape[0], shape[2]))), _LEAST_INNER)
    _fluxes(image, np.ascontiguousarray(xy, np.float64), shape, inner, float(level), out)
    return out[:, 0], out[:, 1]


def covariances(stars: NDArray[np.void]) -> NDArray[np.float64]:
    """Covariances (xx, xy, yy) of stars, shape (n, 3) [pixel^2]."""
    return np.column_stack([stars["mxx"], stars["mxy"], stars["myy"]])


def positions(stars: NDArray[np.void]) -> XY:
    """Places of stars, shape (n, 2), as (x, y) [pixel]."""
    return np.column_stack([stars["x"], stars["y"]])
