"""Masters against the truth: pixels, variances, bad pixels; exact under any split; kept and made again."""

import importlib.util
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

import opticam_dask.calibration.build as build_module
from opticam_dask.calibration import BiasCorrector, DarkNoiseCorrector, FlatFieldCorrector
from opticam_dask.calibration.corrector import pedestal_of
from opticam_dask.calibration.masters import load_master
from opticam_dask.errors import InputError
from opticam_dask.instrument import CameraSpec, Instrument

_spec = importlib.util.spec_from_file_location(
    "calibration_frames", Path(__file__).with_name("calibration_frames.py")
)
scenes = sys.modules.setdefault("calibration_frames", importlib.util.module_from_spec(_spec))
_spec.loader.exec_module(scenes)
CAMERA, SHAPE, make_detector, write = scenes.CAMERA, scenes.SHAPE, scenes.make_detector, scenes.write
write_biases, write_darks, write_flats = scenes.write_biases, scenes.write_darks, scenes.write_flats

LEVELS = (4000, 15000, 9000, 21000, 6500, 12000, 18000, 5000, 8000)


def correctors(root: Path, out: str = "out", **options):
    bias = BiasCorrector(root / out, root / "b", instrument=CAMERA, verbose=False, **options)
    dark = DarkNoiseCorrector(
        root / out, root / "d", bias_corrector=bias, instrument=CAMERA, verbose=False, **options
    )
    flat = FlatFieldCorrector(
        root / out,
        root / "f",
        bias_corrector=bias,
        dark_noise_corrector=dark,
        instrument=CAMERA,
        verbose=False,
        **options,
    )
    return bias, dark, flat


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    root, detector = tmp_path_factory.mktemp("calibration"), make_detector()
    write_biases(root / "b", detector, 12)
    write_darks(root / "d", detector, 9, 20.0)
    write_darks(root / "d", detector, 5, 60.0, seed=8)
    write_flats(root / "f", detector, LEVELS)
    found = correctors(root)
    found[2].create_master_flats()
    return root, detector, found


def good(detector):
    usable = np.ones(SHAPE, bool)
    usable.flat[detector.dead] = usable.flat[detector.hot] = False
    return usable


def test_masters_are_the_truth_within_their_variance(night):
    _, detector, (bias, dark, flat) = night
    b, d, f = bias.masters["1"], dark.masters["1"], flat.masters["1:g"]
    rate_variance = d.variance + d.bias_part**2 * b.variance
    pulls = {
        "bias": (b.data - detector.bias) / np.sqrt(b.variance),
        "dark": (d.data - detector.dark) / np.sqrt(rate_variance),
        "flat": (f.data - detector.response) / np.sqrt(f.variance),
    }
    for name, pull in pulls.items():
        some = pull[good(detector)]
        assert abs(some.mean()) < 4 / np.sqrt(some.size), name
        assert abs(some.std() - 1) < 0.02 + 3 / np.sqrt(2 * some.size), name


def test_cosmic_rays_are_left_out_and_counted(night):
    _, _, (bias, dark, flat) = night
    for corrector, least in ((bias, 20), (dark, 20), (flat, 20)):
        (master,) = corrector.masters.values()
        assert least <= master.rejected <= 90
        assert (master.count <= master.n_frames).all()


def test_bad_pixels_are_found_and_no_others(night):
    _, detector, (bias, dark, flat) = night
    assert np.flatnonzero(dark.masters["1"].mask).tolist() == detector.hot.tolist()
    assert np.flatnonzero(flat.masters["1:g"].mask).tolist() == detector.dead.tolist()
    assert not bias.masters["1"].mask.any()
    usable = ~flat.masters["1:g"].mask & ~dark.masters["1"].mask
    assert flat.masters["1:g"].data[usable].mean(dtype=float) == pytest.approx(1.0, abs=1e-6)


def test_dark_rates_weigh_exposure_times_and_scale(night):
    _, detector, (bias, dark, _) = night
    assert dark.masters["1"].n_frames == 14
    raw = np.full(SHAPE, 500.0)
    clean = dark.correct(bias.correct(raw, "g"), "g", 60.0)
    error = clean - (500.0 - detector.bias - 60.0 * detector.dark)
    assert np.abs(error[good(detector)]).mean() < 2.0
    assert np.median(dark.correct(raw, "1", 5.0) - dark.correct(raw, "1:g", 10.0)) == pytest.approx(
        5 * np.median(dark.masters["1"].data), rel=1e-5
    )


