"""Times of sources: light travel to each against astropy, rolling-shutter rows, flags."""

import pickle
import time

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import EarthLocation, SkyCoord
from astropy.time import Time, TimeDelta

from opticam_dask.instrument import GENERIC, OPTICAM_MX, CameraSpec, Instrument, RollingShutter
from opticam_dask.io.barycentre import barycentric_mjd
from opticam_dask.io.observer import site_of
from opticam_dask.io.times import offline_tables
from opticam_dask.schema import FRAME_META, Flag
from opticam_dask.tables.source_times import SourceClock

DAY_US = 86400e6
ZYLA_S = 24.4e-6
PLACE = EarthLocation.from_geodetic(-115.463611 * u.deg, 31.044167 * u.deg, 2790 * u.m)
NOWHERE = np.full(3, np.nan)


def frames(n=5, start=60310.1, step_s=7.0):
    meta = np.zeros(n, FRAME_META)
    meta["frame"] = np.arange(n)
    meta["MJD"] = start + np.arange(n) * step_s / 86400
    meta["BMJD"] = meta["MJD"] + 0.003
    meta["flags"] = int(Flag.POINTING_BARYCENTRE | Flag.QUANTISED_TIME)
    return meta


def field(n=9, size_arcmin=5.0):
    """Sources over a field; the last has no coordinates."""
    rng = np.random.default_rng(11)
    ra = 315.6 + rng.uniform(-0.5, 0.5, n) * size_arcmin / 60 / np.cos(np.radians(38))
    dec = 38.0 + rng.uniform(-0.5, 0.5, n) * size_arcmin / 60
    ra[-1] = np.nan
    return ra, dec


def rolling(readout="bottom-up", row_delay_s=ZYLA_S, rows=1024, binning_rows=2, centre_row=None):
    return RollingShutter(
        row_delay_s=row_delay_s,
        readout=readout,
        rows=rows,
        binning_rows=binning_rows,
        centre_row=centre_row,
    )


def astropys_own(mjd, delay_s, ra, dec):
    """What astropy says of one frame, row and source, each on its own; MJD in two parts."""
    with offline_tables():
        at = Time(mjd, format="mjd", scale="utc", location=PLACE) + TimeDelta(delay_s, format="sec")
        found = at.tdb + at.light_travel_time(SkyCoord(ra, dec, unit="deg"), ephemeris="builtin")
    return found.jd1 - 2400000.5, found.jd2


def test_each_source_has_its_own_light_travel_time():
    meta, (ra, dec) = frames(), field()
    clock = SourceClock(ra, dec, site_of(OPTICAM_MX))
    mjd, bmjd = clock.times(meta, np.zeros((5, 9)))
    assert (mjd == meta["MJD"][:, None]).all()
    for i in range(5):
        for k in range(8):
            day, rest = astropys_own(meta["MJD"][i], 0.0, ra[k], dec[k])
            assert abs((bmjd[i, k] - day) - rest) * DAY_US < 0.35  # half a step of a float64 MJD
    assert (bmjd[:, 8] == meta["BMJD"]).all()
    assert 0.1 < np.ptp(bmjd[:, :8], axis=1).max() * 86400 < 0.7
    one = barycentric_mjd(meta["MJD"], np.full(5, ra[0]), np.full(5, dec[0]), OPTICAM_MX)
    assert np.abs(bmjd[:, 0] - one).max() <= np.spacing(60310.0)


@pytest.mark.parametrize("readout", ["centre-out", "bottom-up", "top-down"])
def test_rows_are_later_and_the_earth_moves_on_meanwhile(readout):
    meta, (ra, dec) = frames(), field()
    clock = SourceClock(ra, dec, site_of(OPTICAM_MX), rolling(readout, row_delay_s=1e-3))
    y = np.random.default_rng(2).uniform(-3, 1027, (5, 9))
    mjd, bmjd = clock.times(meta, y)
    delay = clock.shutter.delay_s(y)
    assert delay.max() > 0.5
    np.testing.assert_allclose((mjd - meta["MJD"][:, None]) * 86400, delay, atol=1e-6)
    for i in range(5):
        for k in range(8):
            day, rest = astropys_own(meta["MJD"][i], delay[i, k], ra[k], dec[k])
            assert abs((bmjd[i, k] - day) - rest) * DAY_US < 0.4
    np.testing.assert_allclose((bmjd[:, 8] - meta["BMJD"]) * 86400, delay[:, 8], atol=1e-6)


def test_delays_of_rows():
    up = rolling()
    np.testing.assert_allclose(up.delay_s([0, 1, 1023]) / ZYLA_S, [0.5, 2.5, 2046.5])
    np.testing.assert_allclose(rolling("top-down").delay_s([0, 1023]) / ZYLA_S, [2046.5, 0.5])
    out = rolling("centre-out")
    # Binned by two, the rows beside the middle are both read as first and second row of their half.
    np.testing.assert_allclose(out.delay_s([511, 512, 0, 1023]) / ZYLA_S, [0.5, 0.5, 1022.5, 1022.5])
    assert out.longest_s == pytest.approx(24.95e-3, abs=1e-5)  # centre to edge of the detector
    single = rolling("centre-out", rows=5, binning_rows=1)
    np.testing.assert_allclose(single.delay_s([0, 1, 2, 3, 4]) / ZYLA_S, [1.5, 0.5, 0, 0.5, 1.5])
    # Beyond the frame it is the edge; where nothing was measured it is the row read first.
    np.testing.assert_allclose(up.delay_s([-50.0, 2000.0, np.nan]) / ZYLA_S, [0.5, 2046.5, 0.0])
    np.testing.assert_array_equal(up.delay_s(np.zeros((2, 3, 4))).shape, (2, 3, 4))


