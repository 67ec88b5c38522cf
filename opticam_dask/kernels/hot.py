"""Hot pixels of one frame: whether they matter, and what stands in for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from opticam_dask.types import XY, Image

_SURROUND = 2  # the 5 x 5 pixels around a hot one stand in for it


def any_near(hot: NDArray[np.int64], width: int, xy: XY, reach: float) -> bool:
    """Whether a pixel lies within a square of half width ``reach`` around some place.

    Parameters
    ----------
    hot : ndarray of int64
        Flat indices of pixels.
    width : int
        Columns of the frame.
    xy : ndarray, shape (n, 2) [pixel]
        Places; NaN is near nothing.
    reach : float
        Half width of the square [pixel].
    """
    return bool(_any_near(hot, width, xy, reach))


@numba.njit(cache=True, nogil=True)
def _any_near(hot: Any, width: int, xy: Any, reach: float) -> bool:
    for index in hot:
        y, x = index // width, index % width
        for k in range(len(xy)):
            if abs(x - xy[k, 0]) <= reach and abs(y - xy[k, 1]) <= reach:
                return True
    return False


def repaired(image: Image, hot: NDArray[np.int64]) -> Image:
    """Copy of an image with each hot pixel replaced by the median of the good pixels around it.

    Parameters
    ----------
    image : ndarray, shape (ny, nx) [adu]
        uint16, float32 or float64; NaN marks a bad pixel.
    hot : ndarray of int64
        Flat indices of pixels.

    Returns
    -------
    ndarray
        Of the image's type, whole numbers for integers; a hot pixel with no good pixel around stays as it
        is. The image itself if nothing is hot.
    """
    if hot.size == 0:
        return image
    bad = np.zeros(image.shape, dtype=bool)
    bad.ravel()[hot] = True
    copy = image.copy()
    for y, x in zip(*np.divmod(hot, image.shape[1]), strict=True):
        box = np.s_[max(0, y - _SURROUND) : y + _SURROUND + 1, max(0, x - _SURROUND) : x + _SURROUND + 1]
        values = image[box][~bad[box]]
        values = values[np.isfinite(values)]
        if values.size:
            copy[y, x] = np.median(values)
    return copy
