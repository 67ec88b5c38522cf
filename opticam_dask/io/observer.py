"""Where the observer is in the solar system, and how barycentric time runs: for many times at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from opticam_dask.instrument import Instrument
from opticam_dask.io.times import offline_tables

if TYPE_CHECKING:
    from astropy.coordinates import EarthLocation
    from astropy.time import Time
    from astropy.units import Quantity

Floats: TypeAlias = NDArray[np.float64]
Days: TypeAlias = tuple[Floats, Floats]
"""Times [d] in two parts that are added: days in whole or half numbers, and the rest."""

Site: TypeAlias = tuple[float, float, float] | None
"""East longitude and latitude [degrees] and height [m]; None for the Earth's centre."""

KNOT_S = 60.0
DAY_S = 86400.0
MJD_ZERO = 2400000.5
_RUN = 16
_RUNS_KEPT = 20_000  # half a year of nights in 10 MB
_kept: dict[tuple[Site, int], Floats] = {}


def terrestrial_time(mjd_utc: ArrayLike) -> Days:
    """Terrestrial Time, MJD [d], of finite MJDs in UTC; leap seconds count."""
    from astropy.time import Time

    with offline_tables():
        tt = Time(np.asarray(mjd_utc, dtype=float), format="mjd", scale="utc").tt
        return np.asarray(tt.jd1 - MJD_ZERO, dtype=float), np.asarray(tt.jd2, dtype=float)


def observer_at(tt: Days, site: Site) -> tuple[Floats, Floats]:
    """Observer's barycentric place and the offset of barycentric time.

    Parameters
    ----------
    tt : pair of ndarray, shape (n,)
        Terrestrial Time, MJD [d], in two parts as `terrestrial_time` gives it.
    site : Site
        Where the observer is, see `site_of`.

    Returns
    -------
    place : ndarray, shape (n, 3)
        Place of the observer [light-second], ICRS axes, the solar-system barycentre at 0.
    tdb_tt : ndarray, shape (n,)
        TDB - TT [s].

    Notes
    -----
    Both come from astropy at knots every minute of TT, and are interpolated with cubics between the four
    nearest: the Earth turns 0.0044 rad between knots, so the interpolation is good to 1e-10 s. The knots are
    absolute, hence what is found does not depend on which other times are asked for.

    The observer's vector is carried from geocentric to barycentric axes the way
    `astropy.time.Time.light_travel_time` does it, with aberration and light deflection. It differs from the
    plain sum of the Earth's place and the observer's by up to 2 microseconds, a fifth of the error of the
    built-in ephemeris; users compare with astropy, so its convention is kept.
    """
    days = np.floor(tt[0])
    steps = ((tt[0] - days) + tt[1]) * (DAY_S / KNOT_S)
    left = np.floor(steps)
    number = (days * (DAY_S / KNOT_S) + left).astype(np.int64)
    knots, index = np.unique(number[:, None] + np.arange(-1, 3), return_inverse=True)
    values = _at_knots(knots, site)[index.reshape(-1, 4)]
    weights = _cubic_weights(steps - left)
    # Term by term, so that the sum does not depend on how many times there are.
    found = sum(weights[:, k, None] * values[:, k] for k in range(1, 4)) + weights[:, 0, None] * values[:, 0]
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


def site_of(instrument: Instrument) -> Site:
    """Site of an instrument; the Earth's centre if it has none."""
    if not instrument.has_site or instrument.latitude_deg is None:
        return None
    return instrument.east_longitude_deg, instrument.latitude_deg, instrument.height_m or 0.0


def _at_knots(knots: NDArray[np.int64], site: Site) -> Floats:
    """Place [light-second] and TDB - TT [s] at sorted knots; shape (n, 4).

    Knots are computed and kept in runs, since blocks of a night are asked for one after the other.
    """
    runs, run_of = np.unique(knots // _RUN, return_inverse=True)
    kept = {run: _kept[site, run] for run in runs.tolist() if (site, run) in _kept}
    missing = [run for run in runs.tolist() if run not in kept]
    if missing:
        computed = _computed((np.asarray(missing)[:, None] * _RUN + np.arange(_RUN)).ravel(), site)
        new = dict(zip(missing, computed.reshape(-1, _RUN, 4), strict=True))
        kept |= new
        _keep(new, site)
    whole = np.stack([kept[run] for run in runs.tolist()])
    return np.asarray(whole[run_of, knots % _RUN], dtype=float)


def _keep(runs: dict[int, Floats], site: Site) -> None:
    if len(_kept) + len(runs) > _RUNS_KEPT:
        _kept.clear()
    _kept.update({(site, run): values for run, values in runs.items()})


def _computed(knots: NDArray[np.int64], site: Site) -> Floats:
    from astropy import constants as const
    from astropy import units as u
    from astropy.time import Time

    day, rest = np.divmod(knots * KNOT_S, DAY_S)
    location = _location(site)
    with offline_tables():
        time = Time(day, rest / DAY_S, format="mjd", scale="tt", location=location)
        place = _barycentric(location, time).to_value(u.m) / const.c.value
        # TDB shares its first double with TT, so the difference keeps all its digits.
        tdb = time.tdb
    tdb_tt = ((tdb.jd1 - time.jd1) + (tdb.jd2 - time.jd2)) * DAY_S
    return np.column_stack([place.T, tdb_tt])


def _barycentric(location: EarthLocation, time: Time) -> Quantity:
    """Place of an observer as astropy finds it for light travel times; shape (3, n)."""
    from astropy.coordinates import GCRS, ICRS, solar_system_ephemeris

    with solar_system_ephemeris.set("builtin"):
        geocentric = location.get_itrs(obstime=time).transform_to(GCRS(obstime=time))
        return geocentric.transform_to(ICRS()).cartesian.xyz


def _location(site: Site) -> EarthLocation:
    from astropy import units as u
    from astropy.coordinates import EarthLocation

    if site is None:
        return EarthLocation.from_geocentric(0.0, 0.0, 0.0, unit=u.m)
    east, north, height = site
    return EarthLocation.from_geodetic(east * u.deg, north * u.deg, height * u.m)