def test_a_region_of_interest_off_the_centre():
    above = rolling("centre-out", rows=100, binning_rows=1, centre_row=-200.0)
    np.testing.assert_allclose(above.delay_s([0, 99]) / ZYLA_S, [0, 99])
    below = rolling("centre-out", rows=100, binning_rows=1, centre_row=300.0)
    np.testing.assert_allclose(below.delay_s([0, 99]) / ZYLA_S, [99, 0])
    inside = rolling("centre-out", rows=100, binning_rows=1, centre_row=20.0)
    np.testing.assert_allclose(inside.delay_s([19, 20, 0, 99]) / ZYLA_S, [0, 0, 19, 79])


def test_a_source_drifting_across_rows_shows_exactly_the_delay():
    # A signal of 0.5 Hz, sampled at the true times of the rows; the times of frames shift its phase.
    meta = frames(2000, step_s=0.1)
    y = np.linspace(0, 1023, 2000)[:, None]
    clock = SourceClock(np.full(1, np.nan), np.full(1, np.nan), None, rolling(row_delay_s=ZYLA_S * 10))
    mjd, _ = clock.times(meta, y)
    seconds = (mjd[:, 0] - meta["MJD"][0]) * 86400
    frame_seconds = (meta["MJD"] - meta["MJD"][0]) * 86400
    slope, start = np.polyfit(y[:, 0], seconds - frame_seconds, 1)
    assert slope == pytest.approx(2 * 10 * ZYLA_S, rel=1e-5)
    assert start == pytest.approx(0.5 * 10 * ZYLA_S, abs=1e-6)
    truth = frame_seconds + (2 * y[:, 0] + 0.5) * 10 * ZYLA_S
    signal = np.sin(np.pi * truth)
    assert np.abs(signal - np.sin(np.pi * seconds)).max() < 1e-5
    assert np.abs(signal - np.sin(np.pi * frame_seconds)).max() > 0.5


def test_flags_about_the_pointing_do_not_hold_for_located_sources():
    flags = np.array([int(Flag.POINTING_BARYCENTRE | Flag.BAD_TIME), int(Flag.NO_BARYCENTRE)], np.int32)
    clock = SourceClock(np.array([1.0, np.nan]), np.array([2.0, 3.0]))
    spread = clock.flags(flags)
    assert spread.dtype == np.int32
    assert spread.tolist() == [[int(Flag.BAD_TIME), flags[0]], [0, flags[1]]]


def test_frames_without_a_time_or_coordinates_stay_without():
    meta, (ra, dec) = frames(3), field()
    meta["MJD"][1] = meta["BMJD"][1] = np.nan
    meta["BMJD"][2] = np.nan
    mjd, bmjd = SourceClock(ra, dec, site_of(OPTICAM_MX)).times(meta, np.zeros((3, 9)))
    assert np.isnan(mjd).sum() == 9
    assert np.isnan(bmjd[1]).all()
    assert np.isfinite(bmjd[2]).tolist() == [True] * 8 + [False]
    none = SourceClock(np.empty(0), np.empty(0)).times(meta, np.zeros((3, 0)))
    assert none[0].shape == none[1].shape == (3, 0)


def test_a_clock_without_coordinates_or_rows_is_that_of_the_frames():
    clock = SourceClock.of_camera(OPTICAM_MX, "1:g", 512, "4x4", NOWHERE, NOWHERE)
    assert not clock.located.any()
    meta = frames()
    for found, name in zip(clock.times(meta, np.zeros((5, 3))), ("MJD", "BMJD"), strict=True):
        assert (found == meta[name][:, None]).all()
    camera = CameraSpec(name="a", row_delay_s=ZYLA_S)
    other = SourceClock.of_camera(Instrument(cameras=(camera,)), "a:g", 512, "4x4", NOWHERE, NOWHERE)
    assert other.shutter.binning_rows == 4
    assert SourceClock.of_camera(GENERIC, "elsewhere:g", 5, "", NOWHERE, NOWHERE).shutter is None


def test_times_do_not_depend_on_the_block(tmp_path):
    meta, (ra, dec) = frames(23, step_s=31.0), field()
    clock = SourceClock(ra, dec, site_of(OPTICAM_MX), rolling("centre-out"))
    far = pickle.loads(pickle.dumps(clock))
    assert len(pickle.dumps(clock)) < 2000
    y = np.random.default_rng(4).uniform(0, 1023, (23, 9))
    whole = np.stack(clock.times(meta, y))
    for size in (1, 4, 9):
        cuts = [slice(start, start + size) for start in range(0, 23, size)]
        parts = np.concatenate([np.stack(far.times(meta[cut], y[cut])) for cut in cuts], axis=1)
        assert parts.tobytes() == whole.tobytes()


def test_a_block_costs_milliseconds():
    meta = frames(256, step_s=1.0)
    ra, dec = field(200)
    clock = SourceClock(ra, dec, site_of(OPTICAM_MX), rolling("centre-out"))
    y = np.full((256, 200), 300.0)
    clock.times(meta, y)
    start = time.perf_counter()
    for _ in range(3):
        clock.times(meta, y)
    assert (time.perf_counter() - start) / 3 < 0.25
