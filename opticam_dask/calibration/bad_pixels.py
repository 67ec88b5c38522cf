"""Bad pixels: from master frames, and as the user gives them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from opticam_dask.errors import FrameReadError, InputError
from opticam_dask.io.readers import read_image

Mask: TypeAlias = NDArray[np.bool_]
BadPixels: TypeAlias = Mask | str | os.PathLike[str]
"""A boolean array, true where bad, or a FITS file that is not 0 there."""

HOT_SIGMAS = 10.0
"""A hot pixel stands out from the others by this much in a single dark frame."""
DEAD_BELOW, DEAD_ABOVE = 0.5, 1.5
"""Response, in units of that of the pixels around, beyond which a pixel is dead (or glows)."""
NO_LIGHT = 0.05
"""Response, in units of the mean, below which a pixel sees nothing, shadow or not."""
_BOX = 16  # pixels "around" are the box of so many rows and columns that a pixel lies in
_MAD_TO_STD = 1.4826


def hot_pixels(dark: NDArray[np.float32], single: NDArray[np.float32]) -> Mask:
    """Pixels whose dark level stands far out.

    Parameters
    ----------
    dark : ndarray
        Dark rate, or level.
    single : ndarray
        Variance of it in a single frame; what is called hot does not depend on the number of frames.
    """
    usual = float(np.nanmedian(dark))
    scatter = _MAD_TO_STD * float(np.nanmedian(np.abs(dark - usual)))
    noise = float(np.sqrt(scatter**2 + np.nanmedian(single)))
    return np.asarray(dark - usual > HOT_SIGMAS * noise)


def dead_pixels(flat: NDArray[np.float32]) -> Mask:
    """Pixels whose response is far from that of the pixels around, or nearly nothing."""
    ratio = flat / _surroundings(flat)
    mean = float(np.nanmean(flat, dtype=np.float64))
    good = (ratio >= DEAD_BELOW) & (ratio <= DEAD_ABOVE) & (flat > NO_LIGHT * mean)
    return np.asarray(~good)


def _surroundings(flat: NDArray[np.float32]) -> NDArray[np.float32]:
    """Median of the box that each pixel lies in."""
    ny, nx = flat.shape
    rows, columns = (-(-length // _BOX) for length in (ny, nx))
    padded = np.full((rows * _BOX, columns * _BOX), np.nan, np.float32)
    padded[:ny, :nx] = np.where(np.isfinite(flat), flat, np.nan)
    boxes = np.sort(padded.reshape(rows, _BOX, columns, _BOX).swapaxes(1, 2).reshape(rows * columns, -1))
    count = np.isfinite(boxes).sum(axis=1)
    median = boxes[np.arange(len(boxes)), np.maximum(count - 1, 0) // 2].reshape(rows, columns)
    return np.asarray(median.repeat(_BOX, 0).repeat(_BOX, 1)[:ny, :nx])


def given_mask(
    given: BadPixels | Mapping[str, BadPixels] | None, camera: str, shape: tuple[int, int]
) -> Mask:
    """Bad pixels of a camera as the user gives them.

    Parameters
    ----------
    given : ndarray of bool, path, mapping of these by camera or arm, or None
        None, and a mapping without the camera, mean none.
    camera : str
        ``'<arm>:<filter>'``.
    shape : tuple of int
        Rows and columns of the camera's raw frames.

    Raises
    ------
    InputError
        If the mask has another shape, or the file cannot be read.
    """
    if isinstance(given, Mapping):
        given = given.get(camera, given.get(camera.partition(":")[0]))
    if given is None:
        return np.zeros(shape, bool)
    values: Any = given
    if isinstance(given, str | os.PathLike):
        values = _read_mask(Path(given))
    values = np.asarray(values)
    if values.shape != shape:
        raise InputError(f"{camera}: bad_pixels has the shape {values.shape}, the frames {shape}")
    if values.dtype != bool and not isinstance(given, str | os.PathLike):
        raise InputError(f"{camera}: bad_pixels must be a boolean array, not {values.dtype}")
    return np.asarray(values != 0)


def _read_mask(path: Path) -> NDArray[Any]:
    for hdu in (0, 1):
        try:
            return read_image(path, hdu)
        except FrameReadError as error:
            last = error
    raise InputError(f"{path}: no mask of bad pixels ({last.detail})") from last
