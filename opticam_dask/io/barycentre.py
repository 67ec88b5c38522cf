"""Barycentric times and airmasses of many frames at once, without the network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from opticam_dask.instrument import Instrument
from opticam_dask.io.times import offline_tables

if TYPE_CHECKING:
    from astropy.coordinates import EarthLocation
    from astropy.time import Time

Floats = NDArray[np.float64]

KNOT_S = 60.0
_DAY_S = 86400.0
_MJD = 2400000.5


def unit_vectors(ra_deg: ArrayLike, dec_deg: ArrayLike) -> Floats:
    """Directions, shape (n, 3), of ICRS coordinates [degrees]."""
    ra, dec = np.radians(np.asarray(ra_deg, float)), np.radians(np.asarray(dec_deg, float))
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def barycentric_mjd(
    mjd_utc: ArrayLike, ra_deg: ArrayLike, dec_deg: ArrayLike, instrument: Instrument
) -> Floats:
    """Barycentric times of frames.

    Parameters
    ----------
    mjd_utc : array_like, shape (n,)
        MJD [d], UTC, at the observatory.
    ra_deg, dec_deg : array_like, shape (n,)
        ICRS coordinates [degrees].
    instrument : Instrument
        Its site is the place of the observer; without one it is the Earth's centre.

    Returns
    -------
    ndarray, shape (n,)
        MJD [d], TDB, at which the light reaches the solar-system barycentre; NaN where an input is NaN.

    Notes
    -----
    The observer's place and TDB - TT come from astropy (built-in ephemeris, about 10 microseconds from JPL's)
    at knots every minute of TT, and are interpolated with cubics between the four nearest: the Earth turns
    0.0044 rad between knots, so the interpolation is good to 1e-10 s. The knots are absolute, hence the time
    of a frame does not depend on which other frames are asked for. `astropy.time.Time.light_travel_time`
    differs by up to 2 microseconds, since it aberrates the vector from the Earth's centre to the observer.
    """
    from astropy.time import Time

    times = np.asarray(mjd_utc, dtype=float)
    result = np.full(times.shape, np.nan)
    good = (
        np.isfinite(times) & np.isfinite(np.asarray(ra_deg, float)) & np.isfinite(np.asarray(dec_deg, float))
    )
    if not good.any():
        return result
    with offline_tables():
        tt = Time(times[good], format="mjd", scale="utc").tt
        place, tdb_tt = _interpolated(tt, _location(instrument))
    direction = unit_vectors(np.asarray(ra_deg, float)[good], np.asarray(dec_deg, float)[good])
    seconds = tdb_tt + np.sum(place * direction, axis=1)
    result[good] = (tt.jd1 - _MJD) + (tt.jd2 + seconds / _DAY_S)
    return result


def _location(instrument: Instrument) -> EarthLocation:
    from astropy import units as u
    from astropy.coordinates import EarthLocation

    if not instrument.has_site or instrument.latitude_deg is None:
        return EarthLocation.from_geocentric(0.0, 0.0, 0.0, unit=u.m)
    return EarthLocation.from_geodetic(
        instrument.east_longitude_deg * u.deg,
        instrument.latitude_deg * u.deg,
        (instrument.height_m or 0.0) * u.m,
    )


def _interpolated(tt: Time, location: EarthLocation) -> tuple[Floats, Floats]:
    """Observer's barycentric place [light-second], shape (n, 3), and TDB - TT [s], shape (n,)."""
    per_day = _DAY_S / KNOT_S
    days = np.floor(tt.jd1 - _MJD)
    steps = ((tt.jd1 - _MJD - days) + tt.jd2) * per_day
    left = np.floor(steps)
    number = (days * per_day + left).astype(np.int64)
    knots, index = np.unique(number[:, None] + np.arange(-1, 3), return_inverse=True)
    values = _at_knots(knots, location)[index.reshape(-1, 4)]
    found = np.einsum("nk,nkv->nv", _cubic_weights(steps - left), values)
    return found[:, :3], found[:, 3]


