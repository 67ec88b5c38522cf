"""Time stamps of every kind, mid-exposure times, barycentric times and airmasses against astropy."""

import socket
import warnings
from concurrent.futures import ThreadPoolExecutor

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import AltAz, EarthLocation, SkyCoord, get_body_barycentric
from astropy.io import fits
from astropy.time import Time
from astropy.utils import iers
from hypothesis import given, settings
from hypothesis import strategies as st

from opticam_dask.errors import HeaderError, InputError
from opticam_dask.instrument import GENERIC, OPTICAM_MX, Instrument
from opticam_dask.io.barycentre import airmass, barycentric_mjd, barycentric_parts
from opticam_dask.io.containers import read_headers
from opticam_dask.io.coordinates import as_target, pointing
from opticam_dask.io.header_view import HeaderView
from opticam_dask.io.times import is_whole_second, mid_exposure_mjd, offline_tables, read_stamp

MS = 1e-3 / 86400


@pytest.fixture
def view(tmp_path):
    def make(instrument=OPTICAM_MX, **keywords):
        hdu = fits.PrimaryHDU(np.zeros((2, 3), "i2"))
        for keyword, value in keywords.items():
            hdu.header[keyword.replace("_", "-")] = value
        hdu.writeto(tmp_path / "a.fits", overwrite=True)
        first = read_headers(tmp_path / "a.fits")[0]
        return HeaderView(first, first, instrument)

    return make


@pytest.mark.parametrize(
    ("keywords", "iso", "keyword"),
    [
        ({"UT": "2023-11-22 03:02:49.250 "}, "2023-11-22T03:02:49.250", "UT"),
        ({"UT": "2024-01-01 00:00:00"}, "2024-01-01T00:00:00.0", "UT"),
        (
            {"UT": "03:02:49.123456789", "DATE_OBS": "2023-11-22"},
            "2023-11-22T03:02:49.123456789",
            "DATE-OBS+UT",
        ),
        ({"UT": "3:2:9.5", "DATE_OBS": "2023-11-22T01:00:00"}, "2023-11-22T03:02:09.5", "DATE-OBS+UT"),
        ({"UT": "03:02:49", "DATE_OBS": "22/11/98"}, "1998-11-22T03:02:49.0", "DATE-OBS+UT"),
        ({"GPSTIME": "2023-11-22 03:02:49.5 GPSD"}, "2023-11-22T03:02:49.5", "GPSTIME"),
        (
            {"GPSTIME": "2023-11-22T03:02:49.5", "UT": "2020-01-01 00:00:00"},
            "2023-11-22T03:02:49.5",
            "GPSTIME",
        ),
        ({"GPSTIME": "no fix", "UT": "2020-01-01 00:00:00"}, "2020-01-01T00:00:00.0", "UT"),
        ({"DATE_OBS": "2023-11-22T03:02:49.75Z"}, "2023-11-22T03:02:49.75", "DATE-OBS"),
        ({"UT": "", "DATE_OBS": "2023/11/22 03:02:49"}, "2023-11-22T03:02:49.0", "DATE-OBS"),
        ({"MJD_OBS": 60270.5}, "MJD 60270.5", "MJD-OBS"),
        ({"UT": "2016-12-31 23:59:60.5"}, "2016-12-31T23:59:60.5", "UT"),
    ],
)
def test_stamps_of_every_kind_keep_their_digits(view, keywords, iso, keyword):
    stamp = read_stamp(view(**keywords))
    assert (stamp.iso, stamp.keyword) == (iso, keyword)


@pytest.mark.parametrize(
    ("keywords", "says"),
    [
        ({}, "missing time stamp: none of GPSTIME, UT, MJD-OBS, MJD-BEG is given"),
        ({"UT": "yesterday"}, "UT 'yesterday' is no date and time"),
        ({"UT": "2024-02-30 00:00:00"}, "UT '2024-02-30 00:00:00' is no date and time"),
        ({"UT": "2024-02-03 24:00:00"}, "no time of day"),
        ({"UT": "03:02:49"}, "has no date"),
        ({"DATE_OBS": "2024-01-01"}, "missing time stamp"),
        ({"UT": 3.5}, "UT 3.5 is no date and time"),
        ({"MJD_OBS": 0.0}, "missing time stamp"),
        ({"MJD_OBS": 2460310.5}, "MJD-OBS 2460310.5 is no Modified Julian Date"),
        ({"MJD_OBS": 1e300}, "is no Modified Julian Date"),
        ({"UT": "0001-01-01 00:00:00"}, "not in the years"),
        ({"UT": "9999-01-01 00:00:00"}, "not in the years"),
    ],
)
def test_stamps_that_are_none_are_told(view, keywords, says):
    with pytest.raises(HeaderError, match=says):
        read_stamp(view(**keywords))


