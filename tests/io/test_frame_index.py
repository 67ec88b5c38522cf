"""The frame index: every kind of file, bad ones included, and what a second scan reads."""

import bz2
import gzip
import itertools
import pickle
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from astropy.io import fits

from opticam_dask.errors import InputError
from opticam_dask.instrument import GENERIC, OPTICAM_MX, CameraSpec, Instrument
from opticam_dask.io.frame_files import find_files, is_fits_name
from opticam_dask.io.frame_index import accepted, read_frames, scan, write_frames
from opticam_dask.io.headers import RECORDS, HeaderScanner, scan_headers
from opticam_dask.schema import FRAMES, Flag

DATA = Path(__file__).parents[2] / ".." / "shared" / "data"
SECOND = 1 / 86400


def header(**keywords):
    values = {"EXPOSURE": 1.0, "FILTER": "g", "BINNING": "4x4", "GAIN": 1.0, "RA": 0.0, "DEC": 0.0}
    values |= {"UT": "2024-01-01 00:00:00.5"} | keywords
    return fits.Header({name: value for name, value in values.items() if value is not None})


def write(path, shape=(5, 7), data=None, **keywords):
    data = np.zeros(shape, "i2") if data is None else data
    fits.PrimaryHDU(data, header(**keywords)).writeto(path)
    return path


def night(folder, n=3, filters="gri", **keywords):
    folder.mkdir(exist_ok=True)
    for number, name in itertools.product(range(n), filters):
        write(folder / f"{name}{number}.fits", FILTER=name, UT=f"2024-01-01 00:00:{number:02d}.5", **keywords)
    return folder


def reasons(frames):
    bad = frames[frames["status"] == "rejected"]
    return dict(zip(bad["path"].map(lambda path: Path(path).name), bad["reason"], strict=True))


def test_a_night_of_three_cameras(tmp_path):
    frames = scan(night(tmp_path / "n"))
    assert list(frames.columns) == FRAMES.names
    assert frames["camera"].tolist() == ["1:g"] * 3 + ["2:r"] * 3 + ["3:i"] * 3
    assert frames["frame"].tolist() == [0, 1, 2] * 3
    assert set(frames["night"]) == {"2023-12-31"}  # UT midnight is an evening in Mexico
    np.testing.assert_allclose(frames["MJD"][:3], 60310 + np.arange(1, 4) * SECOND, rtol=0, atol=1e-11)
    assert set(frames["shape"]) == {"5x7"}
    assert set(frames["dtype"]) == {"int16"}
    assert (frames["flags"] == int(Flag.POINTING_BARYCENTRE)).all()
    assert set(frames["time_quality"]) == {"ut"}
    assert frames["BMJD"].notna().all()
    assert accepted(frames).equals(frames)


def test_first_bmjd_of_the_tutorial(tmp_path):
    frames = scan(write(tmp_path / "a.fits", UT="2024-01-01 00:00:00"))
    assert f"{frames['BMJD'][0]:.6f}" == "60309.999803"
    assert frames["time_quality"][0] == "ut-quantised"
    assert frames["status"][0] == "accepted"
    assert "whole second" in frames["notes"][0]


def test_a_target_replaces_the_pointing(tmp_path):
    frames = scan(write(tmp_path / "a.fits", RA="0", DEC="31"))
    assert np.isnan(frames["BMJD"][0])
    assert frames["flags"][0] == Flag.NO_BARYCENTRE
    aimed = scan(tmp_path / "a.fits", target="00:00:00 +00:00:00")
    assert aimed["flags"][0] == 0
    assert aimed["BMJD"][0] == scan(write(tmp_path / "b.fits"))["BMJD"][0]
    with pytest.raises(InputError, match="Vega"):
        scan(tmp_path, target="Vega")


def test_order_does_not_depend_on_the_listing(tmp_path):
    files = [str(path) for path in night(tmp_path / "n").iterdir()]
    shuffled = np.random.default_rng(3).permutation(files).tolist()
    pd.testing.assert_frame_equal(scan(shuffled), scan(tmp_path / "n"))
    pd.testing.assert_frame_equal(scan(f"{tmp_path}/n/*.fits"), scan(tmp_path / "n"))
    assert len(scan([*files, *files])) == 9


