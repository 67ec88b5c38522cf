"""Marked pixels (saturated, struck by a cosmic ray, bad) near sources."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from opticam_dask.kernels.stamps import Ellipse
    from opticam_dask.types import XY

_GROWTH = 0.5  # a pixel counts if its centre is within half a pixel of the ellipse: part of it is inside


def marked_near(
    marked: NDArray[np.int64], marks: NDArray[np.int32], shape: tuple[int, ...], xy: XY, ellipse: Ellipse
) -> NDArray[np.int64]:
    """Join the flags of the marked pixels around each source.

    Parameters
    ----------
    marked, marks : ndarray of int, shape (m,)
        Flat indices of marked pixels and the bits of each.
    shape : tuple of int
        Rows and columns of the frame.
    xy : ndarray, shape (n, 2) [pixel]
        Sources.
    ellipse : Ellipse
        Ellipse around a source, the same for all; it is grown by half a pixel.

    Returns
    -------
    ndarray of int64, shape (n,)
        Bits of all marked pixels with centres in the ellipse; 0 for none, and for a source at NaN.
    """
    flags = np.zeros(len(xy), dtype=np.int64)
    if len(marked) and len(xy):
        axes = ellipse._replace(semimajor=ellipse.semimajor + _GROWTH, semiminor=ellipse.semiminor + _GROWTH)
        terms = (np.cos(axes.orientation_rad), np.sin(axes.orientation_rad), axes.semimajor, axes.semiminor)
        _join(marked, marks, shape[1], np.asarray(xy, dtype=float), terms, axes.half_extent(1.0)[1], flags)
    return flags


@njit(cache=True, nogil=True)
def _join(marked, marks, width, xy, terms, half_height, flags):
    cos, sin, a, b = terms
    for m in range(marked.size):
        row, column = marked[m] // width, marked[m] % width
        for k in range(xy.shape[0]):
            dy = row - xy[k, 1]
            if abs(dy) <= half_height:
                dx = column - xy[k, 0]
                u, v = (dx * cos + dy * sin) / a, (dy * cos - dx * sin) / b
                if u * u + v * v <= 1.0:
                    flags[k] |= marks[m]