def test_a_date_may_be_fixed(view):
    instrument = OPTICAM_MX(fixed={"date": "2023-11-22"})
    assert read_stamp(view(instrument, UT="03:02:49.5")).iso == "2023-11-22T03:02:49.5"


def test_conventions_differ_by_half_an_exposure():
    stamps, exposure, offset = ["2024-01-01T00:00:00.0"] * 2, [10.0, 20.0], [0.0, 100.0]
    middle = mid_exposure_mjd(stamps, exposure, offset, "middle")
    np.testing.assert_allclose(middle, 60310 + np.array([0, 100]) / 86400, rtol=0, atol=1e-11)
    start, end = (mid_exposure_mjd(stamps, exposure, offset, way) for way in ("start", "end"))
    np.testing.assert_allclose((start - middle) * 86400, [5, 10], atol=1e-6)
    np.testing.assert_allclose((end - middle) * 86400, [-5, -10], atol=1e-6)
    assert mid_exposure_mjd([], [], [], "start").shape == (0,)


def test_leap_seconds_count():
    # 10 s after 23:59:55 on a day of 86401 s it is 00:00:04.
    mid = mid_exposure_mjd(["2016-12-31T23:59:55.0"], [20.0], [0.0], "start")
    assert mid[0] == pytest.approx(57754 + 4 / 86400, abs=1e-11)


def test_stamps_in_mjd_mix_with_others():
    mid = mid_exposure_mjd(["MJD 60310.25", "2024-01-01T12:00:00.0"], [0.0, 0.0], [0.0, 0.0], "start")
    np.testing.assert_array_equal(mid, [60310.25, 60310.5])


@given(st.integers(0, 10**9 - 1), st.integers(50_000, 65_000))
@settings(max_examples=30, deadline=None)
def test_fractions_survive(nanoseconds, day):
    date = np.datetime64("1858-11-17") + np.timedelta64(day, "D")
    mid = mid_exposure_mjd([f"{date}T12:34:56.{nanoseconds:09d}"], [0.0], [0.0], "start")
    expected = day + (45296 + nanoseconds * 1e-9) / 86400
    assert abs(mid[0] - expected) <= 1.5e-11  # two steps of a float64 MJD, 1.3 microseconds


@pytest.mark.parametrize(
    ("stamp", "whole"),
    [
        ("2024-01-01T00:00:00.0", True),
        ("2024-01-01T00:00:00.000", True),
        ("2024-01-01T00:00:00.010", False),
        ("MJD 6.0", False),
    ],
)
def test_whole_seconds(stamp, whole):
    assert is_whole_second(stamp) is whole


def test_first_tutorial_frame():
    mid = mid_exposure_mjd(["2024-01-01T00:00:00.0"], [1.0], [0.0], "start")
    assert f"{barycentric_mjd(mid, [0.0], [0.0], OPTICAM_MX)[0]:.6f}" == "60309.999803"
    start = mid_exposure_mjd(["2024-01-01T00:00:00.0"], [1.0], [0.0], "middle")
    assert f"{barycentric_mjd(start, [0.0], [0.0], OPTICAM_MX)[0]:.6f}" == "60309.999797"


@pytest.fixture(scope="module")
def sky():
    rng = np.random.default_rng(7)
    mjd = rng.uniform(56000, 61000, 200)
    return mjd, rng.uniform(0, 360, 200), np.degrees(np.arcsin(rng.uniform(-1, 1, 200)))


LOCATION = EarthLocation.from_geodetic(-115.463611 * u.deg, 31.044167 * u.deg, 2790 * u.m)


def astropys_own(mjd, ra, dec, place=LOCATION):
    """TDB plus light travel time as a user of astropy computes them, MJD in two parts [d]."""
    time = Time(mjd, format="mjd", scale="utc", location=place)
    star = SkyCoord(ra, dec, unit="deg")
    result = time.tdb + time.light_travel_time(star, ephemeris="builtin")
    return result.jd1 - 2400000.5, result.jd2


def microseconds(ours, theirs):
    """Difference of times in two parts, free of the 0.63 us steps of a float64 MJD."""
    return ((ours[0] - theirs[0]) + (ours[1] - theirs[1])) * 86400e6