WAYS = {
    "a.fits": lambda path, raw: path.write_bytes(raw),
    "b.FIT": lambda path, raw: path.write_bytes(raw),
    "c.fits.gz": lambda path, raw: path.write_bytes(gzip.compress(raw)),
    "d.fts.bz2": lambda path, raw: path.write_bytes(bz2.compress(raw)),
}


def test_every_wrapping_gives_the_same_row(tmp_path):
    image = np.arange(35, dtype="u2").reshape(5, 7)
    raw = write(tmp_path / "raw.dat", data=image).read_bytes()
    (tmp_path / "n").mkdir()
    for name, way in WAYS.items():
        way(tmp_path / "n" / name, raw)
    packed = fits.CompImageHDU(image, header(), compression_type="RICE_1")
    fits.HDUList([fits.PrimaryHDU(), packed]).writeto(tmp_path / "n" / "e.fits.fz")
    frames = scan(tmp_path / "n")
    assert reasons(frames) == {}
    assert frames["hdu"].tolist() == [0, 0, 0, 0, 1]
    same = frames.drop(columns=["path", "hdu", "frame", "size", "mtime_ns"]).drop_duplicates()
    assert len(same) == 1
    assert same["dtype"].iloc[0] == "uint16"
    assert "BZERO 32768" in same["notes"].iloc[0]


def test_extensions_inherit_and_a_bad_one_costs_only_itself(tmp_path):
    images = [np.zeros((4, 6), "f4")] * 3
    parts = [
        fits.ImageHDU(image, fits.Header({"FILTER": name})) for image, name in zip(images, "gri", strict=True)
    ]
    parts[1].header["EXPOSURE"] = "long"
    fits.HDUList([fits.PrimaryHDU(header=header(FILTER=None)), *parts]).writeto(tmp_path / "a.fits")
    frames = scan(tmp_path)
    assert frames[["camera", "hdu", "status"]].to_numpy().tolist() == [
        ["1:g", 1, "accepted"],
        ["3:i", 3, "accepted"],
        ["2:r", 2, "rejected"],
    ]
    assert "EXPOSURE is not a number: 'long'" in frames["reason"].iloc[-1]
    assert set(accepted(frames)["dtype"]) == {"float32"}


def test_a_cube_is_one_row_per_plane(tmp_path):
    write(tmp_path / "a.fits", shape=(4, 5, 7), CADENCE=1.25)
    frames = scan(tmp_path, OPTICAM_MX(keywords={"cadence": ("CADENCE",)}))
    assert frames["plane"].tolist() == frames["frame"].tolist() == [0, 1, 2, 3]
    expected = 60310 + (1.0 + 1.25 * np.arange(4)) * SECOND
    np.testing.assert_allclose(frames["MJD"], expected, rtol=0, atol=1e-11)
    assert set(frames["time_quality"]) == {"cadence"}
    assert set(frames["shape"]) == {"5x7"}
    plain = scan(tmp_path, OPTICAM_MX(keywords={"cadence": ()}))
    np.testing.assert_allclose(np.diff(plain["MJD"]), SECOND, atol=1e-11)


