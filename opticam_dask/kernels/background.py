"""Two-dimensional background of a frame on a mesh of boxes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numba import njit

from opticam_dask.errors import InputError
from opticam_dask.kernels.clipping import ClipRule, clip_sorted, mean_and_std, median_of_sorted, sort_rows
from opticam_dask.kernels.mesh_grid import NO_PLANE, BackgroundMesh, filled, median_filter
from opticam_dask.kernels.plane import fit_plane

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from opticam_dask.types import Image

_NATIVE = (np.dtype(np.uint16), np.dtype(np.float32), np.dtype(np.float64))
_LEAST_BOXES = 4  # for a plane that is not just the boxes themselves
SKEWED = 0.3  # (mean - median) / std from which a box is too crowded for the mode


def as_pixels(image: Image) -> Image:
    """Image in a type the kernels take, copied only if it must be.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Integers or floats, of either byte order.

    Returns
    -------
    ndarray
        uint16, float32 and float64 as they are; smaller integers as float32; other types as float64.

    Raises
    ------
    InputError
        If it is not a two-dimensional array of numbers.
    """
    image = np.asarray(image)
    if image.ndim != 2 or image.dtype.kind not in "iufb":
        raise InputError(f"a frame must be a 2-D array of numbers, not {image.dtype} of shape {image.shape}")
    if image.dtype in _NATIVE and image.dtype.isnative:
        return image
    native = image.dtype.newbyteorder("=")
    if native in _NATIVE:
        return image.astype(native)
    return image.astype(np.float32 if image.dtype.itemsize <= 2 else np.float64)


_BOX_PER_SIGMA = 6.0  # 2.5 FWHM


def default_box_size(width: int, sigma: float = 0.0) -> int:
    """Box size for a frame of this width whose stars have this sigma [pixel].

    1/32 of the width, but 8 at least, and at least 2.5 full widths of a star: in smaller boxes the star
    itself is taken for background, and loses up to a fifth of its flux at 1 full width.
    """
    return max(width // 32, 8, math.ceil(_BOX_PER_SIGMA * sigma))


def background_mesh(
    image: Image,
    box_size: int | tuple[int, int],
    *,
    rule: ClipRule | None = None,
    filter_size: int = 3,
    exclude_percentile: float = 10.0,
    mask: NDArray[np.bool_] | None = None,
    estimator: Literal["mode", "mean"] = "mode",
    detrend: bool = False,
) -> BackgroundMesh:
    """Background of a frame as `photutils.background.Background2D` defines it.

    Each box gives the mode 2.5 median - 1.5 mean of its sigma-clipped pixels, or the median where they are
    skewed, or on request their mean, and their standard deviation. Boxes with too many pixels lost (those
    cut by the frame's edge among them) are filled from their neighbours by inverse distance, and the mesh
    is median filtered.

    Parameters
    ----------
    image : ndarray, shape (ny, nx), uint16, float32 or float64 [adu]
        NaN and infinite pixels are left out.
    box_size : int or tuple of int
        Rows and columns of a box [pixel], cut to the frame.
    rule : ClipRule, optional
        Default: 3 sigma about the median, 10 iterations.
    filter_size : int
        Side of the median filter [boxes]; odd.
    exclude_percentile : float
        Most pixels a box may lose [percent].
    mask : ndarray of bool, shape (ny, nx), optional
        True on pixels to leave out.
    estimator : {"mode", "mean"}
        Level of a box. The mode bears unseen stars; where they are masked the mean is less noisy, and it
        is not biased by the skewness of a Poisson sky, as the mode is by -0.4 / gain [adu].
    detrend : bool
        Fit a plane to the boxes, each at the centre of its good pixels, and fill, filter and interpolate
        what is above it. Without it a gradient is flattened by up to a box's rise at the edges of the frame
        and in boxes partly masked.

    Returns
    -------
    BackgroundMesh
        All NaN if no box has enough good pixels.

    Raises
    ------
    InputError
        If a parameter is out of its range.
    """
    rows, columns = (box_size, box_size) if isinstance(box_size, int | np.integer) else box_size
    if rows < 1 or columns < 1 or filter_size < 1 or filter_size % 2 == 0:
        raise InputError(f"background: box_size {box_size} must be positive, filter_size {filter_size} odd")
    if not 0 <= exclude_percentile <= 100:
        raise InputError(f"background: exclude_percentile {exclude_percentile} is not between 0 and 100")
    box = (min(int(rows), image.shape[0]), min(int(columns), image.shape[1]))
    if estimator not in ("mode", "mean"):
        raise InputError(f"background: estimator must be 'mode' or 'mean', not {estimator!r}")
    least = 1.0 - exclude_percentile / 100.0
    raw = _raw_mesh(image, mask, box, rule or ClipRule(), least, estimator == "mode")
    level, plane = _detrended(raw) if detrend else (raw.level, NO_PLANE)
    return BackgroundMesh(
        median_filter(filled(level), filter_size // 2),
        median_filter(filled(raw.rms), filter_size // 2),
        box,
        (image.shape[0], image.shape[1]),
        raw.n_pixels,
        filter_size,
        plane,
    )


class _RawMesh(NamedTuple):
    """Boxes as they come: level, scatter, pixels left, and the mean place (x, y) of the good pixels."""

    level: NDArray[np.float64]
    rms: NDArray[np.float64]
    n_pixels: NDArray[np.int64]
    centre: NDArray[np.float64]


def _detrended(raw: _RawMesh) -> tuple[NDArray[np.float64], tuple[float, float, float]]:
    """Levels above the plane through them, and the plane; as they are if the boxes do not span one."""
    levels, residuals = raw.level.ravel(), raw.level.ravel().copy()
    known = np.isfinite(levels)
    if known.sum() < _LEAST_BOXES:
        return raw.level, NO_PLANE
    at_origin, slope_x, slope_y, _ = fit_plane(levels, raw.centre.reshape(-1, 2), known, residuals)
    if math.isnan(at_origin):
        return raw.level, NO_PLANE
    return residuals.reshape(raw.level.shape), (at_origin, slope_x, slope_y)


def _raw_mesh(
    image: Image,
    mask: NDArray[np.bool_] | None,
    box: tuple[int, int],
    rule: ClipRule,
    least: float,
    mode: bool,
) -> _RawMesh:
    shape = (-(-image.shape[0] // box[0]), -(-image.shape[1] // box[1]))
    level, rms = np.full(shape, np.nan), np.full(shape, np.nan)
    n_pixels, centre = np.zeros(shape, dtype=np.int64), np.zeros((*shape, 2))
    whole = image.dtype.kind in "iu"
    nothing = np.zeros((0, 0), dtype=np.bool_)
    for j in range(shape[0]):
        values = np.full((shape[1], box[0] * box[1]), np.nan, dtype=np.float64 if whole else image.dtype)
        strip = slice(j * box[0], (j + 1) * box[0])
        masked = nothing if mask is None else mask[strip]
        _collect(image[strip], masked, box[1], values, n_pixels[j], centre[j])
        centre[j, :, 1] += strip.start
        sort_rows(values, n_pixels[j], whole)
        _row_statistics(values, n_pixels[j], rule, least * box[0] * box[1], mode, level[j], rms[j])
    return _RawMesh(level, rms, n_pixels, centre)


@njit(cache=True, nogil=True)
def _collect(strip, mask, width, values, count, centre):
    """Copy the good pixels of each box of a strip into a row of ``values``; count and locate them."""
    for j in range(strip.shape[0]):
        for k in range(len(count)):
            for i in range(k * width, min((k + 1) * width, strip.shape[1])):
                if math.isfinite(strip[j, i]) and not (mask.size > 0 and mask[j, i]):
                    values[k, count[k]] = strip[j, i]
                    count[k] += 1
                    centre[k, 0] += i
                    centre[k, 1] += j
    for k in range(len(count)):
        centre[k] /= max(count[k], 1)


@njit(cache=True, nogil=True)
def _row_statistics(values, count, rule, least, mode, level, rms):
    """Statistics of the boxes of a strip; ``count`` becomes the number of pixels left, 0 if too few."""
    for k in range(len(count)):
        start, stop = clip_sorted(values[k], count[k], rule)
        count[k] = 0
        if stop - start > least:
            if mode:
                level[k], rms[k] = _mode_and_std(values[k], start, stop)
            else:
                level[k], rms[k] = mean_and_std(values[k], start, stop)
            count[k] = stop - start


@njit(cache=True, nogil=True)
def _mode_and_std(values, start, stop):
    mean, std = mean_and_std(values, start, stop)
    median = median_of_sorted(values, start, stop)
    if std == 0.0:
        return mean, std
    if abs(mean - median) / std >= SKEWED:
        return median, std
    return 2.5 * median - 1.5 * mean, std
