"""Sources of a stacked image."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from opticam_dask.errors import CatalogError
from opticam_dask.kernels.moments import measure_stars
from opticam_dask.kernels.sky import Sky, isolated_pixels
from opticam_dask.kernels.stack import fill_holes
from opticam_dask.types import XY

if TYPE_CHECKING:
    from astropy.table import QTable

_X_NAMES = ("x_centroid", "xcentroid")
_Y_NAMES = ("y_centroid", "ycentroid")


def find_sources(
    stack: NDArray[np.float64],
    count: NDArray[np.int32],
    *,
    background: Callable[..., Any],
    finder: Callable[..., Any],
    threshold: float,
    max_sources: int,
    sigma: float,
) -> QTable:
    """Catalogue of a stack.

    Parameters
    ----------
    stack : ndarray, shape (ny, nx) [adu]
        Mean of the aligned frames; NaN where no frame contributed.
    count : ndarray of int32, shape (ny, nx)
        Frames that contributed to each pixel: where there are few, the threshold is higher.
    background, finder : callable
        Image -> object with ``background`` and ``background_rms``; (image, threshold) -> table.
    threshold : float
        In units of the background's scatter.
    max_sources : int
        Brightest sources to keep.
    sigma : float
        Width of the PSF [pixel], for centring.

    Returns
    -------
    QTable
        ``source`` (ID from 1, brightest first), ``x``, ``y`` [pixel], then the finder's columns.

    Raises
    ------
    CatalogError
        If there is no source.
    """
    image, level, rms = _flattened(stack, background)
    shallow = np.sqrt(count.max() / np.maximum(count, 1.0))
    table = finder(image, threshold * rms * shallow)
    if table is None or len(table) == 0:
        raise CatalogError(
            f"no source above {threshold:g} times the background's scatter ({np.median(rms):.3g} adu) in the "
            "stacked image; lower threshold, or give a finder with fewer npixels or a narrower border"
        )
    table = _ordered(table)[:max_sources]
    return _numbered(table, _centred(image, _centroids(table), level, float(np.median(rms)), sigma))


def _flattened(
    stack: NDArray[np.float64], background: Callable[..., Any]
) -> tuple[NDArray[np.float64], float, NDArray[np.float64]]:
    """Image without background, holes and lone pixels filled; 0 and the scatter per pixel."""
    mesh = background(stack)
    flat = stack - np.asarray(mesh.background)
    rms = np.broadcast_to(np.asarray(mesh.background_rms, np.float64), flat.shape)
    lone = isolated_pixels(flat, Sky(0.0, float(np.median(rms))))
    flat.ravel()[lone] = np.nan
    return fill_holes(flat), 0.0, rms


def _ordered(table: QTable) -> QTable:
    """Brightest first, ties by place; a finder without ``segment_flux`` has ordered its sources itself."""
    if "segment_flux" not in table.colnames:
        return table
    x, y = _centroids(table).T
    return table[np.lexsort((x, y, -_plain(table["segment_flux"])))]


def _plain(column: Any) -> NDArray[np.float64]:
    return np.asarray(getattr(column, "value", column), np.float64)


def _centroids(table: QTable) -> XY:
    try:
        names = [next(n for n in known if n in table.colnames) for known in (_X_NAMES, _Y_NAMES)]
    except StopIteration:
        raise CatalogError(
            f"the finder's table has no column x_centroid and y_centroid, only {', '.join(table.colnames)}"
        ) from None
    return np.column_stack([_plain(table[name]) for name in names])


def _centred(image: NDArray[np.float64], xy: XY, level: float, noise: float, sigma: float) -> XY:
    """Centres by adaptive moments; the finder's where these do not converge or run away."""
    ny, nx = image.shape
    peaks = np.clip(np.rint(xy), 0, [nx - 1, ny - 1]).astype(np.int64)
    stars = measure_stars(image, peaks, sigma=sigma, level=level, noise=noise)
    better = np.column_stack([stars["x"], stars["y"]])
    with np.errstate(invalid="ignore"):
        near = np.hypot(*(better - xy).T) <= max(1.5, sigma)
    return np.where((near & stars["converged"])[:, None], better, xy)


def _numbered(table: QTable, xy: XY) -> QTable:
    for name in ("label", "source", "x", "y"):
        if name in table.colnames:
            table.remove_column(name)
    table.add_columns([np.arange(1, len(table) + 1), xy[:, 0], xy[:, 1]], [0, 0, 0], ["source", "x", "y"])
    table["x"].info.description = "column [pixel]; pixel centres are integers"
    table["y"].info.description = "row [pixel]"
    table.meta.clear()  # versions and the date would make equal catalogues differ
    return table


def stack_range(peak: float, level: float) -> float:
    """Largest value a stack keeps [adu]: a power of two, four times the reference frame's peak or more."""
    return 2.0 ** math.ceil(math.log2(4.0 * max(peak - level, abs(level), 1.0)))