BAD = {
    "exposure_missing": ({"EXPOSURE": None}, "missing EXPOSURE; give it with fixed={'exposure': ...}"),
    "exposure_text": ({"EXPOSURE": "long"}, "EXPOSURE is not a number: 'long'"),
    "exposure_logical": ({"EXPOSURE": True}, "EXPOSURE is not a number: True"),
    "exposure_zero": ({"EXPOSURE": 0.0}, "not a positive number"),
    "exposure_absurd": ({"EXPOSURE": 1e300}, "longer than a day"),
    "year_absurd": ({"UT": "9999-01-01 00:00:00"}, "not in the years"),
    "filter_missing": ({"FILTER": None}, "missing FILTER"),
    "filter_unknown": (
        {"FILTER": "H"},
        "filter 'H' belongs to no camera of OPTICAM-MX (they have u, g, r, i, z)",
    ),
    "filter_path": ({"FILTER": "../../x"}, "FILTER '../../x' cannot name a filter"),
    "time_missing": ({"UT": None}, "missing time stamp"),
    "time_garbage": ({"UT": "now"}, "UT 'now' is no date and time"),
    "flat": ({"IMGTYPE": "Sky Flat"}, "not a science frame: IMGTYPE is 'Sky Flat'"),
    "dark": ({"IMGTYPE": "dark"}, "not a science frame"),
    "axes": ({"shape": (9,)}, "an image or a cube is needed, this has 1 axes (9)"),
    "shape": (
        {"shape": (5, 6)},
        "unlike most frames of 1:g: 5x6 pixels, binning 4x4 instead of 5x7 pixels, binning 4x4",
    ),
    "binning": ({"BINNING": "2x2"}, "binning 2x2 instead of 5x7 pixels, binning 4x4"),
}


def test_bad_frames_are_rows_with_a_reason_and_cost_only_themselves(tmp_path):
    folder = night(tmp_path / "n")
    for name, (keywords, _) in BAD.items():
        write(folder / f"{name}.fits", **keywords)
    (folder / "empty.fits").touch()
    (folder / "garbage.fits").write_bytes(b"\x07garbage" * 999)
    whole = write(tmp_path / "whole.dat", shape=(50, 70)).read_bytes()
    (folder / "truncated.fits").write_bytes(whole[:4000])
    (folder / "header_only.fits").write_bytes(whole[:100])
    (folder / "cut.fits.gz").write_bytes(gzip.compress(whole)[:90])
    (folder / "notes.txt").write_text("not a frame")
    fits.PrimaryHDU(header=header()).writeto(folder / "no_image.fits")
    (folder / "gone.fits").symlink_to(tmp_path / "nowhere")
    frames = scan(folder)
    assert accepted(frames).groupby("camera").size().tolist() == [3, 3, 3]
    found = reasons(frames)
    for name, (_, says) in BAD.items():
        assert says in found[f"{name}.fits"]
    assert found["no_image.fits"] == "the file has no image"
    assert "truncated" in found["truncated.fits"]
    assert set(found) - {f"{name}.fits" for name in BAD} == {
        *("empty.fits", "garbage.fits", "truncated.fits", "header_only.fits", "cut.fits.gz"),
        *("no_image.fits", "gone.fits"),
    }
    assert all(reason and "\n" not in reason for reason in found.values())
    assert (frames["frame"][frames["status"] == "rejected"] == -1).all()


def test_all_bad_is_still_a_table(tmp_path):
    (tmp_path / "a.fits").touch()
    frames = scan(tmp_path)
    assert frames["status"].tolist() == ["rejected"]
    assert frames["time_quality"].tolist() == ["missing"]
    assert accepted(frames).empty
    assert list(frames.columns) == FRAMES.names


def test_sources_that_are_none(tmp_path):
    with pytest.raises(InputError, match="does not exist: give a folder"):
        scan(tmp_path / "none")
    with pytest.raises(InputError, match=r"no FITS file in .*recursive=True"):
        scan(tmp_path)
    with pytest.raises(InputError, match="no FITS file in an empty list"):
        scan([])
    with pytest.raises(InputError, match="no FITS file"):
        scan(f"{tmp_path}/*.fits")


def test_folders_inside_folders_are_read_on_request(tmp_path):
    night(tmp_path / "deep", n=1, filters="g")
    write(tmp_path / "top.fits")
    (tmp_path / ".hidden.fits").touch()
    assert [Path(path).name for path in find_files(tmp_path)] == ["top.fits"]
    assert [Path(path).name for path in find_files(tmp_path, recursive=True)] == ["g0.fits", "top.fits"]
    assert len(find_files(f"{tmp_path}/**/*.fits")) == 2
    assert find_files([tmp_path / "deep", tmp_path / "top.fits"]) == find_files(tmp_path, recursive=True)