def test_flat_divides_and_hides_dead_pixels(night):
    _, detector, (_, _, flat) = night
    image = flat.correct(1000.0 * detector.response, "g")
    assert np.flatnonzero(np.isnan(image)).tolist() == detector.dead.tolist()
    assert np.nanstd(image) < 8.0


@pytest.mark.parametrize("pieces", [1, 3, 12])
def test_bits_do_not_depend_on_how_frames_are_shared_out(night, monkeypatch, pieces):
    root, _, known = night
    monkeypatch.setattr(build_module, "blocks_at_least", lambda: pieces)
    again = correctors(root, f"out{pieces}")
    again[2].create_master_flats()
    for one, other in zip(known, again, strict=True):
        (a,), (b,) = one.masters.values(), other.masters.values()
        for name in ("data", "variance", "count", "mask"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name), strict=True)


def test_masters_are_used_again_until_something_changes(tmp_path):
    detector = make_detector()
    write_biases(tmp_path / "b", detector, 4)
    lines = []
    bias = BiasCorrector(tmp_path / "out", tmp_path / "b", instrument=CAMERA)
    bias.build(say=lines.append)
    path = tmp_path / "out" / "cal" / "bias_1_2x2.fits"
    first = path.stat().st_mtime_ns
    assert not list(path.parent.glob(".*"))
    BiasCorrector(tmp_path / "out", tmp_path / "b", instrument=CAMERA).build(say=lines.append)
    assert path.stat().st_mtime_ns == first
    assert "used again" in lines[-1]
    write_biases(tmp_path / "b", detector, 5, seed=7)
    BiasCorrector(tmp_path / "out", tmp_path / "b", instrument=CAMERA).build(say=lines.append)
    assert load_master(path).n_frames == 5
    BiasCorrector(tmp_path / "out", tmp_path / "b", instrument=CAMERA, sigma=3).build(say=lines.append)
    assert "used again" not in lines[-1]
    second = path.stat().st_mtime_ns
    BiasCorrector(tmp_path / "out", tmp_path / "b", instrument=CAMERA, sigma=3).build(
        say=lines.append, overwrite=True
    )
    assert path.stat().st_mtime_ns > second


def test_a_master_lost_or_damaged_is_told(tmp_path):
    write_biases(tmp_path / "b", make_detector(), 3)
    bias = BiasCorrector(tmp_path / "out", tmp_path / "b", instrument=CAMERA, verbose=False)
    bias.create_master_biases()
    path = tmp_path / "out" / "cal" / "bias_1_2x2.fits"
    os.truncate(path, 3000)
    with pytest.raises(InputError, match="no master frame"):
        load_master(path)


def test_science_frames_among_biases_are_left_out(tmp_path):
    detector, lines = make_detector(), []
    write_biases(tmp_path / "b", detector, 5)
    rng = np.random.default_rng(0)
    write(tmp_path / "b" / "sky.fits", detector.expose(rng, 5000, 1), "object", 1.0)
    bias = BiasCorrector(tmp_path / "out", tmp_path / "b", instrument=CAMERA)
    bias.build(say=lines.append)
    assert any("sky.fits" in line and "calls it a science frame" in line for line in lines)
    assert any(": 5 frames" in line for line in lines)


