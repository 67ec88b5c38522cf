"""Squares of pixels added up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def rebinned(image: NDArray[Any], factor: int) -> NDArray[Any]:
    """Add up squares of ``factor`` x ``factor`` pixels; rows and columns that fill no square are left out.

    NaN where any of the pixels is: a sum without it would be too small.
    """
    ny, nx = (length // factor for length in image.shape)
    out = np.empty((ny, nx), image.dtype)
    _rebin(image, factor, out)
    return out


@numba.njit(cache=True, nogil=True)
def _rebin(image, factor, out):
    ny, nx = out.shape
    row = np.empty(nx)
    for j in range(ny):
        row[:] = 0.0
        for y in range(j * factor, (j + 1) * factor):
            for i in range(nx):
                for x in range(i * factor, (i + 1) * factor):
                    row[i] += image[y, x]
        for i in range(nx):
            out[j, i] = row[i]


def rebinned_places(marked: NDArray[np.int64], shape: tuple[int, int], factor: int) -> NDArray[np.int64]:
    """Flat indices after `rebinned` of pixels given by flat indices; -1 for those left out."""
    ny, nx = (length // factor for length in shape)
    row, column = (index // factor for index in np.divmod(marked, shape[1]))
    return np.asarray(np.where((row < ny) & (column < nx), row * nx + column, -1), np.int64)