@pytest.mark.parametrize("name", ["a.fits", "a.FIT", "a.fts", "a.fits.gz", "a.fit.bz2", "A.FITS.FZ"])
def test_names_of_fits_files(name):
    assert is_fits_name(name)
    assert not is_fits_name(name + ".txt")


@pytest.fixture
def opened(monkeypatch):
    paths = []

    def counting(scanner, path, read=HeaderScanner.file_records):
        paths.append(Path(path).name)
        return read(scanner, path)

    monkeypatch.setattr(HeaderScanner, "file_records", counting)
    return paths


def test_a_second_scan_opens_only_new_and_changed_files(tmp_path, opened):
    folder = night(tmp_path / "n")
    (folder / "empty.fits").touch()
    write(folder / "odd.fits", BINNING="2x2")
    write(folder / "twin.fits", UT="2024-01-01 00:00:01.5")
    first = scan(folder)
    assert len(opened) == 12
    opened.clear()
    pd.testing.assert_frame_equal(scan(folder, previous=first), first)
    assert opened == []
    write(folder / "new.fits", UT="2024-01-01 00:00:00.75")
    (folder / "g2.fits").unlink()
    write(folder / "g2.fits", UT="2024-01-01 00:00:09.25")
    (folder / "twin.fits").unlink()
    again = scan(folder, previous=first)
    assert opened == ["g2.fits", "new.fits"]
    opened.clear()
    pd.testing.assert_frame_equal(again, scan(folder))
    assert again["frame"][again["camera"] == "1:g"].tolist() == [0, 1, 2, 3, -1]


def test_another_instrument_or_target_reads_anew(tmp_path, opened):
    folder = night(tmp_path / "n", n=1)
    first = scan(folder)
    opened.clear()
    scan(folder, OPTICAM_MX(time_convention="middle"), previous=first)
    scan(folder, target="10 20", previous=first)
    assert len(opened) == 6


def test_the_majority_is_chosen_anew(tmp_path):
    folder = night(tmp_path / "n", n=2, filters="g")
    write(folder / "odd0.fits", BINNING="2x2", UT="2024-01-01 00:01:00.5")
    first = scan(folder)
    assert len(accepted(first)) == 2
    for number in (1, 2):
        write(folder / f"odd{number}.fits", BINNING="2x2", UT=f"2024-01-01 00:01:0{number}.5")
    second = scan(folder, previous=first)
    assert set(accepted(second)["binning"]) == {"2x2"}
    pd.testing.assert_frame_equal(second, scan(folder))


def test_times_that_are_doubled_are_kept_and_flagged(tmp_path):
    for name in "ba":
        write(tmp_path / f"{name}.fits")
    write(tmp_path / "c.fits", UT="2024-01-01 00:00:03.5")
    frames = scan(tmp_path)
    assert [Path(path).name for path in frames["path"]] == ["a.fits", "b.fits", "c.fits"]
    assert frames["time_quality"].tolist() == ["duplicate", "duplicate", "ut"]
    assert (frames["flags"] & int(Flag.BAD_TIME) > 0).tolist() == [True, True, False]
    assert frames["frame"].tolist() == [0, 1, 2]


def test_gps_times_are_told(tmp_path):
    write(tmp_path / "a.fits", GPSTIME="2024-01-01 00:00:00.000 lock")
    assert scan(tmp_path)["time_quality"].tolist() == ["gps"]


def test_quantised_times_are_judged_per_camera(tmp_path):
    folder = night(tmp_path / "n", n=2, filters="g")
    for number in range(2):
        write(folder / f"r{number}.fits", FILTER="r", UT=f"2024-01-01 00:00:0{number}.000")
    write(folder / "g9.fits", UT="2024-01-01 00:00:09")
    frames = scan(folder)
    assert frames["time_quality"].tolist() == ["ut"] * 3 + ["ut-quantised"] * 2


