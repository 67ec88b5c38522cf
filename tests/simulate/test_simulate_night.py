"""Simulated nights on disk: noise, truth, headers, formats, restarts."""

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from photutils.centroids import centroid_2dg

from opticam_dask.errors import InputError, OpticamError
from opticam_dask.simulate import CameraSetup, Cloud, Scene, Transit, Variable, simulate_flats, simulate_night

REAL = Path(__file__).parents[2] / ".." / "shared" / "data" / "opticam_g_20231122.fit"

SMALL = Scene(n_frames=4, shape=(40, 53), stars=((20.0, 18.0, 4000.0), (40.0, 12.0, 1500.0)))


def change(**options):
    return dataclasses.replace(SMALL, **options)


def load(night, camera=0, n=None):
    n = n or len(night) // 3
    return np.array([fits.getdata(p).astype(float) for p in night.paths[camera * n : (camera + 1) * n]])


def digests(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


def test_noise_is_independent_and_of_the_right_size(tmp_path):
    scene = change(n_frames=60, gain=2.0, read_noise=6.0, bias=50.0, dark_current=4.0)
    night = simulate_night(scene, tmp_path)
    g, r = load(night, 0), load(night, 1)
    truth = load(simulate_night(dataclasses.replace(scene, noise="none", dtype="float64"), tmp_path / "n"))[0]
    variance = (truth - 50.0) / 2.0 + (6.0 / 2.0) ** 2 + 1 / 12
    z, zr = ((cube - truth) / np.sqrt(variance) for cube in (g, r))
    assert z.mean() == pytest.approx(0.0, abs=5 / np.sqrt(z.size))
    assert z.var() == pytest.approx(1.0, abs=5 * np.sqrt(2 / z.size))
    star = truth > 150 + truth.min()
    assert z[:, star].var() == pytest.approx(1.0, abs=5 * np.sqrt(2 / z[:, star].size))
    for a, b in ((z, zr), (z[1:], z[:-1]), (z[:, 1:], z[:, :-1]), (z[:, :, 1:], z[:, :, :-1])):
        assert (a * b).mean() == pytest.approx(0.0, abs=5 / np.sqrt(a.size))


def test_pixels_do_not_depend_on_workers_or_other_cameras(tmp_path):
    scene = change(n_frames=13, cosmic_rays=2.0, hot_pixels=4, jitter_px=1.0)
    one = simulate_night(scene, tmp_path / "1", workers=1)
    simulate_night(scene, tmp_path / "2", workers=3)
    assert digests(tmp_path / "1") == digests(tmp_path / "2")
    simulate_night(
        change(**{**dataclasses.asdict(scene), "cameras": [CameraSetup(filter="r")]}), tmp_path / "3"
    )
    name = one.paths[15].name
    assert one.paths[0].read_bytes()[4:8] == bytes(4)  # no time stamp in the gzip header
    assert "r" in name
    assert digests(tmp_path / "3")[name] == digests(tmp_path / "1")[name]


@pytest.mark.parametrize("dtype", ["uint16", "float32", "float64"])
def test_formats_hold_the_same_pixels(tmp_path, dtype):
    scene = change(n_frames=1, dtype=dtype, stars=((20.0, 18.0, 400000.0),), read_noise=2.0)
    cubes = {}
    for compression in ("none", "gz", "fz"):
        night = simulate_night(dataclasses.replace(scene, compression=compression), tmp_path / compression)
        with fits.open(night.paths[0]) as hdus:
            hdus.verify("exception")
            data = hdus[-1].data
            header = hdus[-1].header
            cubes[compression] = data.astype(float)
            assert data.dtype.newbyteorder("=") == dtype
            assert header["FILTER"] == "g"
            assert header["UT"].startswith("2024-01-01 00:00:00.000")
    assert cubes["none"].max() > 20000
    np.testing.assert_array_equal(cubes["none"], cubes["gz"])
    np.testing.assert_array_equal(cubes["none"], cubes["fz"])


def test_truth_positions_agree_with_centroids(tmp_path):
    scene = change(
        n_frames=2,
        shape=(91, 75),
        stars=((40.0, 50.0, 3e5),),
        semimajor_sigma=4.0,
        semiminor_sigma=2.5,
        orientation=37.0,
        jitter_px=3.0,
        rotation_deg_per_hour=7200.0,
        noise="none",
        dtype="float64",
    )
    night = simulate_night(scene, tmp_path)
    truth = pd.read_parquet(night.truth)
    for row, path in zip(truth.itertuples(), night.paths, strict=True):
        x, y = centroid_2dg(fits.getdata(path) - scene.sky)
        assert (x, y) == pytest.approx((row.x, row.y), abs=0.005)
        assert fits.getdata(path).sum() - 100 * 91 * 75 == pytest.approx(row.flux, rel=1e-5)
        assert row.fwhm == pytest.approx(2.3548 * np.sqrt(10.0), rel=1e-4)


def test_uneven_cadences_agree_in_headers_and_truth(tmp_path):
    cameras = (
        CameraSetup(filter="u", cadence_s=0.0333, exposure_s=0.03),
        CameraSetup(filter="z", cadence_s=2.5, start_offset_s=1.25, n_frames=3, dropped_fraction=0.3),
    )
    scene = change(cameras=cameras, n_frames=40, start="2023-11-22T23:59:59.900")
    night = simulate_night(scene, tmp_path)
    truth = pd.read_parquet(night.truth)
    assert set(truth.camera) == {"1:u", "3:z"}
    assert set(truth.file) == {path.name for path in night.paths}
    first = truth[truth.star == 1].set_index("file")
    for path in night.paths:
        header = fits.getheader(path)
        start = np.datetime64(header["UT"].strip().replace(" ", "T"), "us") - np.datetime64(
            "1858-11-17", "us"
        )
        mjd = (start.astype(float) + header["EXPOSURE"] * 5e5) / 86400e6
        assert first.MJD[path.name] == pytest.approx(mjd, abs=1e-9)
        assert header["DATE-OBS"] == header["UT"][:10]
    u = first[first.camera == "1:u"]
    assert np.diff(u.MJD).mean() * 86400 == pytest.approx(0.0333, rel=1e-3)
    assert u.frame.tolist() == list(range(40))


def test_headers_hold_the_placeholders_of_the_instrument(tmp_path):
    scene = change(n_frames=1, compression="none", binning=2)
    night = simulate_night(scene, tmp_path)
    header = fits.getheader(night.paths[2])
    assert night.paths[2].name == "240101i200000000o.fit"
    shown = {
        key: header[key]
        for key in ("RA", "DEC", "JD", "UTMIDDLE", "SERIALN", "BINNING", "CCDXBIN", "INSTRUME")
    }
    assert shown == {
        "RA": "0",
        "DEC": "31",
        "JD": 0.0,
        "UTMIDDLE": "00:00:00.0000",
        "SERIALN": "VSC-05522",
        "BINNING": "2x2",
        "CCDXBIN": 2,
        "INSTRUME": "OPTICAM",
    }
    raw = night.paths[0].read_bytes()
    assert b"UT      = '2024-01-01 00:00:00.000 '" in raw
    pointed = simulate_night(dataclasses.replace(scene, pointing=(187.5, -12.5)), tmp_path / "p")
    header = fits.getheader(pointed.paths[0])
    assert (header["RA"], header["DEC"]) == ("12:30:00.000", "-12:30:00.00")


def test_hot_pixels_stay_and_cosmic_rays_move(tmp_path):
    scene = change(n_frames=3, hot_pixels=6, hot_pixel_level=5000.0, stars=())
    g = load(simulate_night(scene, tmp_path))
    hot = g > 1000
    assert (hot.sum(axis=(1, 2)) == 6).all()
    assert (hot == hot[0]).all()
    rays = load(simulate_night(change(n_frames=3, cosmic_rays=5.0, stars=()), tmp_path / "c")) > 300
    assert rays.any()
    assert not (rays == rays[0]).all()


def test_saturation_and_clouds_and_flux(tmp_path):
    scene = change(
        stars=((20.0, 18.0, 1e6),), saturation=30000.0, clouds=(Cloud(start=1, stop=2, extinction_mag=5),)
    )
    g = load(simulate_night(scene, tmp_path))
    assert g[0].max() == 30000.0
    assert g[1].sum() - 100 * g[1].size == pytest.approx(1e4, rel=0.1)
    assert fits.getheader(next(tmp_path.glob("*.gz")))["SATLEVEL"] == 30000.0
    wide = load(simulate_night(change(stars=((20.0, 18.0, 1e7),)), tmp_path / "w"))
    assert wide.max() == 65535


def test_truth_is_a_documented_table(tmp_path):
    scene = change(bias=10.0, dark_current=2.0, vignetting=0.3, drift_px_per_hour=(36000.0, 0.0))
    night = simulate_night(scene, tmp_path)
    schema = pq.read_schema(night.truth)
    assert schema.field("flux").metadata[b"unit"] == b"adu"
    truth = pd.read_parquet(night.truth)
    assert len(truth) == 4 * 3 * 2
    assert not truth.duplicated(["camera", "frame", "star"]).any()
    assert truth.groupby("star").flux.mean().tolist() == [4000.0, 1500.0]
    gone = truth.x > 52.5
    assert gone.any()
    assert truth.sky[gone].isna().all()
    inside = truth[~gone]
    np.testing.assert_allclose(inside.sky, 100 * inside.throughput + 12.0)


def test_restart_writes_only_what_is_missing(tmp_path):
    night = simulate_night(SMALL, tmp_path)
    before = digests(tmp_path)
    for path in night.paths[3:6]:
        path.unlink()
    seen = []
    again = simulate_night(SMALL, tmp_path, progress=seen.append)
    assert (again.written, sum(seen)) == (3, 12)
    assert digests(tmp_path) == before
    assert simulate_night(change(n_frames=6), tmp_path).written == 6
    assert simulate_night(SMALL, tmp_path).written == 0
    assert pd.read_parquet(night.truth).frame.max() == 5


def test_frames_of_another_scene_are_refused_or_replaced(tmp_path):
    simulate_night(change(n_frames=5), tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="another sky, gain"):
        simulate_night(change(sky=50.0, gain=2.0), tmp_path)
    night = simulate_night(change(sky=50.0), tmp_path, overwrite=True)
    assert night.written == 12
    assert len(list(tmp_path.iterdir())) == 14
    night.truth.unlink()
    with pytest.raises(InputError, match="not known"):
        simulate_night(SMALL, tmp_path)


def test_a_table_of_the_same_name_is_not_replaced_unasked(tmp_path):
    table = tmp_path / "truth.parquet"
    for make in (lambda: table.write_text("mine"), lambda: pd.DataFrame({"a": [1]}).to_parquet(table)):
        make()
        before = digests(tmp_path)
        with pytest.raises(InputError, match=r"truth\.parquet: not known"):
            simulate_night(SMALL, tmp_path)
        assert digests(tmp_path) == before
    assert simulate_night(SMALL, tmp_path, overwrite=True).written == 12


def test_a_scene_with_every_part_is_known_again(tmp_path):
    scene = change(
        clouds=(Cloud(start=1, stop=2),),
        variables=(Variable(star=2, amplitude=0.1, frequency_hz=0.3, phase_rad=(0, 1, 2)),),
        transits=(Transit(star=1, depth=0.1, middle_s=2, duration_s=1),),
        seeing_change=0.2,
        flip_time_s=2,
        pointing=(10, 20),
        saturation=60000,
    )
    assert simulate_night(scene, tmp_path).written == 12
    assert simulate_night(scene, tmp_path).written == 0
    with pytest.raises(InputError, match="another n_frames"):  # the seeing of every frame would change
        simulate_night(dataclasses.replace(scene, n_frames=6), tmp_path)


@pytest.mark.skipif(not REAL.exists(), reason="the real OPTICAM frame is not here")
def test_headers_have_the_keywords_of_a_real_frame(tmp_path):
    night = simulate_night(change(n_frames=1, compression="none"), tmp_path)
    ours, real = fits.getheader(night.paths[0]), fits.getheader(REAL)
    assert set(real) - set(ours) <= {"COMMENT", "HISTORY", "AUTHORS"}
    assert set(ours) <= set(real)
    for key in set(ours) & set(real):
        assert isinstance(ours[key], str) == isinstance(real[key], str), key
    same = [
        "RA",
        "DEC",
        "JD",
        "UTMIDDLE",
        "ST",
        "INITTIME",
        "CAM_TIME",
        "SATLEVEL",
        "SERIALN",
        "CCDMODE",
        "AIRMASS",
    ]
    assert {key: ours[key] for key in same} == {key: real[key] for key in same}


def test_unusable_folders_and_workers_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file: cannot make"):
        simulate_night(SMALL, tmp_path / "file")
    with pytest.raises(InputError, match=r"workers .* not 0"):
        simulate_night(SMALL, tmp_path / "x", workers=0)


def test_a_full_disk_is_said_in_one_line(tmp_path, monkeypatch):
    def full(self, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(OpticamError, match="No space left"):
        simulate_night(SMALL, tmp_path)


def test_flats_hold_the_shadows(tmp_path):
    scene = change(circular_aperture=True, vignetting=0.2, bias=100.0)
    paths = simulate_flats(scene, tmp_path, n_flats=9)
    assert paths[0].name == "g-band_image_0.fits.gz"
    assert len(paths) == 27
    assert fits.getheader(paths[0])["IMGTYPE"] == "flat"
    cube = np.array([fits.getdata(path) for path in paths[:9]], dtype=float) - 100.0
    assert cube[:, 19:21, 25:28].mean() == pytest.approx(1e4, rel=0.01)
    assert cube[:, 0, 0].mean() < 5000
    assert cube[:, 20, 20].std() < 300
    before = digests(tmp_path)
    simulate_flats(scene, tmp_path, n_flats=9)
    assert digests(tmp_path) == before
    with pytest.raises(InputError, match="not 0"):
        simulate_flats(scene, tmp_path, n_flats=0)
