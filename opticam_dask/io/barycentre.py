"""Airmasses and barycentric times of many frames at once, without the network."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from opticam_dask.instrument import Instrument
from opticam_dask.io.observer import DAY_S, MJD_ZERO, observer_at, site_of, terrestrial_time
from opticam_dask.io.times import offline_tables

Floats = NDArray[np.float64]


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
        MJD [d], TDB, at which the light reaches the solar-system barycentre; NaN where an input is NaN. A
        float64 MJD of this century steps by 0.63 microseconds.

    Notes
    -----
    The sum of TDB and `astropy.time.Time.light_travel_time` with the built-in ephemeris (about 10
    microseconds from JPL's), to better than 1 nanosecond; see `opticam_dask.io.observer`.
    """
    day, rest = barycentric_parts(mjd_utc, ra_deg, dec_deg, instrument)
    return day + rest


def barycentric_parts(
    mjd_utc: ArrayLike, ra_deg: ArrayLike, dec_deg: ArrayLike, instrument: Instrument
) -> tuple[Floats, Floats]:
    """Barycentric times as whole or half days and the rest [d], which together keep nanoseconds.

    Parameters are those of `barycentric_mjd`, which gives the sum of the two.
    """
    times = np.asarray(mjd_utc, dtype=float)
    ra, dec = np.asarray(ra_deg, float), np.asarray(dec_deg, float)
    day, rest = np.full(times.shape, np.nan), np.full(times.shape, np.nan)
    good = np.isfinite(times) & np.isfinite(ra) & np.isfinite(dec)
    if not good.any():
        return day, rest
    tt = terrestrial_time(times[good])
    place, tdb_tt = observer_at(tt, site_of(instrument))
    seconds = tdb_tt + np.sum(place * unit_vectors(ra[good], dec[good]), axis=1)
    day[good], rest[good] = tt[0], tt[1] + seconds / DAY_S
    return day, rest


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
        sidereal = erfa.gmst06(MJD_ZERO, times, tt.jd1, tt.jd2)
    east = sidereal + np.radians(instrument.east_longitude_deg)
    latitude = np.radians(instrument.latitude_deg or 0.0)
    x, y, z = of_date.T
    toward_meridian = x * np.cos(east) + y * np.sin(east)
    return np.asarray(np.cos(latitude) * toward_meridian + np.sin(latitude) * z, dtype=float)