@pytest.mark.parametrize(
    ("keywords", "camera"),
    [({"FILTER": "g'"}, "1:g"), ({"FILTER": "z"}, "3:z"), ({"FILTER": "H", "SERIALN": "VSC-05530"}, "2:H")],
)
def test_cameras_of_opticam(tmp_path, keywords, camera):
    frames = scan(write(tmp_path / "a.fits", **keywords))
    assert frames["camera"].tolist() == [camera]
    assert frames["filter"].tolist() == [camera[2:]]


def test_cameras_from_serial_and_keyword(tmp_path):
    write(tmp_path / "a.fits", FILTER="Bessell V", SERIAL="A7", ARM="blue", DETID=7)
    serial = Instrument(camera_from="serial", cameras=(CameraSpec(name="left", serials=("A7",)),))
    assert scan(tmp_path, serial)["camera"].tolist() == ["left:Bessell_V"]
    keyword = Instrument(camera_from="keyword", keywords={"camera": "ARM"})
    assert scan(tmp_path, keyword)["camera"].tolist() == ["blue:Bessell_V"]
    number = Instrument(camera_from="keyword", keywords={"camera": "DETID"}, cameras=(CameraSpec(name="7"),))
    assert scan(tmp_path, number)["camera"].tolist() == ["7:Bessell_V"]
    other = Instrument(camera_from="serial", cameras=(CameraSpec(name="left", serials=("A8",)),))
    assert "SERIAL 'A7' is the serial number of no camera" in scan(tmp_path, other)["reason"][0]


def test_what_contradicts_is_noted(tmp_path):
    row = scan(write(tmp_path / "a.fits", SERIALN="VSC-05530")).iloc[0]
    assert row["camera"] == "1:g"
    assert "SERIALN 'VSC-05530' belongs to camera 2, filter 'g' to 1: filter believed" in row["notes"]
    camera = CameraSpec(name="2", filters=("r",), serials=("VSC-05530",))
    row = scan(tmp_path, Instrument(camera_from="serial", cameras=(camera,))).iloc[0]
    assert row["camera"] == "2:g"
    assert "filter 'g' is not listed for camera 2" in row["notes"]


def test_what_tells_the_camera_may_be_missing(tmp_path):
    write(tmp_path / "a.fits")
    serial = Instrument(camera_from="serial", cameras=(CameraSpec(name="2", serials=("A",)),))
    assert scan(tmp_path, serial)["reason"][0].startswith("missing SERIALN or SERIAL or CAMSERNO; give it")
    keyword = Instrument(camera_from="keyword", keywords={"camera": "ARM"})
    assert scan(tmp_path, keyword)["reason"][0].startswith("missing ARM; give it")


def test_unusual_cards_are_read(tmp_path):
    name = "filter_of_a_name_longer_than_one_card_can_hold_so_it_goes_on_in_the_next"
    write(tmp_path / "a.fits", **{"HIERARCH ESO DET EXPO": 2.5, "LONGFILT": name, "OBJECT": "O'Neill"})
    instrument = OPTICAM_MX(keywords={"exposure": "ESO DET EXPO"})
    assert scan(tmp_path, instrument)["exposure"].tolist() == [2.5]
    long = OPTICAM_MX(keywords={"filter": "LONGFILT"})
    assert f"LONGFILT '{name[:40]}' cannot name a filter" in scan(tmp_path, long)["reason"][0]
    quoted = OPTICAM_MX(keywords={"filter": "OBJECT"}, camera_from="keyword", fixed={"camera": "1"})
    assert scan(tmp_path, quoted)["filter"].tolist() == ["O'Neill"]
    plain = (tmp_path / "a.fits").read_bytes()
    for number, text in enumerate((b"2.5D+00", b"T", b"NaN", b"")):
        assert b"EXPOSURE=                  1.0" in plain
        changed = plain.replace(b"EXPOSURE=                  1.0", b"EXPOSURE=" + text.rjust(21))
        (tmp_path / f"b{number}.fits").write_bytes(changed)
    frames = scan(f"{tmp_path}/b*.fits")
    assert frames["exposure"][0] == 2.5
    says = ["EXPOSURE is not a number: True", "EXPOSURE is not a number: 'NaN'", "missing EXPOSURE"]
    assert [reason.split(";")[0] for reason in frames["reason"][1:]] == says


