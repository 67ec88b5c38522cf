"""Which other sources lie near enough to matter, and the pixels they cover."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from opticam_dask.kernels.stamps import Ellipse
    from opticam_dask.types import XY

MASK_SCALE = 4.0
"""Semi-axes of the ellipse that a neighbour covers in an annulus [PSF standard deviations].

Beyond it a Gaussian star has 3.4e-4 of its light, spread over about as many pixels as an annulus has.
"""

MESH_MASK_SCALE = 5.0
"""The same in a mesh, whose boxes are no larger than stars, and hold what every star leaks (3.7e-6)."""


class Neighbours(NamedTuple):
    """Neighbours of n places; those of place k are rows ``first[k]`` to ``first[k + 1]``.

    Parameters
    ----------
    first : ndarray of int64, shape (n + 1,)
        Where each place's neighbours begin.
    xy : ndarray, shape (m, 2) [pixel]
        The neighbours.
    """

    first: NDArray[np.int64]
    xy: XY


class OrderedSources(NamedTuple):
    """Sources of a frame in the order in which neighbours are looked for, those with NaN left out.

    Parameters
    ----------
    xy, scaled : ndarray, shape (m, 2)
        Positions [pixel], and in the axes of an ellipse, in units of them; sorted by the latter.
    """

    xy: XY
    scaled: NDArray[np.float64]

    @classmethod
    def of(cls, sources: XY, psf: Ellipse) -> OrderedSources:
        """Order sources by their places along the axes of the PSF."""
        known = np.asarray(sources, dtype=float)
        finite = np.isfinite(known).all(axis=1)
        known = known if finite.all() else known[finite]
        scaled = _scaled(known, psf)
        order = np.lexsort((scaled[:, 1], scaled[:, 0]))
        return cls(known[order], scaled[order])


NO_SOURCES = OrderedSources(np.empty((0, 2)), np.empty((0, 2)))


def neighbours_of(xy: XY, sources: XY | OrderedSources, psf: Ellipse, reach: float) -> Neighbours:
    """Find the sources near each place, all but the nearest, which is taken to be the place's own.

    Parameters
    ----------
    xy : ndarray, shape (n, 2) [pixel]
        Places.
    sources : ndarray, shape (m, 2) [pixel], or OrderedSources
        All sources, in any order; rows with NaN are left out. If ordered, then by the same ellipse.
    psf : Ellipse
        Ellipse in whose axes distances are measured.
    reach : float
        Distance within which a source counts [axes of the ellipse].

    Returns
    -------
    Neighbours
        In an order that depends on their positions alone.
    """
    ordered = sources if isinstance(sources, OrderedSources) else OrderedSources.of(sources, psf)
    return Neighbours(*_find(np.asarray(xy, dtype=float), tuple(psf), ordered.xy, ordered.scaled, reach))


def source_mask(
    shape: tuple[int, int], sources: XY, psf: Ellipse, scale: float = MESH_MASK_SCALE
) -> NDArray[np.bool_]:
    """Pixels whose centres lie on a source.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the frame.
    sources : ndarray, shape (m, 2) [pixel]
        Sources; rows with NaN are left out.
    psf : Ellipse
        Standard deviations of the PSF and the angle of its major axis.
    scale : float
        Semi-axes of a source [PSF standard deviations].

    Returns
    -------
    ndarray of bool, shape (ny, nx)
        True on the sources.
    """
    mask = np.zeros(shape, dtype=np.bool_)
    known = sources[np.isfinite(sources).all(axis=1)]
    half = np.array(psf.half_extent(scale))
    size = np.array([shape[1], shape[0]], dtype=float)
    low = np.clip(np.ceil(known - half), 0.0, size).astype(np.int64)
    high = np.clip(np.floor(known + half) + 1.0, 0.0, size).astype(np.int64)
    _paint(mask, known, low, high, mask_form(psf, scale))
    return mask


def _scaled(xy: XY, psf: Ellipse) -> NDArray[np.float64]:
    """Positions in the axes of the ellipse, in units of them."""
    cos, sin = math.cos(psf.orientation_rad), math.sin(psf.orientation_rad)
    u, v = xy[:, 0] * cos + xy[:, 1] * sin, xy[:, 1] * cos - xy[:, 0] * sin
    return np.column_stack([u / psf.semimajor, v / psf.semiminor])


@njit(cache=True, nogil=True)
def _find(xy, psf, sources, scaled, reach):
    """Where the neighbours of each place begin, and they themselves: first counted, then noted."""
    cos, sin = math.cos(psf[2]), math.sin(psf[2])
    first, found = np.zeros(len(xy) + 1, dtype=np.int64), np.empty((0, 2))
    for noted in range(2 if len(scaled) else 0):
        n = np.int64(0)
        for k in range(len(xy)):
            first[k] = n
            u, v = (xy[k, 0] * cos + xy[k, 1] * sin) / psf[0], (xy[k, 1] * cos - xy[k, 0] * sin) / psf[1]
            n = _note(u, v, sources, scaled, reach, found, n)
        first[len(xy)] = n
        if not noted:
            found = np.empty((n, 2))
    return first, found


@njit(cache=True, nogil=True)
def _note(u, v, sources, scaled, reach, found, n):
    """Note the neighbours of a place from row ``n`` on, as far as there is room; return the row after."""
    begin, end = 0, len(scaled)
    while begin < end:
        middle = (begin + end) // 2
        if scaled[middle, 0] < u - reach:
            begin = middle + 1
        else:
            end = middle
    nearest, least, end = -1, math.inf, begin
    while end < len(scaled) and scaled[end, 0] - u <= reach:
        distance = math.hypot(u - scaled[end, 0], v - scaled[end, 1])
        if distance < least:
            nearest, least = end, distance
        end += 1
    for i in range(begin, end):
        if i != nearest and math.hypot(u - scaled[i, 0], v - scaled[i, 1]) < reach:
            if n < len(found):
                found[n, 0], found[n, 1] = sources[i, 0], sources[i, 1]
            n += 1
    return n


def mask_form(psf: Ellipse, scale: float = MASK_SCALE) -> tuple[float, float, float]:
    """Factors of dx^2, dx dy and dy^2 whose sum is 1 where the ellipse of a mask ends [1 / pixel^2]."""
    cos, sin = math.cos(psf.orientation_rad), math.sin(psf.orientation_rad)
    along, across = (scale * psf.semimajor) ** -2, (scale * psf.semiminor) ** -2
    return (
        along * cos**2 + across * sin**2,
        2 * (along - across) * cos * sin,
        along * sin**2 + across * cos**2,
    )


@njit(cache=True, nogil=True)
def covered(x, y, xy, form):
    """Whether the pixel (x, y) lies in the mask of any of the sources ``xy``, shape (m, 2)."""
    for k in range(len(xy)):
        dx, dy = x - xy[k, 0], y - xy[k, 1]
        if form[0] * dx * dx + form[1] * dx * dy + form[2] * dy * dy < 1.0:
            return True
    return False


@njit(cache=True, nogil=True)
def _paint(mask, xy, low, high, form):
    for k in range(len(xy)):
        for j in range(low[k, 1], high[k, 1]):
            for i in range(low[k, 0], high[k, 0]):
                if covered(i, j, xy[k : k + 1], form):
                    mask[j, i] = True
