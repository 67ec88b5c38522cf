"""Catalogues of a night, as matching takes them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opticam_dask.matching import NightCatalog
from opticam_dask.survey.arrivals import index_path, nights_folder

if TYPE_CHECKING:
    import pandas as pd

    from opticam_dask.catalog.model import CameraCatalog
    from opticam_dask.instrument import Instrument


def night_catalogs(
    out: Path, night: str, instrument: Instrument, rebin_factor: int = 1
) -> list[NightCatalog]:
    """Catalogues of all cameras of a night, in order of camera.

    Parameters
    ----------
    out : Path
        The survey.
    night : str
        The night.
    instrument : Instrument
        Knows the scale of each camera.
    rebin_factor : int
        Pixels of the frames' files per pixel of the catalogues' images and axis.
    """
    from opticam_dask.catalog.store import load_catalogs
    from opticam_dask.io.frame_index import accepted, read_frames

    frames = accepted(read_frames(index_path(out, night)))
    catalogs = load_catalogs(nights_folder(out) / night)
    return [
        _catalog(night, catalog, frames[frames["camera"] == camera], instrument, rebin_factor)
        for camera, catalog in sorted(catalogs.items())
    ]


def _catalog(
    night: str, catalog: CameraCatalog, frames: pd.DataFrame, instrument: Instrument, rebin_factor: int
) -> NightCatalog:
    binning = rebin_factor * on_chip_binning(frames)
    ny, nx = catalog.stacked_image.shape
    return NightCatalog(
        night=night,
        camera=catalog.camera,
        filter=str(frames["filter"].iloc[0]),
        table=_columns(catalog),
        shape=(int(ny), int(nx)),
        binning=binning,
        pixel_scale=binning * unbinned_scale(instrument, catalog.camera),
        pointing=(float(frames["ra"].median()), float(frames["dec"].median())),
    )


def _columns(catalog: CameraCatalog) -> dict[str, Any]:
    from opticam_dask.stages.coordinates import coordinates_in

    table = catalog.table
    ra, dec = coordinates_in(catalog)
    x, y = catalog.xy.T
    return {
        "source": table["source"],
        "x": x,
        "y": y,
        "flux": table["psf_flux"],
        "ra": ra,
        "dec": dec,
        "blended": catalog.blended,
    }


def on_chip_binning(frames: pd.DataFrame) -> float:
    """Detector pixels per pixel of a file along an axis; NaN if unknown."""
    text = str(frames["binning"].iloc[0]) if len(frames) else ""
    return float(text.partition("x")[0]) if text else math.nan


def unbinned_scale(instrument: Instrument, camera: str) -> float:
    """Scale of a camera [arcsec per detector pixel]; NaN if unknown."""
    spec = instrument.camera(camera.partition(":")[0])
    return math.nan if spec is None or spec.pixel_scale is None else spec.pixel_scale
