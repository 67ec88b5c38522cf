"""Sky in elliptical annuli around sources."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

from opticam_dask.errors import InputError
from opticam_dask.kernels.clipping import ClipRule, clip_sorted, sort_rows, statistics_of_sorted
from opticam_dask.kernels.stamps import Ellipse, stamp_batches

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from opticam_dask.types import XY, Image

R_IN, R_OUT = 5.0, 7.5
"""Default inner and outer scale of the annulus [PSF standard deviations]."""

MIN_SKY_PIXELS = 10
"""A sky from fewer pixels than this is no sky."""


class SkyStatistics(NamedTuple):
    """Sigma-clipped statistics of the sky around each source, each of shape (n,).

    Parameters
    ----------
    mean, median, std, mad_std : ndarray [adu / pixel]
        NaN where fewer than `MIN_SKY_PIXELS` pixels are left.
    n_pixels : ndarray of int
        Pixels left after clipping.
    """

    mean: NDArray[np.float64]
    median: NDArray[np.float64]
    std: NDArray[np.float64]
    mad_std: NDArray[np.float64]
    n_pixels: NDArray[np.int64]


def annulus_area(ellipse: Ellipse, r_in: float = R_IN, r_out: float = R_OUT) -> float:
    """Area of the annulus [pixel]."""
    return math.pi * ellipse.semimajor * ellipse.semiminor * (r_out**2 - r_in**2)


def annulus_statistics(
    image: Image,
    xy: XY,
    ellipse: Ellipse,
    *,
    r_in: float = R_IN,
    r_out: float = R_OUT,
    rule: ClipRule | None = None,
) -> SkyStatistics:
    """Sigma-clipped statistics of the pixels whose centres lie in an elliptical annulus.

    Parameters
    ----------
    image : ndarray, shape (ny, nx), uint16, float32 or float64 [adu]
        NaN and infinite pixels are left out.
    xy : ndarray, shape (n, 2) [pixel]
        Centres of the annuli.
    ellipse : Ellipse
        Ellipse that ``r_in`` and ``r_out`` scale.
    r_in, r_out : float
        Inner and outer scale.
    rule : ClipRule, optional
        Default: 3 sigma about the median, 10 iterations.

    Returns
    -------
    SkyStatistics
        NaN where fewer than `MIN_SKY_PIXELS` pixels are left.

    Raises
    ------
    InputError
        If the scales do not increase from 0.
    """
    if not 0 <= r_in < r_out < math.inf:
        raise InputError(f"an annulus needs 0 <= r_in < r_out, not {r_in} and {r_out}")
    table = np.full((len(xy), 4), np.nan)
    count = np.zeros(len(xy), dtype=np.int64)
    whole = image.dtype.kind in "iu"
    for rows, stamps in stamp_batches(image, xy, ellipse.half_extent(r_out)):
        values = np.full((len(stamps.pixels), stamps.pixels[0].size), np.nan)
        shape = (ellipse.semimajor, ellipse.semiminor, ellipse.orientation_rad, r_in, r_out)
        _collect(stamps.pixels, stamps.xy, shape, values, count[rows])
        sort_rows(values, count[rows], whole)
        _statistics(values, rule or ClipRule(), table[rows], count[rows])
    return SkyStatistics(table[:, 0], table[:, 1], table[:, 2], table[:, 3], count)


@njit(cache=True, nogil=True)
def _collect(pixels, xy, shape, values, count):
    """Copy the good pixels of each annulus into a row of ``values``; count them."""
    a, b, theta, r_in, r_out = shape
    cos, sin = math.cos(theta), math.sin(theta)
    for k in range(pixels.shape[0]):
        n = 0
        for j in range(pixels.shape[1]):
            for i in range(pixels.shape[2]):
                dx, dy = i - xy[k, 0], j - xy[k, 1]
                u, v = dx * cos + dy * sin, dy * cos - dx * sin
                inside = (u / (r_out * a)) ** 2 + (v / (r_out * b)) ** 2 < 1.0
                in_hole = r_in > 0.0 and (u / (r_in * a)) ** 2 + (v / (r_in * b)) ** 2 < 1.0
                if inside and not in_hole and not math.isnan(pixels[k, j, i]):
                    values[k, n] = pixels[k, j, i]
                    n += 1
        count[k] = n


@njit(cache=True, nogil=True)
def _statistics(values, rule, table, count):
    """Clip sorted rows; ``count`` becomes the number of values left."""
    for k in range(len(values)):
        start, stop = clip_sorted(values[k], count[k], rule)
        mean, median, std, mad_std, count[k] = statistics_of_sorted(values[k], start, stop)
        if count[k] >= MIN_SKY_PIXELS:
            table[k, 0], table[k, 1], table[k, 2], table[k, 3] = mean, median, std, mad_std
