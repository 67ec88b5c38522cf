"""Tilted planes through the sky around sources."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

from opticam_dask.kernels.annulus import MIN_SKY_PIXELS, R_IN, R_OUT, annuli, gather, moved
from opticam_dask.kernels.clipping import ClipRule, clip_sorted
from opticam_dask.kernels.neighbours import mask_form

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from opticam_dask.kernels.neighbours import OrderedSources
    from opticam_dask.kernels.stamps import Ellipse
    from opticam_dask.types import XY, Image

PLANE_ROUNDS = 5
"""Most rounds of clipping and fitting; the pixels kept stay the same from the third or so."""

_FLAT = 1e-9  # least squared sine between the slopes' directions for which pixels span a plane


class SkyPlanes(NamedTuple):
    """Planes fitted to the sky around each source, each of shape (n,).

    Parameters
    ----------
    level, scatter : ndarray [adu / pixel]
        Plane at the source, and standard deviation of the residuals left; NaN where fewer than
        `MIN_SKY_PIXELS` pixels are left, or they do not span a plane.
    leverage : ndarray
        Variance of the level over that of a pixel, for pixels chosen beforehand.
    n_pixels, n_masked, n_good : ndarray of int
        Pixels left after clipping, those that neighbours cover, and the others that are good.
    """

    level: NDArray[np.float64]
    scatter: NDArray[np.float64]
    leverage: NDArray[np.float64]
    n_pixels: NDArray[np.int64]
    n_masked: NDArray[np.int64]
    n_good: NDArray[np.int64]


def annulus_planes(
    image: Image,
    xy: XY,
    ellipse: Ellipse,
    *,
    r_in: float = R_IN,
    r_out: float = R_OUT,
    rule: ClipRule | None = None,
    sources: XY | OrderedSources | None = None,
) -> SkyPlanes:
    """Plane through the pixels of the annulus around each source, by least squares.

    Clipping and fitting take turns: the values are clipped, a plane is fitted to what is left, the
    residuals of all pixels are clipped, and so on until the same pixels are left, or `PLANE_ROUNDS` times.
    Parameters and errors are those of `kernels.annulus.annulus_statistics`.

    Returns
    -------
    SkyPlanes
        Planes at the sources.
    """
    table = np.full((len(xy), 3), np.nan)
    count = np.zeros((len(xy), 3), dtype=np.int64)
    shape = (*ellipse, float(r_in), float(r_out))
    for rows, stamps, near in annuli(image, xy, ellipse, (r_in, r_out), sources):
        _fit_all(
            stamps.pixels, stamps.xy, stamps.corner, shape, *near, mask_form(ellipse),
            rule or ClipRule(), table[rows], count[rows],
        )  # fmt: skip
    return SkyPlanes(*table.T, *count.T)


@njit(cache=True, nogil=True)
def _fit_all(pixels, xy, corner, shape, first, around, form, rule, table, count):
    values, places = np.empty(pixels[0].size), np.empty((pixels[0].size, 2))
    for k in range(pixels.shape[0]):
        others = moved(around, first[k], first[k + 1], corner[k])
        n, masked = gather(pixels[k], xy[k], shape, others, form, values, places)
        level, scatter, leverage, left = _fit_clipped(values[:n], places[:n] - xy[k], rule)
        table[k, 0], table[k, 1], table[k, 2] = level, scatter, leverage
        count[k, 0], count[k, 1], count[k, 2] = left, masked, n


@njit(cache=True, nogil=True)
def _fit_clipped(values, offsets, rule):
    """Level, scatter, leverage and number of pixels left of the plane around one source."""
    residuals, left = values.copy(), 0
    level, scatter, leverage = np.nan, np.nan, np.nan
    kept, before = np.zeros(len(values), dtype=np.bool_), np.zeros(len(values), dtype=np.bool_)
    for _ in range(PLANE_ROUNDS):
        left = _keep(residuals, rule, kept)
        if left < MIN_SKY_PIXELS:
            return np.nan, np.nan, np.nan, left
        if (kept == before).all():
            break
        level, _, _, leverage = fit_plane(values, offsets, kept, residuals)
        if math.isnan(level):
            return np.nan, np.nan, np.nan, left
        scatter = residuals[kept].std()
        before[:] = kept
    return level, scatter, leverage, before.sum()


@njit(cache=True, nogil=True)
def _keep(residuals, rule, kept):
    """Mark the pixels that survive clipping; return how many."""
    ordered = np.sort(residuals)
    start, stop = clip_sorted(ordered, len(ordered), rule)
    if stop <= start:
        return 0
    kept[:] = (residuals >= ordered[start]) & (residuals <= ordered[stop - 1])
    return kept.sum()


@njit(cache=True, nogil=True)
def fit_plane(values, offsets, kept, residuals):
    """Least-squares plane through the kept values at ``offsets``, shape (n, 2); fills in all ``residuals``.

    Returns the plane at the origin, its slopes, and the variance at the origin over that of a value; NaN
    where the kept values do not span a plane.
    """
    x, y, z = offsets[kept, 0], offsets[kept, 1], values[kept]
    x0, y0, z0 = x.mean(), y.mean(), z.mean()
    x, y, z = x - x0, y - y0, z - z0
    xx, xy, yy, xz, yz = (x * x).sum(), (x * y).sum(), (y * y).sum(), (x * z).sum(), (y * z).sum()
    determinant = xx * yy - xy * xy
    if not determinant > _FLAT * xx * yy:
        return np.nan, np.nan, np.nan, np.nan
    slope_x, slope_y = (xz * yy - yz * xy) / determinant, (yz * xx - xz * xy) / determinant
    residuals[:] = values - z0 - slope_x * (offsets[:, 0] - x0) - slope_y * (offsets[:, 1] - y0)
    leverage = 1.0 / len(z) + (yy * x0 * x0 - 2.0 * xy * x0 * y0 + xx * y0 * y0) / determinant
    return z0 - slope_x * x0 - slope_y * y0, slope_x, slope_y, leverage
