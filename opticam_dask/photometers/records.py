"""Rows that photometers return, before anything is measured."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from opticam_dask.errors import InputError
from opticam_dask.kernels.centroid import has_neighbour
from opticam_dask.kernels.spill import spilt_upon
from opticam_dask.photometers.sky import ellipse_of
from opticam_dask.schema import MEASUREMENT, Flag

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from opticam_dask.kernels.noise import Fluxes
    from opticam_dask.kernels.optimal import SourceSky
    from opticam_dask.kernels.stamps import Ellipse
    from opticam_dask.photometers.noise_budget import NoiseTerms
    from opticam_dask.types import XY, Exposure, PsfModel

Rows: TypeAlias = "NDArray[np.intp] | slice"
"""Some rows of a table; a slice, which is faster, where it is all of them."""

_ERRORS = ("source", "sky", "level", "flat", "scintillation", "total")
NOISE_TERMS = np.dtype([(name, "f8") for name in ("flux", *_ERRORS)])
"""Flux of a source and its 1-sigma error by cause [adu], as `BasePhotometer.noise_terms` returns it."""


def check_request(frame: Exposure, xy: XY, shape: tuple[int, ...]) -> None:
    """Raise InputError if positions, gain or flat are not those of a frame of this shape."""
    if xy.ndim != 2 or xy.shape[1] != 2 or not 0 < frame.gain < math.inf:
        raise InputError(
            f"photometry needs positions (n, 2), not {xy.shape}, and a gain > 0, not {frame.gain}"
        )
    flat = frame.flat_variance
    if flat is not None and flat.shape != shape:
        raise InputError(
            f"the variance of the flat has shape {flat.shape}, the frame {shape}: make them equal"
        )


def empty_result(xy: XY, shape: tuple[int, ...], *, forced: bool) -> tuple[NDArray[np.void], Rows]:
    """Rows without a measurement, and which have a place on the frame; the others are flagged for good."""
    result = np.zeros(len(xy), dtype=MEASUREMENT)
    for name in ("flux", "flux_err", "bkg", "bkg_err"):
        result[name] = np.nan
    result["x"], result["y"] = xy.T
    result["flags"] = int(Flag.FORCED) if forced else 0
    there = on_frame(xy, shape)
    if there.all():
        return result, slice(None)
    aligned = np.isfinite(xy).all(axis=1)
    result["flags"] |= np.where(~aligned, int(Flag.NOT_ALIGNED), np.where(there, 0, int(Flag.EDGE)))
    return result, np.flatnonzero(there)


def empty_terms(n: int) -> NDArray[np.void]:
    """Rows of `NOISE_TERMS` without a measurement: all NaN."""
    return np.full((n, 1 + len(_ERRORS)), np.nan).view(NOISE_TERMS).reshape(n)


def fill_terms(table: NDArray[np.void], rows: Rows, flux: NDArray[np.float64], terms: NoiseTerms) -> None:
    """Write fluxes and their errors into some rows of the table; NaN where there is no flux."""
    variances = np.column_stack([*terms, terms.total])
    variances[np.isnan(flux)] = np.nan
    columns = table.view(np.float64).reshape(len(table), -1)
    columns[rows, 0], columns[rows, 1:] = flux, np.sqrt(variances)


def has_flux(fluxes: Fluxes, sky: SourceSky, variance: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether a flux is one: finite, and not that of a dead readout, without light and without noise."""
    dead = (sky.noise == 0) & (variance == 0)
    return np.asarray(np.isfinite(fluxes.flux) & ~dead)


def on_frame(xy: XY, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Whether a position lies in a pixel of the frame; NaN does not."""
    return np.asarray(((xy >= -0.5) & (xy < np.array([shape[1], shape[0]]) - 0.5)).all(axis=1))


def flag_blends(result: NDArray[np.void], reach: Ellipse, psf: PsfModel) -> None:
    """Flag sources that have another within an ellipse, or get more light of another than their error."""
    places = np.column_stack([result["x"], result["y"]])
    near = has_neighbour(places, reach.semimajor, reach.semiminor, reach.orientation_rad)
    beta = math.inf if psf.beta is None else psf.beta
    spilt = spilt_upon(places, result["flux"], result["flux_err"], ellipse_of(psf), beta)
    result["flags"][near | spilt] |= int(Flag.BLENDED)


def response_at(frame: Exposure, xy: XY) -> NDArray[np.float64] | float:
    """Flat field a frame was divided by, at places on it; 1 without a flat, and where it is not known."""
    if frame.response is None:
        return 1.0
    column, row = np.floor(xy + 0.5).astype(np.int64).T
    ny, nx = frame.response.shape
    found = frame.response[np.clip(row, 0, ny - 1), np.clip(column, 0, nx - 1)].astype(np.float64)
    return np.where(found > 0, found, 1.0)
