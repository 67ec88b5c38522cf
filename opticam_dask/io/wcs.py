"""Sky coordinates of sources from a world coordinate system: a header's, a file's, or one a user made."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from opticam_dask.errors import InputError
from opticam_dask.io.containers import read_headers
from opticam_dask.io.times import offline_tables
from opticam_dask.types import XY, Affine

if TYPE_CHECKING:
    from astropy.io.fits import Header
    from astropy.wcs import WCS

WcsSource: TypeAlias = "Header | WCS | str | os.PathLike[str]"
Floats: TypeAlias = NDArray[np.float64]

SCALE_RANGE = (1e-3, 1800.0)
"""Arcseconds per pixel that are believed; outside, values of the header are missing or wrong."""

_ARCSEC = 3600.0


@dataclass(frozen=True, eq=False)
class SkyCoordinates:
    """Where sources are in the sky.

    Parameters
    ----------
    ra, dec : ndarray, shape (n,)
        ICRS coordinates [degrees]; NaN where unknown.
    reason : str
        Why none are known; empty otherwise.
    """

    ra: Floats
    dec: Floats
    reason: str = ""

    @property
    def known(self) -> bool:
        """Whether there are coordinates at all."""
        return not self.reason


def pixels_of_file(first_row: int = 0, first_column: int = 0, factor: int = 1) -> Affine:
    """Transform from pixels of a cropped, then rebinned image into those of the file, shape (2, 3).

    Parameters
    ----------
    first_row, first_column : int
        Row and column of the file at which the crop begins.
    factor : int
        Pixels of the file per pixel along each axis.
    """
    shift = 0.5 * (factor - 1)
    return np.array([[factor, 0.0, first_column + shift], [0.0, factor, first_row + shift]])


def sky_coordinates(
    source: WcsSource, xy: XY, *, hdu: int | None = None, to_file: Affine | None = None
) -> SkyCoordinates:
    """Sky coordinates of places in a frame.

    Parameters
    ----------
    source : Header, WCS, or path
        FITS header, `astropy.wcs.WCS`, or FITS file (its pixels are not read, so a WCS with
        distortions kept as images is not used; SIP and other polynomials are).
    xy : array_like, shape (n, 2)
        Places [pixel]; pixel centres are integers and the first is 0 (FITS counts from 1: that is seen to).
    hdu : int, optional
        Header-data unit of a file; the first that has a WCS unless given.
    to_file : ndarray, shape (2, 3), optional
        Transform from the pixels of ``xy`` into those of the file, where frames were cropped or rebinned; see
        `pixels_of_file`.

    Returns
    -------
    SkyCoordinates
        NaN with a reason where there is no celestial WCS, or one that is incomplete or makes no sense.

    Raises
    ------
    FrameReadError
        If a file cannot be read.
    InputError
        If a file has no such HDU, or the source is none of these.
    """
    places = np.asarray(xy, dtype=float).reshape(-1, 2)
    if to_file is not None:
        places = places @ to_file[:, :2].T + to_file[:, 2]
    with offline_tables():
        wcs, reason = _celestial(source, hdu)
        if wcs is None:
            return _unknown(len(places), reason)
        ra, dec = _world(wcs, places)
    if len(places) and not np.isfinite(ra).any():
        return _unknown(len(places), "the WCS gives no coordinates for the sources")
    return SkyCoordinates(ra, dec)


def _unknown(n: int, reason: str) -> SkyCoordinates:
    return SkyCoordinates(np.full(n, np.nan), np.full(n, np.nan), reason)


def _celestial(source: WcsSource, hdu: int | None) -> tuple[WCS | None, str]:
    """Celestial part of a WCS, or why there is none."""
    from astropy.io.fits import Header
    from astropy.wcs import WCS

    if isinstance(source, str | os.PathLike):
        source = _header(source, hdu)
    if isinstance(source, Header):
        if lacking := _lacking(source):
            return None, lacking
        try:
            source = WCS(source)
        except (ValueError, KeyError) as error:
            return None, f"the WCS of the header cannot be used: {str(error).splitlines()[0]}"
    if not isinstance(source, WCS):
        raise InputError(f"a WCS must be a FITS header, an astropy WCS or a FITS file, not {source!r}")
    return _sensible(source)


def _sensible(wcs: WCS) -> tuple[WCS | None, str]:
    if not wcs.has_celestial:
        return None, "the WCS is not celestial"
    celestial = wcs.celestial
    least, most = SCALE_RANGE
    if not least <= _scale(celestial) <= most:
        return None, f"the WCS makes no sense: a pixel would be {_scale(celestial):.3g} arcsec wide"
    return celestial, ""


def _header(path: str | os.PathLike[str], hdu: int | None) -> Header:
    hdus = read_headers(path)
    if hdu is None:
        headers = [each.header for each in hdus]
        return next((header for header in headers if "CTYPE1" in header), headers[0])
    if not 0 <= hdu < len(hdus):
        raise InputError(f"{os.fspath(path)} has no HDU {hdu} to take a WCS from: it has {len(hdus)}")
    return hdus[hdu].header


def _lacking(header: Header) -> str:
    """Why a header has no usable WCS, as far as keywords tell; astropy would fill in zeros and ones."""
    types = [str(header.get(f"CTYPE{axis}", "")).strip() for axis in (1, 2)]
    if not all(types):
        return "no WCS in the header"
    missing = [name for name in ("CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2") if header.get(name) is None]
    scaled = [name for name in ("CD1_1", "CD1_2", "CDELT1") if header.get(name) is not None]
    missing += [] if scaled else ["CD1_1 or CDELT1"]
    return f"the WCS of the header is incomplete: no {', '.join(missing)}" if missing else ""


def _scale(wcs: WCS) -> float:
    """Scale at the reference pixel [arcsec / pixel]; 0 if the axes are parallel."""
    return float(np.sqrt(abs(np.linalg.det(wcs.pixel_scale_matrix)))) * _ARCSEC


def _world(wcs: WCS, places: Floats) -> tuple[Floats, Floats]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        star = wcs.pixel_to_world(places[:, 0], places[:, 1]).icrs
    return np.asarray(star.ra.deg, dtype=float), np.asarray(star.dec.deg, dtype=float)