def test_cubes_with_axes_of_length_one(tmp_path):
    write(tmp_path / "a.fits", shape=(1, 1, 5, 7))
    write(tmp_path / "b.fits", shape=(1, 2, 5, 7), UT="2024-01-01 00:00:09.5")
    assert scan(tmp_path)["plane"].tolist() == [0, 0, 1]
    write(tmp_path / "c.fits", shape=(2, 2, 5, 7))
    assert scan(tmp_path)["reason"].iloc[-1] == "an image or a cube is needed, this has 4 axes (2x2x5x7)"


def test_detector_numbers_and_their_sources(tmp_path):
    write(tmp_path / "a.fits", DARKCURR=0.1, SATLEVEL=30000, RDNOISE=4.0)
    row = scan(tmp_path, OPTICAM_MX).iloc[0]
    # sCMOS pixels are read one by one: 4 x 4 of them add in quadrature.
    assert row[["gain", "read_noise", "dark_current", "saturation"]].tolist() == pytest.approx(
        [1, 4.4, 0.1, 30000]
    )
    assert "read noise 4.4 electron from the instrument, instead of RDNOISE 4.0" in row["notes"]
    assert scan(tmp_path, GENERIC).iloc[0]["read_noise"] == 4.0
    camera = CameraSpec(name="1", gain=0.45, dark_current=0.01, saturation=6e4)
    row = scan(tmp_path, GENERIC(cameras=(camera,))).iloc[0]
    assert row[["gain", "dark_current", "saturation"]].tolist() == pytest.approx([0.45, 0.16, 6e4])


def test_gain_that_is_none_is_assumed(tmp_path):
    for name, gain in (("a", None), ("b", "high"), ("c", 0.0), ("d", -1.0)):
        write(tmp_path / f"{name}.fits", GAIN=gain)
    frames = scan(tmp_path)
    assert frames["gain"].tolist() == [1.0] * 4
    assert frames["notes"].str.contains("gain 1 electron/adu assumed").all()


def test_airmass_is_computed_unless_trusted(tmp_path):
    write(tmp_path / "a.fits", AIRMASS=1.5, RA="01:00:00", DEC="+31:00:00")
    computed = scan(tmp_path)
    assert computed["airmass"][0] != 1.5
    assert 1.0 <= computed["airmass"][0] < 2.0
    assert "AIRMASS of the header is not trusted" in computed["notes"][0]
    assert scan(tmp_path, OPTICAM_MX(trust_airmass=True))["airmass"][0] == 1.5


def test_parquet_round_trip_is_whole(tmp_path):
    frames = scan(night(tmp_path / "n"))
    write_frames(frames, tmp_path / "frames.parquet")
    back = read_frames(tmp_path / "frames.parquet")
    pd.testing.assert_frame_equal(back, frames)
    assert back.attrs == frames.attrs
    assert {path.name for path in tmp_path.iterdir()} == {"n", "frames.parquet"}
    schema = pq.read_schema(tmp_path / "frames.parquet")
    assert schema.equals(FRAMES)
    with pytest.raises(InputError, match="cannot be written"):
        write_frames(frames, tmp_path / "none" / "frames.parquet")
    with pytest.raises(InputError, match="cannot be read"):
        read_frames(tmp_path / "none.parquet")
    pq.write_table(pq.read_table(tmp_path / "frames.parquet").drop(["stamp"]), tmp_path / "old.parquet")
    with pytest.raises(InputError, match="lacks stamp"):
        read_frames(tmp_path / "old.parquet")


