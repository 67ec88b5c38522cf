"""Small grids of boxes: filled, median filtered, summed and interpolated."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from opticam_dask.types import XY

NO_PLANE = (0.0, 0.0, 0.0)
_NEIGHBOURS = 10  # good boxes from which an empty one is filled
_FILLED_COUNTS = 2  # boxes that one filled like that counts for: its error is smaller, but not its own
_SPLINE_GAIN = 1.1  # over a median alone


@dataclass(frozen=True, eq=False)
class BackgroundMesh:
    """Background and its scatter on a mesh.

    Parameters
    ----------
    level, rms : ndarray, shape (my, mx) [adu / pixel]
        Level above the plane, and scatter, in each box; NaN everywhere if no box had enough good pixels.
    box_size : tuple of int
        Rows and columns of a box [pixel].
    shape : tuple of int
        Rows and columns of the frame.
    n_pixels : ndarray of int, shape (my, mx)
        Pixels that clipping left in each box; 0 in boxes filled from their neighbours.
    filter_size : int
        Side of the median filter [boxes].
    plane : tuple of float
        Plane below the levels: its value at pixel (0, 0) [adu] and its slopes in x and y [adu / pixel].
    """

    level: NDArray[np.float64]
    rms: NDArray[np.float64]
    box_size: tuple[int, int]
    shape: tuple[int, int]
    n_pixels: NDArray[np.int64]
    filter_size: int
    plane: tuple[float, float, float] = NO_PLANE

    def at(self, xy: XY) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Level and scatter at positions.

        Parameters
        ----------
        xy : ndarray, shape (n, 2) [pixel]
            Positions; NaN gives NaN.

        Returns
        -------
        level, rms : ndarray, shape (n,) [adu / pixel]
            Cubic spline through the mesh, kept within the mesh's own range, on top of the plane.
        """
        where = np.array([(xy[:, 1] + 0.5) / self.box_size[0], (xy[:, 0] + 0.5) / self.box_size[1]]) - 0.5
        level, rms = (
            _spline(self.level, self._level_spline, where),
            _spline(self.rms, self._rms_spline, where),
        )
        if self.plane == NO_PLANE:
            return level, rms
        return level + (self.plane[0] + xy @ np.array(self.plane[1:])), rms

    def image(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Level and scatter of every pixel, each of the frame's shape [adu / pixel]."""
        rows, columns = (
            (np.arange(n) + 0.5) / box - 0.5 for n, box in zip(self.shape, self.box_size, strict=True)
        )
        level, rms = np.empty(self.shape), np.empty(self.shape)
        for out, mesh in ((level, self.level), (rms, self.rms)):
            if np.ptp(mesh) == 0:
                out[:] = mesh[0, 0]
                continue
            coefficients = self._level_spline if mesh is self.level else self._rms_spline
            _spline_image(coefficients, rows, columns, mesh.min(), mesh.max(), out)
        if self.plane != NO_PLANE:
            level += self.plane[0] + self.plane[1] * np.arange(self.shape[1])
            level += (self.plane[2] * np.arange(self.shape[0]))[:, None]
        return level, rms

    def effective_pixels(self, xy: XY) -> NDArray[np.float64]:
        """Pixels whose mean would be as well known as the level of the mesh, if boxes hold means.

        The median of m normal values has pi / (2 m + pi - 2) of the variance of one, within a few percent,
        and between boxes the spline averages medians that do not err alike. A box filled from others is the
        mean of ten, so it draws the median and counts as two. Simulated meshes, with stars and without,
        scatter within 15 % of that.

        Parameters
        ----------
        xy : ndarray, shape (n, 2) [pixel]
            Positions on the frame.

        Returns
        -------
        ndarray, shape (n,)
            0 where all boxes that the median filter took in were filled from others.
        """
        known = np.minimum(self.n_pixels, 1)
        pixels, good, boxes = (
            _window_sum(mesh, self.filter_size) for mesh in (self.n_pixels, known, np.ones_like(known))
        )
        counted = good + _FILLED_COUNTS * (boxes - good)
        gain = _SPLINE_GAIN * (2.0 * counted + math.pi - 2.0) / math.pi
        column, row = np.floor((xy + 0.5) / np.array(self.box_size[::-1])).astype(np.int64).T
        return np.asarray((pixels / np.maximum(good, 1) * gain)[row, column], dtype=float)

    @property
    def typical_pixels(self) -> float:
        """Mean number of pixels left in a box that was not filled from others; 0 if all were."""
        known = self.n_pixels[self.n_pixels > 0]
        return float(known.mean()) if known.size else 0.0

    @cached_property
    def _level_spline(self) -> NDArray[np.float64]:
        return _spline_coefficients(self.level)

    @cached_property
    def _rms_spline(self) -> NDArray[np.float64]:
        return _spline_coefficients(self.rms)


def filled(mesh: NDArray[np.float64]) -> NDArray[np.float64]:
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


def median_filter(mesh: NDArray[np.float64], reach: int) -> NDArray[np.float64]:
    """Median of the boxes within ``reach`` of each, as far as the mesh goes."""
    if np.isnan(mesh).any():  # nothing was known of any box
        return mesh
    around = np.lib.stride_tricks.sliding_window_view(
        np.pad(mesh, reach, constant_values=np.nan), (2 * reach + 1, 2 * reach + 1)
    )
    return np.asarray(np.nanmedian(around.reshape(*mesh.shape, -1), axis=-1))


def _window_sum(mesh: NDArray[np.int64], filter_size: int) -> NDArray[np.int64]:
    """Sum of the boxes in the median filter around each, as far as the mesh goes."""
    padded = np.pad(mesh, filter_size // 2)
    around = np.lib.stride_tricks.sliding_window_view(padded, (filter_size, filter_size))
    return np.asarray(around.sum(axis=(-2, -1)))


def _spline_coefficients(mesh: NDArray[np.float64]) -> NDArray[np.float64]:
    """Coefficients of the cubic spline through the mesh, mirrored at its edges."""
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


@njit(cache=True, nogil=True)
def _knots(where: Any, n: int) -> tuple[Any, Any]:
    """Four boxes that the spline at each place rests on, mirrored at the edges, and their weights."""
    index, weight = np.empty((len(where), 4), np.int64), np.empty((len(where), 4))
    for k in range(len(where)):
        first = math.floor(where[k])
        t = where[k] - first
        weight[k] = (1.0 - t) ** 3 / 6.0, (3.0 * t**3 - 6.0 * t**2 + 4.0) / 6.0, 0.0, t**3 / 6.0
        weight[k, 2] = 1.0 - weight[k, 0] - weight[k, 1] - weight[k, 3]
        for m in range(4):
            place = (first - 1 + m) % (2 * n)
            index[k, m] = min(place, 2 * n - 1 - place)
    return index, weight


@njit(cache=True, nogil=True)
def _spline_image(coefficients: Any, rows: Any, columns: Any, low: float, high: float, out: Any) -> None:
    """Spline at all pixels, clipped to a range: along the mesh's columns for a row of pixels, then across."""
    (iy, wy), (ix, wx) = _knots(rows, coefficients.shape[0]), _knots(columns, coefficients.shape[1])
    line = np.empty(coefficients.shape[1])
    for y in range(len(rows)):
        line[:] = 0.0
        for m in range(4):
            line += wy[y, m] * coefficients[iy[y, m]]
        for x in range(len(columns)):
            value = 0.0
            for m in range(4):
                value += wx[x, m] * line[ix[x, m]]
            out[y, x] = min(max(value, low), high)
