"""Frames without their hot pixels, as photometry takes them and as functions of the user's see them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from opticam_dask.errors import InputError
from opticam_dask.kernels.hot import any_near, repaired
from opticam_dask.kernels.sky import without
from opticam_dask.photometers.sky import has_kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from opticam_dask.types import XY, Image


def without_hot(
    image: Image, xy: XY, sight: float, hot: Any, estimator: Any, background: Any
) -> tuple[Image, Image]:
    """Image with hot pixels as NaN, and one for functions of the user's with them filled.

    A frame is copied only if that can change a number: a local annulus sees only what is near.

    Parameters
    ----------
    image : ndarray, shape (ny, nx) [adu]
        Frame.
    xy : ndarray, shape (n, 2) [pixel]
        Predicted positions.
    sight : float
        Distance from these within which pixels can bear on a source [pixel].
    hot : ndarray of int, or None
        Flat indices of hot pixels.
    estimator, background : callable or None
        Local background estimator, and two-dimensional background where there is none.

    Raises
    ------
    InputError
        If the hot pixels are not indices of this frame.
    """
    hot = _checked(hot, image)
    if hot.size == 0:
        return image, image
    of_user = background is not None if estimator is None else not has_kernel(estimator)
    local = estimator is not None and not of_user
    if local and not any_near(hot, image.shape[1], xy, sight):
        return image, image
    return without(image, hot), repaired(image, hot) if of_user else image


def _checked(hot: Any, image: Image) -> NDArray[np.int64]:
    """Flat indices of hot pixels; InputError if they are not indices of this frame."""
    hot = np.empty(0, np.int64) if hot is None else np.asarray(hot)
    if hot.size and (hot.ndim != 1 or hot.dtype.kind not in "iu" or hot.min() < 0 or hot.max() >= image.size):
        raise InputError(f"hot pixels are flat indices of a frame of shape {image.shape}")
    return np.asarray(hot, np.int64)
