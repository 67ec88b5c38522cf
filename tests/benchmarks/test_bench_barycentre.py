"""Barycentring a file list against astropy's loop over files.

Run as a script it prints the figures for 100 000 frames; pytest runs it tiny.
"""

import sys
import time

import astropy.units as u
import numpy as np
from astropy.coordinates import EarthLocation, SkyCoord
from astropy.time import Time

from opticam_dask.instrument import OPTICAM_MX
from opticam_dask.io import observer
from opticam_dask.io.barycentre import barycentric_mjd
from opticam_dask.io.times import offline_tables

RA, DEC = 315.592, 38.0


def file_list(n_frames: int) -> np.ndarray:
    """Mid-exposure times of three cameras, one frame a second, over four nights."""
    per_night = -(-n_frames // 12)
    night = 60270.1 + np.arange(per_night) / 86400
    return np.concatenate([night + day for day in range(4) for _ in range(3)])[:n_frames]


def one_by_one(mjd: np.ndarray) -> np.ndarray:
    """What a loop over files does: one astropy Time per frame."""
    site = OPTICAM_MX
    place = EarthLocation.from_geodetic(
        site.longitude_deg * u.deg, site.latitude_deg * u.deg, site.height_m * u.m
    )
    star = SkyCoord(RA, DEC, unit="deg")
    times = (Time(one, format="mjd", scale="utc", location=place) for one in mjd)
    return np.array([(t.tdb + t.light_travel_time(star, ephemeris="builtin")).mjd for t in times])


def timed(n_frames: int, n_scalar: int) -> tuple[float, float, float]:
    """Seconds per frame at once and one by one, and the largest difference [us]."""
    mjd = file_list(n_frames)
    barycentric_mjd(mjd[:1] - 1000, [RA], [DEC], OPTICAM_MX)  # imports and tables
    observer._kept.clear()
    start = time.perf_counter()
    whole = barycentric_mjd(mjd, np.full(len(mjd), RA), np.full(len(mjd), DEC), OPTICAM_MX)
    at_once = time.perf_counter() - start
    some = np.linspace(0, len(mjd) - 1, n_scalar).astype(int)
    with offline_tables():
        start = time.perf_counter()
        scalar = one_by_one(mjd[some])
        single = time.perf_counter() - start
    apart = np.abs(whole[some] - scalar).max() * 86400e6
    return at_once / len(mjd), single / n_scalar, float(apart)


def test_a_file_list_is_far_faster_than_a_loop():
    at_once, single, apart = timed(3000, 10)
    assert apart < 1.0
    assert single > 10 * at_once


if __name__ == "__main__":
    n_frames = 100_000
    at_once, single, apart = timed(n_frames, 200)
    sys.stdout.write(
        f"{n_frames} frames at once: {at_once * n_frames:.2f} s; one by one {single * 1e3:.1f} ms a frame: "
        f"{single * n_frames:.0f} s, {single / at_once:.0f} times longer; they differ by {apart:.2f} us\n"
    )
