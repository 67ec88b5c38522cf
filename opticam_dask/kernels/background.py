"""Two-dimensional background of a frame on a mesh of boxes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from opticam_dask.errors import InputError
from opticam_dask.kernels.clipping import ClipRule, clip_sorted, mean_and_std, median_of_sorted, sort_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from opticam_dask.types import XY, Image

_NATIVE = (np.dtype(np.uint16), np.dtype(np.float32), np.dtype(np.float64))
_NEIGHBOURS = 10  # good boxes from which an empty one is filled
_SKEWED = 0.3  # (mean - median) / std from which a box is too crowded for the mode


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


@dataclass(frozen=True, eq=False)
class BackgroundMesh:
    """Background and its scatter on a mesh.

    Parameters
    ----------
    level, rms : ndarray, shape (my, mx) [adu / pixel]
        Level and scatter in each box; NaN everywhere if no box had enough good pixels.
    box_size : tuple of int
        Rows and columns of a box [pixel].
    shape : tuple of int
        Rows and columns of the frame.
    """

    level: NDArray[np.float64]
    rms: NDArray[np.float64]
    box_size: tuple[int, int]
    shape: tuple[int, int]

    def at(self, xy: XY) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Level and scatter at positions.

        Parameters
        ----------
        xy : ndarray, shape (n, 2) [pixel]
            Positions; NaN gives NaN.

        Returns
        -------
        level, rms : ndarray, shape (n,) [adu / pixel]
            Cubic spline through the mesh, kept within the mesh's own range.
        """
        where = np.array([(xy[:, 1] + 0.5) / self.box_size[0], (xy[:, 0] + 0.5) / self.box_size[1]]) - 0.5
        return _spline(self.level, self._level_spline, where), _spline(self.rms, self._rms_spline, where)

    def image(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Level and scatter of every pixel, each of the frame's shape [adu / pixel]."""
        y, x = np.indices(self.shape)
        level, rms = self.at(np.column_stack([x.ravel(), y.ravel()]).astype(float))
        return level.reshape(self.shape), rms.reshape(self.shape)

    @cached_property
    def _level_spline(self) -> NDArray[np.float64]:
        return _coefficients(self.level)

    @cached_property
    def _rms_spline(self) -> NDArray[np.float64]:
        return _coefficients(self.rms)


def background_mesh(
    image: Image,
    box_size: int | tuple[int, int],
    *,
    rule: ClipRule | None = None,
    filter_size: int = 3,
    exclude_percentile: float = 10.0,
) -> BackgroundMesh:
    """Background of a frame as `photutils.background.Background2D` defines it.

    Each box gives the mode 2.5 median - 1.5 mean of its sigma-clipped pixels, or the median where they are
    skewed, and their standard deviation. Boxes with too many pixels lost (those cut by the frame's edge
    among them) are filled from their neighbours by inverse distance, and the mesh is median filtered.

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
    level, rms = _raw_mesh(image, box, rule or ClipRule(), 1.0 - exclude_percentile / 100.0)
    return BackgroundMesh(
        _median_filter(_filled(level), filter_size // 2),
        _median_filter(_filled(rms), filter_size // 2),
        box,
        (image.shape[0], image.shape[1]),
    )


def _raw_mesh(
    image: Image, box: tuple[int, int], rule: ClipRule, least: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    shape = (-(-image.shape[0] // box[0]), -(-image.shape[1] // box[1]))
    level, rms = np.full(shape, np.nan), np.full(shape, np.nan)
    whole = image.dtype.kind in "iu"
    count = np.zeros(shape[1], dtype=np.int64)
    for j in range(shape[0]):
        values = np.full((shape[1], box[0] * box[1]), np.nan, dtype=np.float64 if whole else image.dtype)
        _collect(image[j * box[0] : (j + 1) * box[0]], box[1], values, count)
        sort_rows(values, count, whole)
        _row_statistics(values, count, rule, least * box[0] * box[1], level[j], rms[j])
    return level, rms


@njit(cache=True, nogil=True)
def _collect(strip, width, values, count):
    """Copy the good pixels of each box of a strip of the frame into a row of ``values``; count them."""
    count[:] = 0
    for j in range(strip.shape[0]):
        for i in range(strip.shape[1]):
            k = i // width
            if math.isfinite(strip[j, i]):
                values[k, count[k]] = strip[j, i]
                count[k] += 1


@njit(cache=True, nogil=True)
def _row_statistics(values, count, rule, least, level, rms):
    for k in range(len(count)):
        start, stop = clip_sorted(values[k], count[k], rule)
        if stop - start > least:
            level[k], rms[k] = _mode_and_std(values[k], start, stop)


@njit(cache=True, nogil=True)
def _mode_and_std(values, start, stop):
    mean, std = mean_and_std(values, start, stop)
    median = median_of_sorted(values, start, stop)
    if std == 0.0:
        return mean, std
    if abs(mean - median) / std >= _SKEWED:
        return median, std
    return 2.5 * median - 1.5 * mean, std


def _filled(mesh: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mesh whose NaN boxes are means of the nearest good ones, weighted by inverse distance."""
    empty = np.isnan(mesh)
    if empty.all() or not empty.any():
        return mesh
    from scipy.spatial import cKDTree

    good = np.argwhere(~empty)
    distance, index = cKDTree(good, leafsize=_NEIGHBOURS).query(np.argwhere(empty), k=_NEIGHBOURS)
    weight = 1.0 / distance  # neighbours that do not exist are at infinity
    values = np.append(mesh[~empty], 0.0)[index]
    filled = mesh.copy()
    filled[empty] = (weight * values).sum(axis=1) / weight.sum(axis=1)
    return filled


def _median_filter(mesh: NDArray[np.float64], reach: int) -> NDArray[np.float64]:
    """Median of the boxes within ``reach`` of each, as far as the mesh goes."""
    if np.isnan(mesh).any():  # nothing was known of any box
        return mesh
    around = np.lib.stride_tricks.sliding_window_view(
        np.pad(mesh, reach, constant_values=np.nan), (2 * reach + 1, 2 * reach + 1)
    )
    return np.asarray(np.nanmedian(around.reshape(*mesh.shape, -1), axis=-1))


def _coefficients(mesh: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.ndimage import spline_filter

    return spline_filter(mesh, order=3, mode="reflect")


def _spline(
    mesh: NDArray[np.float64], coefficients: NDArray[np.float64], where: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Spline at places given in boxes, clipped to the range of the mesh."""
    from scipy.ndimage import map_coordinates

    if np.ptp(mesh) == 0:
        return np.where(np.isnan(where).any(axis=0), np.nan, mesh[0, 0])
    values = np.full(where.shape[1], np.nan)
    good = np.isfinite(where).all(axis=0)
    values[good] = map_coordinates(coefficients, where[:, good], order=3, mode="reflect", prefilter=False)
    np.clip(values, mesh.min(), mesh.max(), out=values)
    return values
