"""Small grids of boxes: filled, median filtered, summed and interpolated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NEIGHBOURS = 10  # good boxes from which an empty one is filled


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


def window_sum(mesh: NDArray[np.int64], filter_size: int) -> NDArray[np.int64]:
    """Sum of the boxes in the median filter around each, as far as the mesh goes."""
    padded = np.pad(mesh, filter_size // 2)
    around = np.lib.stride_tricks.sliding_window_view(padded, (filter_size, filter_size))
    return np.asarray(around.sum(axis=(-2, -1)))


def spline_coefficients(mesh: NDArray[np.float64]) -> NDArray[np.float64]:
    """Coefficients of the cubic spline through the mesh, mirrored at its edges."""
    from scipy.ndimage import spline_filter

    return spline_filter(mesh, order=3, mode="reflect")


def spline(
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