def test_frames_of_other_shape_kind_and_unreadable_ones_are_left_out_with_a_line(tmp_path):
    detector, lines = make_detector(), []
    write_flats(tmp_path / "f", detector, LEVELS[:4])
    rng = np.random.default_rng(0)
    write(tmp_path / "f" / "odd.fits", detector.expose(rng, 5000, 1)[:20], "flat", 1.0)
    write(tmp_path / "f" / "bias.fits", detector.expose(rng, 0, 0), "bias", 1.0)
    write(tmp_path / "f" / "sky.fits", detector.expose(rng, 5000, 1), "object", 1.0)
    write(tmp_path / "f" / "night.fits", detector.expose(rng, 0, 1) * 0 + 90, "flat", 1.0)
    write(tmp_path / "f" / "burnt.fits", detector.expose(rng, 80000, 1), "flat", 1.0)
    whole = (tmp_path / "f" / "flat_g000.fits").read_bytes()
    (tmp_path / "f" / "cut.fits").write_bytes(whole[:5000])
    write_biases(tmp_path / "b", detector, 5)
    bias = BiasCorrector(tmp_path / "out", tmp_path / "b", instrument=CAMERA)
    flat = FlatFieldCorrector(tmp_path / "out", tmp_path / "f", instrument=CAMERA, bias_corrector=bias)
    flat.build(say=lines.append)
    text = "\n".join(lines)
    for name, why in (
        ("odd.fits", "20x62 pixels"),
        ("bias.fits", "calls it a bias"),
        ("cut.fits", "truncated"),
        ("night.fits", "no light"),
        ("burnt.fits", "saturated"),
    ):
        assert any(name in line and why in line for line in lines), (name, text)
    assert "science frames by their headers" in text
    assert flat.masters["1:g"].n_frames == 5


@pytest.mark.parametrize("n", [1, 2])
def test_one_or_two_frames_still_make_a_master(tmp_path, n):
    detector, lines = make_detector(), []
    write_biases(tmp_path / "b", detector, n, rays=0)
    bias = BiasCorrector(tmp_path / "out", tmp_path / "b", instrument=CAMERA)
    bias.build(say=lines.append)
    pull = (bias.masters["1"].data - detector.bias) / np.sqrt(bias.masters["1"].variance)
    assert abs(pull.std() - 1) < 0.06
    assert any("frame(s)" in line for line in lines)


def test_darks_without_bias_serve_their_exposure_time_only(tmp_path):
    detector = make_detector()
    write_darks(tmp_path / "d", detector, 6, 20.0)
    dark = DarkNoiseCorrector(tmp_path / "out", tmp_path / "d", instrument=CAMERA, verbose=False)
    dark.create_master_darks()
    (master,) = dark.masters.values()
    assert master.exposure == 20.0
    left = dark.correct(np.zeros(SHAPE) + detector.bias + 20.0 * detector.dark, "g", 20.0)
    assert abs(left[good(detector)]).mean() < 2.0
    with pytest.raises(InputError, match=r"darks of 20 s.*cannot be scaled to 5 s; give bias frames"):
        dark.correct(np.zeros(SHAPE), "g", 5.0)


def test_flats_lose_darks_of_their_own_exposure_time_where_there_is_no_bias(tmp_path):
    detector = make_detector()
    write_darks(tmp_path / "d", detector, 12, 2.0)
    write_flats(tmp_path / "f", detector, LEVELS, seconds=2.0)
    dark = DarkNoiseCorrector(tmp_path / "out", tmp_path / "d", instrument=CAMERA, verbose=False)
    options = {"instrument": CAMERA, "dark_noise_corrector": dark, "verbose": False}
    flat = FlatFieldCorrector(tmp_path / "out", tmp_path / "f", **options)
    flat.create_master_flats()
    master = flat.masters["1:g"]
    pull = ((master.data - detector.response) / np.sqrt(master.variance))[good(detector)]
    assert abs(pull.std() - 1) < 0.06
    write_flats(tmp_path / "other", detector, LEVELS[:3], seconds=3.0)
    with pytest.raises(InputError, match="cannot be scaled to 3 s"):
        FlatFieldCorrector(tmp_path / "out", tmp_path / "other", **options).create_master_flats()


def test_noise_of_few_bias_frames_reaches_faint_flats(tmp_path):
    detector = make_detector()
    write_biases(tmp_path / "b", detector, 3, rays=0)
    write_flats(tmp_path / "f", detector, [150.0] * 30, seconds=0.0)
    bias = BiasCorrector(tmp_path / "out", tmp_path / "b", instrument=CAMERA, verbose=False)
    flat = FlatFieldCorrector(
        tmp_path / "out", tmp_path / "f", bias_corrector=bias, instrument=CAMERA, verbose=False
    )
    flat.create_master_flats()
    master = flat.masters["1:g"]
    pull = ((master.data - detector.response) / np.sqrt(master.variance))[good(detector)]
    assert abs(pull.std() - 1) < 0.06


