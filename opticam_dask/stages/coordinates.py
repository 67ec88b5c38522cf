"""Sky coordinates of a camera's sources, from the WCS of its frames or one the user gives."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from opticam_dask.errors import InputError
from opticam_dask.io.wcs import SkyCoordinates, WcsSource, pixels_of_file, sky_coordinates
from opticam_dask.types import Affine

if TYPE_CHECKING:
    import pandas as pd

    from opticam_dask.calibration import FrameCalibration
    from opticam_dask.catalog.model import CameraCatalog

WcsOption: TypeAlias = "WcsSource | Mapping[str, WcsSource] | None"


def wcs_of(option: WcsOption, camera: str) -> WcsSource | None:
    """WCS that the user gives for a camera; None to take that of the frames."""
    from astropy.io.fits import Header

    if isinstance(option, Mapping) and not isinstance(option, Header):
        return option.get(camera)
    return option


def check_wcs(option: WcsOption, cameras: list[str]) -> None:
    """Raise InputError if a mapping names a camera that does not exist, or a WCS cannot be used."""
    from astropy.io.fits import Header

    for camera in cameras:
        given = wcs_of(option, camera)
        found = None if given is None else sky_coordinates(given, np.empty((0, 2)))
        if found is not None and not found.known:
            raise InputError(f"wcs of {camera}: {found.reason}")
    if isinstance(option, Mapping) and not isinstance(option, Header):
        unknown = sorted(set(option) - set(cameras))
        if unknown:
            raise InputError(f"wcs names {', '.join(unknown)}; cameras of the data: {', '.join(cameras)}")


def wcs_identity(option: WcsOption) -> Any:
    """Identify a WCS for the record: path, size and time of a file, or a digest of a header."""
    from astropy.io.fits import Header

    if option is None:
        return None
    if isinstance(option, Mapping) and not isinstance(option, Header):
        return {str(camera): wcs_identity(source) for camera, source in option.items()}
    if isinstance(option, str | os.PathLike):
        status = Path(option).stat() if Path(option).is_file() else None
        return [os.fspath(option), status and status.st_size, status and status.st_mtime_ns]
    header = option if isinstance(option, Header) else option.to_header(relax=True)
    return hashlib.sha256(header.tostring(sep="\n").encode()).hexdigest()[:16]


def locate(
    catalog: CameraCatalog,
    frames: pd.DataFrame,
    option: WcsOption,
    calibration: FrameCalibration | None = None,
) -> SkyCoordinates:
    """Coordinates of a catalogue's sources, by the user's WCS or that of the reference frame's header.

    Parameters
    ----------
    catalog : CameraCatalog
        The catalogue; its positions are pixels of the reference frame.
    frames : DataFrame
        Accepted frames of the camera.
    option : header, WCS, path, mapping of cameras to these, or None
        The user's WCS, of raw frames.
    calibration : FrameCalibration, optional
        Tells which part of the raw frames the catalogue's pixels are.
    """
    night, _, number = catalog.reference_frame
    row = frames[(frames["night"] == night) & (frames["frame"] == number)].iloc[0]
    given = wcs_of(option, catalog.camera)
    source, hdu = (str(row["path"]), int(row["hdu"])) if given is None else (given, None)
    return sky_coordinates(source, catalog.xy, hdu=hdu, to_file=to_file(calibration))


def to_file(calibration: FrameCalibration | None) -> Affine:
    """Transform from pixels of calibrated frames into those of the files, shape (2, 3)."""
    if calibration is None:
        return pixels_of_file()
    layout = calibration.layout
    return pixels_of_file(*layout.start, layout.factor)


def add_coordinates(catalog: CameraCatalog, found: SkyCoordinates) -> None:
    """Put right ascension and declination into a catalogue's table, where they are known."""
    import astropy.units as u

    if found.known:
        catalog.table["ra"], catalog.table["dec"] = found.ra * u.deg, found.dec * u.deg


def coordinates_in(catalog: CameraCatalog) -> tuple[Any, Any]:
    """Right ascension and declination of a catalogue's sources [degree]; NaN where unknown."""
    if "ra" not in catalog.table.colnames:
        nothing = np.full(len(catalog.table), np.nan)
        return nothing, nothing
    ra, dec = (np.asarray(catalog.table[name].to_value("deg"), float) for name in ("ra", "dec"))
    return ra, dec