def test_headers_may_be_read_elsewhere_in_any_order(tmp_path, monkeypatch):
    monkeypatch.setattr("opticam_dask.io.frame_index.FILES_PER_BATCH", 2)
    folder = night(tmp_path / "n")
    told = []

    def elsewhere(func, batches):
        far = pickle.loads(pickle.dumps(func))
        return [far(pickle.loads(pickle.dumps(batch))) for batch in reversed(batches)]

    frames = scan(folder, map_headers=elsewhere, progress=lambda done, total: told.append((done, total)))
    pd.testing.assert_frame_equal(frames, scan(folder))
    assert told[0] == (1, 9)
    assert told[-1] == (9, 9)


def test_records_of_a_batch_are_plain(tmp_path):
    records = scan_headers([str(write(tmp_path / "a.fits")), str(tmp_path / "none.fits")], OPTICAM_MX)
    assert records.schema == RECORDS
    reasons = records["reason"].to_pylist()
    assert reasons[0] == ""
    assert len(reasons) == 2
    assert "none.fits" not in reasons[1]


def test_the_real_frame():
    if not (DATA / "opticam_g_20231122.fit").is_file():
        pytest.skip("the real OPTICAM frame is not here")
    row = scan(DATA / "opticam_g_20231122.fit", target="21:02:22 +38:00:00").iloc[0]
    assert (row["camera"], row["binning"], row["shape"], row["dtype"]) == (
        "1:g",
        "2x2",
        "1024x1024",
        "uint16",
    )
    assert row["MJD"] == pytest.approx(60270 + (3 * 3600 + 2 * 60 + 51.5) / 86400, abs=1e-11)
    assert (row["exposure"], row["gain"], row["dark_current"], row["saturation"]) == (
        5.0,
        1.0,
        0.0986,
        32302.0,
    )
    assert row["night"] == "2023-11-21"
    assert row["time_quality"] == "ut-quantised"
    assert 1.0 < row["airmass"] < 3.0


STARSHOOT = """
name = "Orion StarShoot"
time_convention = "start"
[keywords]
exposure = ["EXPTIME"]
[fixed]
filter = "white"
gain = 0.5
ra = "19:20:00"
dec = "+38:00:00"
[[cameras]]
name = "ccd"
saturation = 60000
"""


def test_real_frames_of_another_camera(tmp_path):
    if not (DATA / "stargate").is_dir():
        pytest.skip("the real frames of the StarGate cluster are not here")
    (tmp_path / "starshoot.toml").write_text(STARSHOOT)
    for instrument, camera in (
        (GENERIC, "1:clear"),
        (Instrument.from_file(tmp_path / "starshoot.toml"), "ccd:white"),
    ):
        frames = scan(DATA / "stargate", instrument)
        assert frames["camera"].tolist() == [camera] * 10
        assert frames["frame"].tolist() == list(range(10))
        assert frames["MJD"][0] == pytest.approx(56486 + (5 * 3600 + 25) / 86400, abs=1e-11)
        assert set(frames["shape"]) == {"581x752"}
        assert frames["BMJD"].isna().all() == (instrument is GENERIC)
    assert set(frames["gain"]) == {0.5}
    assert set(frames["saturation"]) == {60000.0}


def test_a_moved_file_keeps_no_old_row(tmp_path):
    folder = night(tmp_path / "n", n=1)
    first = scan(folder)
    shutil.move(folder / "g0.fits", folder / "h0.fits")
    assert [Path(path).name for path in scan(folder, previous=first)["path"]] == [
        "h0.fits",
        "r0.fits",
        "i0.fits",
    ]


@pytest.mark.parametrize(
    ("dtype", "level"),
    [("uint8", 255), ("int16", 32767), ("uint16", 65535), ("int32", np.nan), (">f4", np.nan)],
)
def test_without_a_saturation_level_it_is_where_the_numbers_end(tmp_path, dtype, level):
    write(tmp_path / "a.fits", data=np.zeros((5, 7), dtype))
    row = scan(tmp_path).iloc[0]
    np.testing.assert_equal(row["saturation"], level)
    assert ("no saturation level" in row["notes"]) == np.isfinite(level)
