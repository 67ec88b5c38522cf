"""Simulated calibration frames: what they hold, how they are written, and that they change nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from opticam_dask.cli import main
from opticam_dask.errors import InputError
from opticam_dask.simulate import CameraSetup, Scene, simulate_calibration, simulate_night
from opticam_dask.simulate.frames import camera_frames

CAMERA = CameraSetup(filter="r", exposure_s=2.0)
BASE = {"cameras": (CAMERA,), "shape": (121, 95), "compression": "none"}


def scene(**options):
    return Scene(**{**BASE, "stars": ((50.0, 60.0, 5000.0),), **options})


def stack(paths):
    return np.array([fits.getdata(path).astype(float) for path in paths])


def test_headers_tell_kind_filter_and_exposure(tmp_path):
    made = simulate_calibration(
        scene(bias=50.0), tmp_path, n_bias=2, n_dark=1, n_flat=3, dark_exposures_s=(2.0, 10.0)
    )
    assert len(made) == 2 + 2 + 3
    for kind, exposures in {"bias": {0.0}, "dark": {2.0, 10.0}, "flat": {1.0}}.items():
        headers = [fits.getheader(path) for path in getattr(made, kind)]
        assert {h["IMGTYPE"] for h in headers} == {kind}
        assert {h["FILTER"] for h in headers} == {"r"}
        assert {h["EXPOSURE"] for h in headers} == exposures
        assert {path.parent for path in getattr(made, kind)} == {tmp_path / kind}
        assert {h["BINNING"] for h in headers} == {"4x4"}
        assert len({h["UT"] for h in headers}) == len(headers)


def test_bias_frames_hold_the_pattern_and_the_read_noise(tmp_path):
    night = scene(bias=200.0, bias_structure=4.0, read_noise=3.0, gain=1.5)
    frames = stack(simulate_calibration(night, tmp_path, n_bias=40, n_dark=0, n_flat=0).bias)
    master = frames.mean(axis=0)
    assert master.mean() == pytest.approx(200.0, abs=0.05)
    assert frames.std(axis=0, ddof=1).mean() == pytest.approx(np.hypot(2.0, np.sqrt(1 / 12)), rel=0.01)
    columns, rows = master.mean(axis=0), master.mean(axis=1)
    rebuilt = columns[None, :] + rows[:, None] - master.mean()
    assert (master - rebuilt).std() < 0.4  # the pattern is of columns and rows: only noise is left
    assert master.std() == pytest.approx(4.0, rel=0.15)


def test_dark_frames_grow_with_the_exposure(tmp_path):
    night = scene(dark_current=30.0, dark_nonuniformity=0.2, hot_pixels=12, hot_pixel_level=800.0, gain=2.0)
    made = simulate_calibration(night, tmp_path, n_bias=0, n_dark=30, n_flat=0, dark_exposures_s=(2.0, 8.0))
    short, long = (stack(made.dark[k : k + 30]).mean(axis=0) for k in (0, 30))
    detector = camera_frames(night, CAMERA).detector
    hot = detector.hot > 0
    assert np.median(short) == pytest.approx(30.0, rel=0.05)
    np.testing.assert_allclose(short[hot], 30.0 + detector.hot[hot], rtol=0.05)
    np.testing.assert_allclose(long[hot], 4.0 * short[hot], rtol=0.05)
    clean = ~hot
    assert np.corrcoef(short[clean], long[clean])[0, 1] > 0.9
    assert long[clean].std() / long[clean].mean() == pytest.approx(0.2, rel=0.05)


def test_flats_hold_shadows_rings_and_response_at_their_levels(tmp_path):
    night = scene(vignetting=0.3, dust_rings=3, dust_depth=0.2, prnu=0.02, bias=100.0)
    made = simulate_calibration(night, tmp_path, n_bias=0, n_dark=0, n_flat=40, flat_level=(2e4, 4e4))
    even, odd = (stack(made.flat[k::2]).mean(axis=0) - 100.0 for k in (0, 1))
    throughput = camera_frames(night, CAMERA).detector.throughput
    np.testing.assert_allclose(even / 2e4, throughput, atol=0.008)
    np.testing.assert_allclose(odd / 4e4, throughput, atol=0.006)
    shadows = camera_frames(night, CAMERA).detector.shadows
    assert np.std(throughput / shadows) == pytest.approx(0.02, rel=0.03)


def test_a_ring_is_lighter_in_the_middle():
    night = scene(shape=(601, 501), dust_rings=1, dust_depth=0.2)
    shadows = camera_frames(night, CAMERA).detector.shadows
    rows, columns = np.nonzero(shadows < 0.9)
    x, y = columns.mean(), rows.mean()
    radius = np.hypot(columns - x, rows - y)
    assert 0.3 * 20 < radius.min() < 0.6 * 20
    assert radius.max() == pytest.approx(20, abs=2.0)
    assert shadows[round(y), round(x)] > 0.99
    assert shadows.min() == pytest.approx(0.8, abs=0.005)


def test_a_night_has_the_same_bias_pattern_and_hot_pixels_as_its_calibration(tmp_path):
    night = scene(bias=200.0, bias_structure=5.0, hot_pixels=20, hot_pixel_level=3000.0, n_frames=20, sky=5.0)
    frames = stack(simulate_night(night, tmp_path / "night").paths).mean(axis=0)
    made = simulate_calibration(night, tmp_path / "cal", n_bias=20, n_dark=20, n_flat=0)
    bias, dark = stack(made.bias).mean(axis=0), stack(made.dark).mean(axis=0)
    rest = frames - dark
    hot = camera_frames(night, CAMERA).detector.hot > 0
    np.testing.assert_allclose(rest[hot], 5.0, atol=80.0)
    assert np.median(rest) == pytest.approx(5.0, abs=0.2)
    assert rest[:20].std() < 1.2  # away from the star the pattern is gone
    np.testing.assert_allclose((dark - bias)[~hot], 0.0, atol=3.0)


def test_without_patterns_a_detector_is_plain():
    detector = camera_frames(scene(bias=30.0, dark_current=2.0), CAMERA).detector
    assert detector.throughput is detector.shadows
    assert (detector.shadows == 1.0).all()
    assert (detector.bias, detector.dark) == (30.0, 2.0)


def test_same_scene_same_bytes_whatever_the_workers(tmp_path):
    night = scene(prnu=0.01, bias_structure=2.0, dark_current=3.0, dark_nonuniformity=0.3)
    one = simulate_calibration(night, tmp_path / "a", n_bias=3, n_dark=3, n_flat=3, workers=1)
    two = simulate_calibration(night, tmp_path / "b", n_bias=3, n_dark=3, n_flat=3, workers=2)
    for kind in ("bias", "dark", "flat"):
        for a, b in zip(getattr(one, kind), getattr(two, kind), strict=True):
            assert a.name == b.name
            assert a.read_bytes() == b.read_bytes()


def test_rerun_keeps_and_other_settings_are_refused(tmp_path):
    made = simulate_calibration(scene(), tmp_path, n_bias=2, n_dark=0, n_flat=0)
    stamp = made.bias[0].stat().st_mtime_ns
    made.bias[1].unlink()
    again = simulate_calibration(scene(), tmp_path, n_bias=2, n_dark=0, n_flat=0)
    assert again == made
    assert made.bias[0].stat().st_mtime_ns == stamp
    assert made.bias[1].exists()
    with pytest.raises(InputError, match="overwrite"):
        simulate_calibration(scene(bias=7.0), tmp_path, n_bias=2, n_dark=0, n_flat=0)
    simulate_calibration(scene(bias=7.0), tmp_path, n_bias=1, n_dark=0, n_flat=0, overwrite=True)
    assert len(list((tmp_path / "bias").iterdir())) == 1


def test_frames_of_unknown_origin_are_not_mixed_in(tmp_path):
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat" / "mine.fits").write_bytes(b"")
    with pytest.raises(InputError, match=r"mine\.fits"):
        simulate_calibration(scene(), tmp_path, n_flat=1)


@pytest.mark.parametrize(
    "options",
    [{"n_bias": -1}, {"n_bias": 0, "n_dark": 0, "n_flat": 0}, {"flat_level": 0.0}, {"flat_level": ()},
     {"dark_exposures_s": (1.0, -1.0)}, {"flat_exposure_s": float("nan")}],
)  # fmt: skip
def test_impossible_numbers_are_refused(tmp_path, options):
    with pytest.raises(InputError):
        simulate_calibration(scene(), tmp_path, **options)


@pytest.mark.parametrize("name", ["prnu", "bias_structure", "dark_nonuniformity", "dust_rings"])
def test_impossible_scenes_are_refused(name):
    with pytest.raises(InputError, match=name):
        scene(**{name: -1})


def test_command(tmp_path, monkeypatch, capsys):
    arguments = ["simulate", str(tmp_path / "n"), "--frames", "1", "--stars", "1", "--shape", "64x80"]
    monkeypatch.setattr("sys.argv", ["opticam-dask", *arguments, "--calibration", "2"])
    main()
    assert "18 calibration frames" in capsys.readouterr().out
    assert len(list((tmp_path / "n" / "calibration").glob("*/*.fit.gz"))) == 18
