"""Sky in elliptical annuli around sources."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

from opticam_dask.errors import InputError
from opticam_dask.kernels.clipping import ClipRule, clip_sorted, sort_rows, statistics_of_sorted
from opticam_dask.kernels.gaussian import quadratic_form
from opticam_dask.kernels.neighbours import (
    MASK_SCALE,
    NO_SOURCES,
    OrderedSources,
    covered,
    mask_form,
    neighbours_of,
)
from opticam_dask.kernels.stamps import Ellipse, stamp_batches

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from opticam_dask.kernels.neighbours import Neighbours
    from opticam_dask.kernels.stamps import Stamps
    from opticam_dask.types import XY, Image

R_IN, R_OUT = 5.0, 7.5
"""Default inner and outer scale of the annulus [PSF standard deviations]."""

MIN_SKY_PIXELS = 10
"""A sky from fewer pixels than this is no sky."""

_TIE = 1e-6  # pixels nearer to an ellipse than this may fall on either side by rounding


class SkyStatistics(NamedTuple):
    """Sigma-clipped statistics of the sky around each source, each of shape (n,).

    Parameters
    ----------
    mean, median, std, mad_std : ndarray [adu / pixel]
        NaN where fewer than `MIN_SKY_PIXELS` pixels are left.
    n_pixels : ndarray of int
        Pixels left after clipping.
    n_masked : ndarray of int
        Good pixels of the annulus that neighbours cover.
    n_good : ndarray of int
        The other good pixels of the annulus.
    """

    mean: NDArray[np.float64]
    median: NDArray[np.float64]
    std: NDArray[np.float64]
    mad_std: NDArray[np.float64]
    n_pixels: NDArray[np.int64]
    n_masked: NDArray[np.int64]
    n_good: NDArray[np.int64]


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
    sources: XY | OrderedSources | None = None,
) -> SkyStatistics:
    """Sigma-clipped statistics of the pixels whose centres lie in an elliptical annulus.

    Parameters
    ----------
    image : ndarray, shape (ny, nx), uint16, float32 or float64 [adu]
        NaN and infinite pixels are left out.
    xy : ndarray, shape (n, 2) [pixel]
        Centres of the annuli.
    ellipse : Ellipse
        PSF: ``r_in`` and ``r_out`` scale it.
    r_in, r_out : float
        Inner and outer scale.
    rule : ClipRule, optional
        Default: 3 sigma about the median, 10 iterations.
    sources : ndarray, shape (m, 2) [pixel], or OrderedSources, optional
        All sources, those at ``xy`` among them; what they cover is left out of the annuli of others.

    Returns
    -------
    SkyStatistics
        NaN where fewer than `MIN_SKY_PIXELS` pixels are left.

    Raises
    ------
    InputError
        If the scales do not increase from 0.
    """
    table = np.full((len(xy), 4), np.nan)
    count = np.zeros((len(xy), 3), dtype=np.int64)
    shape, form = (*ellipse, float(r_in), float(r_out)), mask_form(ellipse)
    for rows, stamps, near in annuli(image, xy, ellipse, (r_in, r_out), sources):
        values = np.empty((len(stamps.pixels), stamps.pixels[0].size))
        _collect(stamps.pixels, stamps.xy, stamps.corner, shape, *near, form, values, count[rows])
        sort_rows(values, count[rows, 2], image.dtype.kind in "iu")
        _statistics(values, rule or ClipRule(), table[rows], count[rows])
    return SkyStatistics(*table.T, *count.T)


def annuli(
    image: Image,
    xy: XY,
    ellipse: Ellipse,
    scales: tuple[float, float],
    sources: XY | OrderedSources | None,
) -> Iterator[tuple[slice, Stamps, Neighbours]]:
    """Cut-outs that hold the annuli, and the sources that may cover part of them.

    Parameters and errors are those of `annulus_statistics`, with ``r_in`` and ``r_out`` as ``scales``.
    """
    if not 0 <= scales[0] < scales[1] < math.inf:
        raise InputError(f"an annulus needs 0 <= r_in < r_out, not {scales[0]} and {scales[1]}")
    others = NO_SOURCES if sources is None else sources
    if not isinstance(others, OrderedSources):
        others = OrderedSources.of(others, ellipse)
    for rows, stamps in stamp_batches(image, xy, ellipse.half_extent(scales[1])):
        yield rows, stamps, neighbours_of(xy[rows], others, ellipse, scales[1] + MASK_SCALE)


@njit(cache=True, nogil=True)
def gather(pixels, xy, shape, others, form, values, places):
    """Copy the good pixels of an annulus, and their columns and rows if there is room for them.

    Returns how many there are, and how many more the ``others`` cover.
    """
    r_in, r_out = shape[3], shape[4]
    height, width = pixels.shape
    quadratic = quadratic_form(shape[0] ** 2, shape[1] ** 2, shape[2])
    n, masked = np.int64(0), 0
    for j in range(height):
        dy = j - xy[1]
        start, stop = _inside(dy, xy[0], width, shape, quadratic, r_out)
        hole, end = stop, stop
        if r_in > 0.0:
            hole, end = _inside(dy, xy[0], width, shape, quadratic, r_in)
        for first, last in ((start, min(hole, stop)), (max(end, start), stop)):
            if len(others) + len(places) == 0:
                n = _append(pixels[j, first : max(last, first)], values, n)
                continue
            for i in range(first, last):
                if math.isnan(pixels[j, i]):
                    continue
                if covered(i, j, others, form):
                    masked += 1
                    continue
                values[n] = pixels[j, i]
                if len(places) > 0:
                    places[n, 0], places[n, 1] = i, j
                n += 1
    return n, masked


@njit(cache=True, nogil=True)
def moved(xy, start, stop, corner):
    """Positions ``start`` to ``stop`` in coordinates of a cut-out with this corner."""
    out = np.empty((stop - start, 2))
    for i in range(stop - start):
        out[i, 0], out[i, 1] = xy[start + i, 0] - corner[0], xy[start + i, 1] - corner[1]
    return out


@njit(cache=True, nogil=True)
def _append(row, values, n):
    """Copy good pixels to ``values`` from ``n`` on, without a branch; return the index after the last."""
    for i in range(row.size):
        values[n] = row[i]
        n += row[i] == row[i]
    return n


@njit(cache=True, nogil=True)
def _inside(dy, x, width, shape, form, scale):
    """First column of a row inside the scaled ellipse, and the one after the last.

    A pixel as good as on the edge is told by the ellipse itself, so that rounding cannot move it.
    """
    middle = x - 0.5 * form[1] * dy / form[0]
    square = (0.5 * form[1] * dy / form[0]) ** 2 - (form[2] * dy * dy - scale * scale) / form[0]
    if square < -_TIE:
        return 0, 0
    half = math.sqrt(max(square, 0.0))
    start, stop = math.ceil(middle - half - _TIE), math.floor(middle + half + _TIE) + 1
    while start < stop and start < middle - half + _TIE and not _holds(start - x, dy, shape, scale):
        start += 1
    while start < stop and stop - 1 > middle + half - _TIE and not _holds(stop - 1 - x, dy, shape, scale):
        stop -= 1
    start, stop = max(start, 0), min(stop, width)
    return (start, stop) if start < stop else (0, 0)


@njit(cache=True, nogil=True)
def _holds(dx, dy, shape, scale):
    """Whether the scaled ellipse holds a place; its edge is outside."""
    cos, sin = math.cos(shape[2]), math.sin(shape[2])
    u, v = dx * cos + dy * sin, dy * cos - dx * sin
    return (u / (scale * shape[0])) ** 2 + (v / (scale * shape[1])) ** 2 < 1.0


@njit(cache=True, nogil=True)
def _collect(pixels, xy, corner, shape, first, around, form, values, count):
    """Copy the good pixels of each annulus into a row of ``values``; count the masked and the good ones."""
    nowhere = np.empty((0, 2))
    for k in range(pixels.shape[0]):
        others = moved(around, first[k], first[k + 1], corner[k])
        n, masked = gather(pixels[k], xy[k], shape, others, form, values[k], nowhere)
        for i in range(n, values.shape[1]):
            values[k, i] = math.nan
        count[k, 1], count[k, 2] = masked, n


@njit(cache=True, nogil=True)
def _statistics(values, rule, table, count):
    """Clip sorted rows; count the values left."""
    for k in range(len(values)):
        start, stop = clip_sorted(values[k], count[k, 2], rule)
        mean, median, std, mad_std, count[k, 0] = statistics_of_sorted(values[k], start, stop)
        if count[k, 0] >= MIN_SKY_PIXELS:
            table[k, 0], table[k, 1], table[k, 2], table[k, 3] = mean, median, std, mad_std