def _cubic_weights(u: Floats) -> Floats:
    """Lagrange weights of the points -1, 0, 1, 2 at ``u`` between 0 and 1; shape (n, 4)."""
    return np.stack(
        [
            -u * (u - 1) * (u - 2) / 6,
            (u + 1) * (u - 1) * (u - 2) / 2,
            -(u + 1) * u * (u - 2) / 2,
            (u + 1) * u * (u - 1) / 6,
        ],
        axis=1,
    )


def _at_knots(knots: NDArray[np.int64], location: EarthLocation) -> Floats:
    """Place [light-second] and TDB - TT [s] at knots; shape (n, 4)."""
    from astropy import constants as const
    from astropy import units as u
    from astropy.coordinates import get_body_barycentric, solar_system_ephemeris
    from astropy.time import Time

    day, rest = np.divmod(knots * KNOT_S, _DAY_S)
    time = Time(day, rest / _DAY_S, format="mjd", scale="tt", location=location)
    with solar_system_ephemeris.set("builtin"):
        earth = get_body_barycentric("earth", time)
    place = (earth + location.get_gcrs_posvel(time)[0]).xyz / const.c
    # TDB shares its first double with TT, so the difference keeps all its digits.
    tdb = time.tdb
    tdb_tt = ((tdb.jd1 - time.jd1) + (tdb.jd2 - time.jd2)) * _DAY_S
    return np.column_stack([place.to_value(u.s).T, tdb_tt])


def airmass(mjd_utc: ArrayLike, ra_deg: ArrayLike, dec_deg: ArrayLike, instrument: Instrument) -> Floats:
    """Airmass of frames, from the true altitude of the target.

    Parameters
    ----------
    mjd_utc : array_like, shape (n,)
        MJD [d], UTC.
    ra_deg, dec_deg : array_like, shape (n,)
        ICRS coordinates [degrees].
    instrument : Instrument
        Its site.

    Returns
    -------
    ndarray, shape (n,)
        Airmass; NaN below the horizon, without coordinates, or without a site.

    Notes
    -----
    Coordinates are precessed (IAU 2006) and turned by the mean sidereal time, with UT1 taken as UTC: good to
    20 arcsec, about 1e-4 in airmass at 60 degrees from the zenith.

    References
    ----------
    Young, A. T. 1994, Applied Optics, 33, 1108: airmass as a function of the true zenith angle.
    """
    times = np.asarray(mjd_utc, dtype=float)
    ra, dec = np.asarray(ra_deg, float), np.asarray(dec_deg, float)
    result = np.full(times.shape, np.nan)
    good = np.isfinite(times) & np.isfinite(ra) & np.isfinite(dec)
    if not good.any() or not instrument.has_site:
        return result
    cosine = _zenith_cosine(times[good], unit_vectors(ra[good], dec[good]), instrument)
    with np.errstate(divide="ignore", invalid="ignore"):
        result[good] = np.where(cosine > 0, _young(cosine), np.nan)
    return result


def _young(z: Floats) -> Floats:
    above = 1.002432 * z**2 + 0.148386 * z + 0.0096467
    return np.asarray(above / (z**3 + 0.149864 * z**2 + 0.0102963 * z + 0.000303978), dtype=float)


def _zenith_cosine(times: Floats, directions: Floats, instrument: Instrument) -> Floats:
    import erfa
    from astropy.time import Time

    with offline_tables():
        tt = Time(times, format="mjd", scale="utc").tt
        of_date = np.einsum("nij,nj->ni", erfa.pmat06(tt.jd1, tt.jd2), directions)
        sidereal = erfa.gmst06(_MJD, times, tt.jd1, tt.jd2)
    east = sidereal + np.radians(instrument.east_longitude_deg)
    latitude = np.radians(instrument.latitude_deg or 0.0)
    x, y, z = of_date.T
    toward_meridian = x * np.cos(east) + y * np.sin(east)
    return np.asarray(np.cos(latitude) * toward_meridian + np.sin(latitude) * z, dtype=float)
