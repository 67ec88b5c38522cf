"""Hot pixels of one frame: whether they matter, and what stands in for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba
import numpy as np

from opticam_dask.kernels.sky import without

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
    """Copy of an image with each hot pixel replaced by the (lower) median of the good pixels around it.

    Parameters
    ----------
    image : ndarray, shape (ny, nx) [adu]
        uint16, float32 or float64; NaN marks a bad pixel.
    hot : ndarray of int64
        Flat indices of pixels.

    Returns
    -------
    ndarray
        Of the image's type; a hot pixel with no good pixel around stays as it is. The image itself if
        nothing is hot.
    """
    if hot.size == 0:
        return image
    y, x = np.divmod(hot, image.shape[1])
    around = np.arange(-_SURROUND, _SURROUND + 1)
    good = np.pad(without(image, hot).astype(np.float64), _SURROUND, constant_values=np.nan)
    good[~np.isfinite(good)] = np.nan
    rows, columns = np.broadcast_arrays(around[:, None], around[None, :])
    boxes = np.sort(good[y[:, None] + rows.ravel() + _SURROUND, x[:, None] + columns.ravel() + _SURROUND])
    count = np.isfinite(boxes).sum(axis=1)
    copy, some = image.copy(), count > 0
    # sorted, NaN comes last: the lower of the middle two is a value that a pixel has
    median = boxes[np.arange(len(boxes)), np.maximum(count - 1, 0) // 2]
    copy.ravel()[hot[some]] = median[some].astype(image.dtype)
    return copy
