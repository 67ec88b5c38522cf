"""Instruments: values refused, files read, and what `check` says of a header."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from dask.base import tokenize

from opticam_dask.errors import FrameReadError, InstrumentError
from opticam_dask.instrument import GENERIC, OPTICAM_MX, CameraSpec, Instrument, get_instrument
from opticam_dask.instrument.names import safe_name

DATA = Path(__file__).parents[2] / ".." / "shared" / "data"


def write(path, **keywords):
    hdu = fits.PrimaryHDU(np.zeros((3, 5), "i2"))
    for keyword, value in keywords.items():
        hdu.header[keyword.replace("_", "-")] = value
    hdu.writeto(path)
    return path


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"longitude_deg": 10.0}, "together"),
        ({"longitude_deg": "10", "latitude_deg": 1.0}, "longitude_deg must be a number"),
        (
            {"longitude_deg": 10.0, "latitude_deg": 91.0},
            "latitude_deg must be a number at least -90 and at most 90",
        ),
        ({"longitude_deg": float("nan"), "latitude_deg": 1.0}, "longitude_deg"),
        ({"diameter_m": 0.0}, "diameter_m must be a number above 0"),
        ({"time_convention": "begin"}, "'start', 'middle', 'end', not 'begin'"),
        ({"longitude_sign": "W"}, "longitude_sign"),
        ({"ra_unit": "radian"}, "ra_unit"),
        ({"camera_from": "name"}, "camera_from"),
        ({"keywords": {"exposures": "EXPTIME"}}, "unknown role 'exposures'"),
        ({"keywords": {"exposure": (3,)}}, "must list header keywords"),
        ({"keywords": "EXPTIME"}, "keywords must be a table"),
        ({"fixed": {"gain": True}}, "fixed: gain"),
        ({"fixed": {"gain": "two"}}, "fixed: gain must be a number at least 0, not 'two'"),
        ({"fixed": {"exposure": float("nan")}}, "fixed: exposure must be a number"),
        ({"cameras": ()}, "at least one"),
        (
            {"cameras": (CameraSpec(name="1", filters=("g",)), CameraSpec(name="1", filters=("r",)))},
            "own name",
        ),
        (
            {"cameras": (CameraSpec(name="1", filters=("g",)), CameraSpec(name="2", filters=("g",)))},
            "filters g",
        ),
        ({"cameras": (CameraSpec(name="1"), CameraSpec(name="2", filters=("g",)))}, "needs filters"),
        ({"camera_from": "serial"}, "needs serials"),
        ({"camera_from": "keyword", "keywords": {"camera": ()}}, "role camera"),
        ({"trust_airmass": True, "keywords": {"airmass": ()}}, "role airmass"),
        ({"cameras": [{"name": "1", "colour": "g"}]}, "unknown key colour"),
        ({"cameras": [{"filters": ["g"]}]}, "no name"),
        ({"cameras": ["1"]}, "CameraSpec or tables"),
        ({"cameras": 3}, "cameras must be a list of tables"),
        ({"cameras": {"name": "1"}}, "cameras must be a list of tables"),
        ({"keywords": 3}, "keywords must be a table"),
        ({"fixed": ["gain"]}, "fixed must be a table"),
        ({"placeholders": "0"}, "placeholders must be a table"),
        ({"name": 3}, "name must be a text"),
        ({"name": ""}, "name must be a text"),
    ],
)
def test_contradictions_are_refused_and_named(values, says):
    with pytest.raises(InstrumentError, match=says):
        Instrument(**values)
    with pytest.raises(InstrumentError, match=says):
        Instrument()(**values)


@pytest.mark.parametrize(
    "values",
    [
        {"name": "../1"},
        {"name": "1", "gain": 0},
        {"name": "1", "read_noise": -1},
        {"name": "1", "filters": (1,)},
        {"name": "1", "filters": 1},
        {"name": "1", "row_delay_s": -1e-6},
        {"name": "1", "row_delay_s": 24.0},
        {"name": "1", "row_delay_s": "24 us"},
        {"name": "1", "row_delay_s": 24e-6, "readout": "sideways"},
        {"name": "1", "row_delay_s": 24e-6, "centre_row": "middle"},
    ],
)
def test_cameras_are_validated(values):
    with pytest.raises(InstrumentError):
        CameraSpec(**values)


def test_calling_gives_a_changed_copy_with_mappings_merged():
    changed = OPTICAM_MX(time_convention="middle", fixed={"gain": 0.45}, keywords={"gain": ()})
    assert changed.time_convention == "middle"
    assert changed.keywords_of("gain") == ()
    assert changed.keywords_of("exposure") == ("EXPOSURE",)
    assert OPTICAM_MX.time_convention == "start"
    assert OPTICAM_MX.keywords_of("gain") == ("GAIN",)
    assert OPTICAM_MX() == OPTICAM_MX
    with pytest.raises(InstrumentError, match="unknown key colour"):
        OPTICAM_MX(colour="red")
    with pytest.raises(AttributeError):
        OPTICAM_MX.name = "other"


def test_round_trips():
    for instrument in (OPTICAM_MX, GENERIC):
        plain = json.loads(json.dumps(instrument.to_dict()))
        assert Instrument.from_dict(plain) == instrument
        assert pickle.loads(pickle.dumps(instrument)) == instrument
        assert hash(instrument) == hash(instrument())
    assert tokenize(OPTICAM_MX) == tokenize(OPTICAM_MX())
    assert tokenize(OPTICAM_MX) != tokenize(OPTICAM_MX(fixed={"gain": 2.0}))


def test_west_longitudes_are_turned():
    west = Instrument(longitude_deg=115.463611, latitude_deg=31.0, longitude_sign="west")
    assert west.east_longitude_deg == pytest.approx(-115.463611)
    assert not GENERIC.has_site


TOML = """
name = "Two-colour camera"
longitude_deg = 18.5
longitude_sign = "west"
latitude_deg = 28.8
height_m = 2396
time_convention = "end"
ra_unit = "deg"

