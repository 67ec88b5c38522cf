"""Sources of a stacked image."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from opticam_dask.catalog.blends import blended
from opticam_dask.catalog.finder import NOTICE
from opticam_dask.errors import CatalogError
from opticam_dask.kernels.moments import measure_stars, positions
from opticam_dask.kernels.sky import Sky, isolated_pixels
from opticam_dask.kernels.stack import fill_holes
from opticam_dask.types import XY

if TYPE_CHECKING:
    from astropy.table import QTable

_X_NAMES = ("x_centroid", "xcentroid")
_Y_NAMES = ("y_centroid", "ycentroid")
_ADDED = ("source", "x", "y", "psf_flux", "blended")
_UNKNOWN = ("sky_centroid", "segment_flux_err", "kron_flux_err")  # without a WCS and an image of errors
_GOOD_SNR = 20.0
_PSF_REACH = 4.0  # of a star's stamp [sigma]


def find_sources(
    stack: NDArray[np.float64],
    count: NDArray[np.int32],
    *,
    background: Callable[..., Any],
    finder: Callable[..., Any],
    threshold: float,
    max_sources: int,
    sigma: float,
    gain: float = 1.0,
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
    gain : float
        Gain of the frames [electron / adu].

    Returns
    -------
    QTable
        ``source`` (ID from 1, brightest first), ``x``, ``y`` [pixel], ``psf_flux`` [adu], by which it is
        ordered, ``blended`` (whether its image is that of more than one star), then the finder's columns.

    Raises
    ------
    CatalogError
        If there is no source.
    """
    image, rms = _flattened(stack, background)
    noise = float(np.median(rms))
    shallow = np.sqrt(count.max() / np.maximum(count, 1.0))
    table = finder(image, threshold * rms * shallow)
    if table is None or len(table) == 0:
        raise CatalogError(
            f"no source above {threshold:g} times the background's scatter ({noise:.3g} adu) in the "
            "stacked image; lower threshold, or give a finder with fewer npixels or a narrower border"
        )
    xy = _centroids(table)
    stars = _measured(image, xy, noise, sigma)
    xy = _centres(stars, xy, sigma)
    flux = psf_fluxes(image, xy, _common_shape(stars, sigma))
    order = np.lexsort((xy[:, 0], xy[:, 1], -flux))[:max_sources]
    blends = blended(stars, gain * float(count.max()))
    return _numbered(table[order], [xy[order, 0], xy[order, 1], flux[order], blends[order]])


def _flattened(
    stack: NDArray[np.float64], background: Callable[..., Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Image without background, holes and lone pixels filled; and the scatter per pixel."""
    mesh = background(stack)
    flat = stack - np.asarray(mesh.background)
    rms = np.broadcast_to(np.asarray(mesh.background_rms, np.float64), flat.shape)
    lone = isolated_pixels(flat.astype(np.float32), Sky(0.0, float(np.median(rms))))
    flat.ravel()[lone] = np.nan
    return fill_holes(flat), rms


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


def _measured(image: NDArray[np.float64], xy: XY, noise: float, sigma: float) -> NDArray[np.void]:
    ny, nx = image.shape
    peaks = np.clip(np.rint(xy), 0, [nx - 1, ny - 1]).astype(np.int64)
    return measure_stars(image.astype(np.float32), peaks, sigma=sigma, noise=noise)


def _centres(stars: NDArray[np.void], xy: XY, sigma: float) -> XY:
    """Centres by adaptive moments; the finder's where these do not converge or run away."""
    better = positions(stars)
    with np.errstate(invalid="ignore"):
        near = np.hypot(*(better - xy).T) <= max(1.5, sigma)
    return np.where((near & stars["converged"])[:, None], better, xy)


def _common_shape(stars: NDArray[np.void], sigma: float) -> NDArray[np.float64]:
    """Covariance (xx, xy, yy) of the stars of the stack [pixel^2]: the median over the significant ones."""
    good = stars[stars["converged"] & (np.nan_to_num(stars["snr"]) > _GOOD_SNR)]
    if len(good) == 0:
        return np.array([sigma**2, 0.0, sigma**2])
    return np.array([np.median(good[name]) for name in ("mxx", "mxy", "myy")])


def psf_fluxes(image: NDArray[np.float64], xy: XY, shape: NDArray[np.float64]) -> NDArray[np.float64]:
    """Total fluxes of stars of one common Gaussian shape, each fitted with a constant sky [adu].

    One shape for all makes fluxes of nearly equal stars comparable: an error of the shape scales them
    alike, while isophotal sums end at each star's own isophote. Zero for a star with no pixel.
    """
    xx, cross, yy = shape
    det = xx * yy - cross**2
    reach = _PSF_REACH * math.sqrt(max(xx, yy))
    fluxes = np.zeros(len(xy))
    for n, place in enumerate(xy):
        low = np.maximum(np.ceil(place - reach), 0).astype(int)
        high = np.maximum(np.floor(place + reach) + 1, 0).astype(int)
        stamp = image[low[1] : high[1], low[0] : high[0]]
        y, x = np.ogrid[: stamp.shape[0], : stamp.shape[1]]
        dx, dy = x + low[0] - place[0], y + low[1] - place[1]
        q = (yy * dx**2 - 2 * cross * dx * dy + xx * dy**2) / det
        profile = np.exp(-0.5 * q) / (2 * math.pi * math.sqrt(det))
        contrast = profile - profile.mean() if profile.size else profile
        power = float((contrast**2).sum())
        fluxes[n] = float((contrast * stamp).sum()) / power if power > 0 else 0.0
    return fluxes


def _numbered(found: QTable, columns: list[NDArray[Any]]) -> QTable:
    from astropy.table import QTable

    # photutils 3 returns a class of its own, which warns of names that nobody has used
    table = QTable(found)
    unknown = [name for name in _UNKNOWN if name in table.colnames and not _holds_something(table[name])]
    for name in ("label", *_ADDED, *unknown):
        if name in table.colnames:
            table.remove_column(name)
    table.add_columns([np.arange(1, len(table) + 1), *columns], [0] * len(_ADDED), list(_ADDED))
    table["x"].info.description = "column [pixel]; pixel centres are integers"
    table["y"].info.description = "row [pixel]"
    table["psf_flux"].info.description = "total flux on one frame, one Gaussian shape for all [adu]"
    table["blended"].info.description = "whether the image is that of more than one star"
    notice = table.meta.get(NOTICE)
    table.meta.clear()  # versions and the date would make equal catalogues differ
    if notice:
        table.meta[NOTICE] = notice
    return table


def _holds_something(column: Any) -> bool:
    values = np.asarray(column)
    if values.dtype == object:
        return any(value is not None for value in values)
    return bool(np.isfinite(values).any())


def stack_range(peak: float, level: float) -> float:
    """Largest value a stack keeps [adu]: a power of two, four times the reference frame's peak or more."""
    return 2.0 ** math.ceil(math.log2(4.0 * max(peak - level, abs(level), 1.0)))