def test_barycentric_times_are_those_of_astropy_for_a_thousand_sources():
    rng = np.random.default_rng(20)
    mjd, ra = rng.uniform(57023.0, 62867.0, 1000), rng.uniform(0, 360, 1000)  # 2015 to 2030
    dec = np.degrees(np.arcsin(rng.uniform(-1, 1, 1000)))
    ours = barycentric_parts(mjd, ra, dec, OPTICAM_MX)
    # astropy's own choice of tables, not ours
    with (
        iers.conf.set_temp("auto_download", False),
        iers.conf.set_temp("auto_max_age", None),
        iers.conf.set_temp("iers_degraded_accuracy", "ignore"),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        at_once = astropys_own(mjd, ra, dec)
        one_by_one = np.transpose([astropys_own(*one) for one in zip(mjd[:50], ra, dec, strict=False)])
    assert np.abs(microseconds(ours, at_once)).max() < 0.01
    assert np.abs(microseconds([part[:50] for part in ours], one_by_one)).max() < 0.01
    stored = barycentric_mjd(mjd, ra, dec, OPTICAM_MX)
    assert np.abs(stored - (ours[0] + ours[1])).max() == 0
    assert np.spacing(stored).max() * 86400e6 < 0.63  # what a float64 MJD can hold [us]
    # The plain sum of the Earth's place and the observer's is another convention, up to 2 us away.
    with offline_tables():
        time = Time(mjd, format="mjd", scale="utc", location=LOCATION)
        place = get_body_barycentric("earth", time, ephemeris="builtin") + LOCATION.get_gcrs_posvel(time)[0]
        star = SkyCoord(ra, dec, unit="deg").cartesian
        direct = time.tdb + place.dot(star) / (299792458 * u.m / u.s)
    apart = np.abs(microseconds(ours, (direct.jd1 - 2400000.5, direct.jd2)))
    assert 1.0 < apart.max() < 2.5


@pytest.mark.parametrize("mjd", [54832.0, 57203.99999, 57753.9999999, 57754.0, 64500.0, 70000.0])
def test_leap_seconds_and_dates_beyond_the_tables_are_astropys(mjd):
    times = mjd + np.array([-1.0, 0.0, 5e-6, 1e-5, 0.5])
    ours = barycentric_parts(times, np.full(5, 83.6), np.full(5, 22.0), OPTICAM_MX)
    with offline_tables():
        theirs = astropys_own(times, np.full(5, 83.6), np.full(5, 22.0))
    assert np.abs(microseconds(ours, theirs)).max() < 0.01


def test_time_runs_on_through_a_leap_second():
    stamps = [f"2016-12-31T23:59:{second}" for second in ("58.5", "59.5", "60.0", "60.5")]
    stamps += ["2017-01-01T00:00:00.0", "2017-01-01T00:00:00.5"]
    mid = mid_exposure_mjd(stamps, np.full(6, 0.1), np.zeros(6), "middle")
    assert (np.diff(mid) > 0).all()
    assert mid[3] < 57754 == mid[4]
    star = np.full(6, 83.6), np.full(6, 22.0)
    steps = np.diff(np.sum(barycentric_parts(mid, *star, OPTICAM_MX), axis=0)) * 86400
    np.testing.assert_allclose(steps, [1.0, 0.5, 0.5, 0.5, 0.5], atol=2e-4)  # but for the Earth's speed


def test_threads_do_not_lose_each_others_settings():
    before = iers.conf.auto_download, iers.conf.auto_max_age
    seen = []

    def work(k):
        for step in range(5):
            with offline_tables():
                seen.append(iers.conf.auto_download)
                barycentric_mjd([60000.0 + k + step / 7], [10.0], [20.0], OPTICAM_MX)
                seen.append(iers.conf.auto_download)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert len(seen) == 40
    assert not any(seen)
    assert (iers.conf.auto_download, iers.conf.auto_max_age) == before


def test_a_time_does_not_depend_on_the_others(sky):
    mjd, ra, dec = sky
    whole = barycentric_mjd(mjd, ra, dec, OPTICAM_MX)
    parts = [
        barycentric_mjd(mjd[i : i + 7], ra[i : i + 7], dec[i : i + 7], OPTICAM_MX) for i in range(0, 200, 7)
    ]
    assert np.concatenate(parts).tobytes() == whole.tobytes()


def test_without_coordinates_it_is_nan():
    times = barycentric_mjd([60000.0, np.nan, 60000.0], [np.nan, 1.0, 1.0], [1.0, 1.0, 1.0], OPTICAM_MX)
    assert np.isnan(times).tolist() == [True, True, False]
    assert np.isnan(barycentric_mjd([60000.0], [np.nan], [np.nan], OPTICAM_MX)).all()


def test_without_a_site_it_is_the_earths_centre(sky):
    mjd, ra, dec = sky
    apart = (barycentric_mjd(mjd, ra, dec, GENERIC) - barycentric_mjd(mjd, ra, dec, OPTICAM_MX)) * 86400
    assert 5e-3 < np.abs(apart).max() < 21.5e-3
    assert np.isnan(airmass(mjd, ra, dec, GENERIC)).all()


def kasten_young(true_altitude):
    """Airmass by another formula (Kasten & Young 1989), of the altitude refracted as by Saemundsson."""
    refraction = 1.02 / np.tan(np.radians(true_altitude + 10.3 / (true_altitude + 5.11))) / 60
    seen = true_altitude + refraction
    return 1 / (np.sin(np.radians(seen)) + 0.50572 * (seen + 6.07995) ** -1.6364)


def test_airmass_agrees_with_altaz(sky):
    mjd, ra, dec = sky
    mine = airmass(mjd, ra, dec, OPTICAM_MX)
    with offline_tables():
        frame = AltAz(obstime=Time(mjd, format="mjd", scale="utc"), location=LOCATION)
        altitude = SkyCoord(ra, dec, unit="deg").transform_to(frame).alt.deg
    high = altitude > 30
    assert high.sum() > 20
    np.testing.assert_allclose(mine[high], kasten_young(altitude[high]), rtol=1e-3)
    assert np.isnan(mine[altitude < -0.1]).all()
    assert (mine[altitude > 0.1] >= 0.999).all()
    low = (altitude > 0.1) & (altitude < 15)
    assert (mine[low] < 1 / np.sin(np.radians(altitude[low]))).all()  # the atmosphere is curved
    assert mine[altitude > 0.1].max() < 40


@pytest.mark.parametrize("mjd", [30000.0, 40000.0, 65000.0, 90000.0])
def test_no_date_fails_or_asks_the_network(mjd, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert abs(barycentric_mjd([mjd], [10.0], [20.0], OPTICAM_MX)[0] - mjd) < 0.01
    airmass([mjd], [10.0], [20.0], OPTICAM_MX)


@pytest.mark.parametrize(
    ("text", "ra", "dec"),
    [
        ("12:30:00 -00:30:00", 187.5, -0.5),
        ("12 30 00.0 +45 06 36", 187.5, 45.11),
        ("12h30m00s -45d06m36s", 187.5, -45.11),
        ("187.5, -0.5", 187.5, -0.5),
    ],
)
def test_targets(text, ra, dec):
    star = as_target(text)
    assert (star.ra.deg, star.dec.deg) == pytest.approx((ra, dec), abs=1e-9)
    assert as_target(star) is star
    assert as_target(None) is None


@pytest.mark.parametrize(
    "target", ["Sirius", "", "12:30:00", "400 10", "10 100", "1 2 3", "nan 2", SkyCoord([1], [2], unit="deg")]
)
def test_targets_that_are_none(target):
    with pytest.raises(InputError, match="target"):
        as_target(target)


@pytest.mark.parametrize(
    ("instrument", "ra", "dec", "expected"),
    [
        (OPTICAM_MX, "0", "31", None),
        (OPTICAM_MX, 0.0, 0.0, (0.0, 0.0)),
        (OPTICAM_MX, "01:30:00", "-00:30:00", (22.5, -0.5)),
        (OPTICAM_MX, 1.5, 20.0, (22.5, 20.0)),
        (OPTICAM_MX, 22.5, 20.0, (337.5, 20.0)),
        (GENERIC, 22.5, 20.0, (22.5, 20.0)),
        (GENERIC, "01 30 00", "+20 00 00", (22.5, 20.0)),
        (OPTICAM_MX, 30.0, 0.0, None),
        (GENERIC, "unknown", "0", None),
        (GENERIC, 10.0, 95.0, None),
    ],
)
def test_pointings(view, instrument, ra, dec, expected):
    found = pointing(view(instrument, RA=ra, DEC=dec))
    if expected is None:
        assert np.isnan(found[:2]).all()
    else:
        assert found == (*map(pytest.approx, expected), "")


def test_placeholders_are_text_or_numbers_as_given(view):
    instrument = Instrument(placeholders={"RA": (0.0,)})
    assert np.isnan(pointing(view(instrument, RA=0.0, DEC=0.0))[0])
    assert pointing(view(instrument, RA="0", DEC=0.0))[0] == 0.0