def test_bias_noise_cancels_where_darks_and_frames_are_alike(tmp_path):
    """Bias plus rate times seconds is the mean dark itself at the darks' exposure time."""
    detector = make_detector()
    write_biases(tmp_path / "b", detector, 3, rays=0)
    write_darks(tmp_path / "d", detector, 20, 20.0)
    bias = BiasCorrector(tmp_path / "out", tmp_path / "b", instrument=CAMERA, verbose=False)
    dark = DarkNoiseCorrector(
        tmp_path / "out", tmp_path / "d", bias_corrector=bias, instrument=CAMERA, verbose=False
    )
    dark.create_master_darks()
    pedestal = pedestal_of(("1", "2x2", SHAPE), [bias, dark])
    for seconds in (0.5, 20.0, 35.0):
        level, rate = pedestal.maps(seconds)
        error = level + rate * seconds - detector.bias - detector.dark * seconds
        pull = (error / np.sqrt(pedestal.variance(seconds)))[good(detector)]
        assert abs(pull.std() - 1) < 0.06, seconds
    assert pedestal.usual_variance(20.0) == pytest.approx(np.median(pedestal.variance(20.0)), rel=0.05)


def test_cameras_keep_their_own_masters(tmp_path):
    """Detectors are told apart by serial number or by folder, flats by their filter."""
    cameras = (
        CameraSpec(name="1", filters=("g",), serials=("A",), read_noise=2.5),
        CameraSpec(name="2", filters=("r",), serials=("B",), read_noise=2.5),
    )
    two = Instrument(name="two cameras", cameras=cameras)
    rng, detector = np.random.default_rng(3), make_detector()
    for i in range(8):
        image = detector.expose(rng, 0.0, 0.0) + np.uint16(500 * (i % 2))
        serial = "AB"[i % 2]
        write(tmp_path / "b" / f"{i}.fits", image, "bias", 0.0, "g", SERIALN=serial)
        write(tmp_path / "c2" / f"{i}.fits", image, "bias", 0.0, None)
    bias = BiasCorrector(tmp_path / "out", tmp_path / "b", instrument=two, verbose=False)
    bias.create_master_biases()
    assert list(bias.masters) == ["1", "2"]
    step = bias.masters["2"].data - bias.masters["1"].data
    assert np.median(step) == pytest.approx(500, abs=3)
    assert bias.correct(np.full(SHAPE, 700.0), "r").mean() == pytest.approx(100, abs=3)
    given = BiasCorrector(tmp_path / "o2", c2_biases_directory=tmp_path / "c2", instrument=two, verbose=False)
    given.create_master_biases()
    assert list(given.masters) == ["2"]
    nobody = BiasCorrector(tmp_path / "o3", tmp_path / "c2", instrument=two, verbose=False)
    with pytest.raises(InputError, match="give the folder of one camera"):
        nobody.create_master_biases()


def test_wrong_arguments_are_told(tmp_path):
    write_biases(tmp_path / "b", make_detector(), 3)
    with pytest.raises(InputError, match="from_header"):
        DarkNoiseCorrector(tmp_path)
    with pytest.raises(InputError, match="FlatFieldCorrector needs a folder of flat frames"):
        FlatFieldCorrector(tmp_path)
    with pytest.raises(InputError, match="sigma"):
        BiasCorrector(tmp_path, tmp_path / "b", sigma=0.5)
    with pytest.raises(InputError, match="no camera 2"):
        BiasCorrector(tmp_path, c2_biases_directory=tmp_path / "b", instrument=CAMERA)
    with pytest.raises(InputError, match="does not exist"):
        BiasCorrector(tmp_path, tmp_path / "nowhere", instrument=CAMERA).create_master_biases()
    bias = BiasCorrector(tmp_path, tmp_path / "b", instrument=CAMERA, verbose=False)
    with pytest.raises(InputError, match=r"no master bias for 1 with 9x9 pixels.*there are: 1 with 47x62"):
        bias.correct(np.zeros((9, 9)), "1:g")


def test_fits_layout_is_plain(night):
    root, _, _ = night
    with fits.open(root / "out" / "cal" / "flat_1-g_2x2.fits") as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "DATA", "VARIANCE", "COUNT", "MASK"]
        assert hdus[0].header["CAMERA"] == "1:g"