[keywords]
exposure = "ITIME"
filter = ["FILT", "FILTER"]

[fixed]
gain = 1.7

[placeholders]
RA = ["none", 0.0]

[[cameras]]
name = "blue"
filters = ["g"]
pixel_scale = 0.3

[[cameras]]
name = "red"
filters = ["i"]
read_noise = 5.0
"""


def test_toml_and_json_say_the_same(tmp_path):
    (tmp_path / "camera.toml").write_text(TOML)
    instrument = Instrument.from_file(tmp_path / "camera.toml")
    assert instrument.keywords_of("exposure") == ("ITIME",)
    assert instrument.camera("red:i").read_noise == 5.0
    assert instrument.east_longitude_deg == -18.5
    (tmp_path / "camera.json").write_text(json.dumps(instrument.to_dict()))
    assert (
        Instrument.from_file(tmp_path / "camera.json")
        == instrument
        == get_instrument(tmp_path / "camera.json")
    )


def test_a_file_may_start_from_a_built_in_instrument(tmp_path):
    (tmp_path / "mine.toml").write_text('base = "OPTICAM_MX"\n[fixed]\nread_noise = 1.3\n')
    instrument = Instrument.from_file(str(tmp_path / "mine.toml"))
    assert instrument == OPTICAM_MX(fixed={"read_noise": 1.3})
    assert get_instrument("opticam-mx") is OPTICAM_MX


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.toml", "colour = 1", "unknown key colour"),
        ("a.toml", "name = ", "not valid TOML"),
        ("a.json", "[1]", "must hold a table"),
        ("a.json", "{", "not valid JSON"),
        ("a.yaml", "name: a", ".toml or .json"),
        ("a.toml", 'base = "KECK"', "'KECK' is unknown"),
        ("a.toml", "[fixed]\ncolour = 1", "unknown role 'colour'"),
    ],
)
def test_errors_name_the_file_and_the_key(tmp_path, name, text, says):
    (tmp_path / name).write_text(text)
    with pytest.raises(InstrumentError, match=says) as caught:
        Instrument.from_file(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_instrument_files_are_told(tmp_path):
    with pytest.raises(InstrumentError, match="cannot be read"):
        Instrument.from_file(tmp_path / "none.toml")
    with pytest.raises(InstrumentError, match="neither a file nor a built-in"):
        get_instrument(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("g", "g"),
        (" g' ", "g'"),
        ("Bessell V", "Bessell_V"),
        ("H-alpha", "H-alpha"),
        ("f/7", ""),
        ("../../x", ""),
        ("..", ""),
        ("", ""),
        (".g", ""),
        ("a" * 33, ""),
        ("a\\b", ""),
        ("a\0b", ""),
        ("1:g", ""),
        ("x..y", ""),
    ],
)
def test_names_never_become_paths(text, name):
    assert safe_name(text) == name


def test_check_tells_found_assumed_and_missing(tmp_path):
    file = write(tmp_path / "a.fits", EXPTIME=2.0, DATE_OBS="2024-01-01T00:00:00.25", GAIN=3.0)
    check = GENERIC.check(file)
    status = {role.role: role.status for role in check.roles}
    assert check.ok
    assert status["exposure"] == status["time"] == status["gain"] == "found"
    assert status["filter"] == "assumed"
    assert status["read_noise"] == status["site"] == status["ra, dec"] == "missing"
    assert status["airmass"] == "missing"
    assert "NaN without site and coordinates" in str(check)
    assert "DATE-OBS = 2024-01-01T00:00:00.25 UTC, the start" in str(check)
    assert "target='hh:mm:ss dd:mm:ss'" in str(check)
    assert str(check).endswith("The file can be used.")


def test_check_says_how_to_give_what_is_missing(tmp_path):
    check = OPTICAM_MX.check(write(tmp_path / "a.fits", EXPTIME=2.0))
    assert not check.ok
    assert check.missing == ("exposure", "time", "filter", "camera")
    assert "missing EXPOSURE; give it with fixed={'exposure': ...}" in str(check)
    assert "cannot be used: missing exposure, time, filter, camera" in str(check)


def test_check_of_a_calibration_frame_and_of_no_image(tmp_path):
    flat = write(tmp_path / "flat.fits", IMGTYPE="flat", EXPOSURE=1.0, UT="2024-01-01 00:00:00", FILTER="g")
    assert OPTICAM_MX.check(flat).missing == ("image_type",)
    fits.PrimaryHDU().writeto(tmp_path / "empty.fits")
    with pytest.raises(FrameReadError, match="no image"):
        OPTICAM_MX.check(tmp_path / "empty.fits")


def test_check_of_the_real_frame_names_its_traps():
    file = DATA / "opticam_g_20231122.fit"
    if not file.is_file():
        pytest.skip("the real OPTICAM frame is not here")
    text = str(OPTICAM_MX.check(file))
    assert "read noise 2.2 electron from the instrument" in text  # 1.1 per pixel, 2x2 binned digitally
    for trap in (
        "BZERO 32768",
        "RA '0', DEC '31'",
        "UT ends in a blank",
        "INSTRUME 'OPTICAM'",
        "AIRMASS",
        "no WCS",
    ):
        assert trap in text


ROLLING = """
base = "OPTICAM_MX"
[[cameras]]
name = "1"
filters = ["g"]
row_delay_s = 24.4e-6
readout = "centre-out"
centre_row = 1000
"""


def test_a_rolling_shutter_in_files_and_checks(tmp_path):
    (tmp_path / "rolling.toml").write_text(ROLLING)
    instrument = Instrument.from_file(tmp_path / "rolling.toml")
    assert Instrument.from_dict(json.loads(json.dumps(instrument.to_dict()))) == instrument
    shutter = instrument.camera("1:g").rolling_shutter(512, "4x2")
    assert (shutter.row_delay_s, shutter.rows, shutter.binning_rows, shutter.centre_row) == (
        *(24.4e-6, 512, 2),
        1000,
    )
    file = write(tmp_path / "a.fits", EXPOSURE=1.0, UT="2024-01-01 00:00:00", FILTER="g", BINNING="1x1")
    assert "24.4 us from row to row, centre-out: the last 0.0488 ms after the first" in str(
        instrument.check(file)
    )
    plain = str(OPTICAM_MX.check(file))
    assert "none: every row at the frame's time" in plain
    assert OPTICAM_MX.camera("1").rolling_shutter(512, "4x4") is None
    assert CameraSpec(name="1", row_delay_s=0.0).rolling_shutter(512, "4x4") is None
