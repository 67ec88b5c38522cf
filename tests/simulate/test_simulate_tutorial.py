"""The tutorial's scene: its stars, times, noise, files and printed facts."""

import math

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits

from opticam_dask.errors import InputError
from opticam_dask.simulate import (
    generate_flats,
    generate_gappy_observations,
    generate_observations,
    tutorial_scene,
)
from opticam_dask.simulate.frames import camera_frames

TOTALS = [8461, 6672, 5514, 4265, 1706, 1636]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("tutorial")
    generate_observations(out, n_images=4, circular_aperture=False)
    return out


def test_stars_are_those_of_the_tutorial():
    scene = tutorial_scene()
    assert [star[2] for star in scene.stars] == TOTALS
    assert tuple(round(v) for v in scene.stars[1][:2]) == (131, 115)
    assert scene.shape == (512, 512)
    flux = scene.stars[1][2]
    assert flux / (2 * math.pi * scene.semimajor_sigma**2) == pytest.approx(472, abs=0.5)


@pytest.mark.parametrize("binning", [1, 2, 3, 8])
def test_other_binnings_are_detectable(binning):
    scene = tutorial_scene(binning_scale=binning)
    assert scene.shape == (2048 // binning,) * 2
    peak = scene.stars[-1][2] / (2 * math.pi * scene.semimajor_sigma**2)
    assert peak > 5 * 10
    assert scene.stars[1][0] * binning == pytest.approx(4 * 130.721223)


def test_files_headers_and_dtype(folder):
    names = sorted(path.name for path in folder.glob("*.fits.gz"))
    assert names == sorted(f"240101{f}20000000{i}o.fits.gz" for f in "gri" for i in range(4))
    data, header = fits.getdata(folder / names[3], header=True)
    assert data.dtype == ">f8"
    expected = {
        "FILTER": "g",
        "BINNING": "4x4",
        "GAIN": 1.0,
        "EXPOSURE": 1.0,
        "DARKCURR": 0.0,
        "RA": 0.0,
        "DEC": 0.0,
    }
    assert {key: header[key] for key in expected} == expected
    assert header["UT"] == "2024-01-01 00:00:03"


def test_truth_holds_the_variability(folder):
    truth = pd.read_parquet(folder / "truth.parquet")
    seconds = np.arange(4)
    for camera, lag in (("1:g", 0.0), ("2:r", math.pi / 2), ("3:i", math.pi)):
        flux = truth[(truth.camera == camera) & (truth.star == 2)].flux
        wave = 1 + 0.02 * math.sqrt(2) * np.sin(2 * math.pi * 0.135 * seconds + lag)
        np.testing.assert_allclose(flux, 6672 * wave, rtol=1e-12)
    first = truth[truth.frame == 0]
    assert first.MJD.unique() == pytest.approx([60310 + 0.5 / 86400], abs=1e-9)
    pointing = truth.pivot_table(index=["frame", "star"], columns="camera", values="x")
    np.testing.assert_array_equal(pointing["1:g"], pointing["3:i"])


def test_pointing_jitter_is_one_pixel():
    scene = tutorial_scene(2000)
    offset = camera_frames(scene, scene.cameras[0]).run.offset
    np.testing.assert_allclose(offset.std(axis=0), 1.0, rtol=0.06)
    assert abs(np.corrcoef(offset.T)[0, 1]) < 0.1


def test_noise_adds_in_quadrature(folder):
    scene = tutorial_scene(4, circular_aperture=False)
    residuals = []
    for camera in scene.cameras:
        frames = camera_frames(scene, camera)
        for row in range(4):
            truth = frames.expected(row)
            residuals.append((fits.getdata(folder / frames.name(row)) - truth) / np.sqrt(truth))
    z = np.array(residuals)
    assert z.var() == pytest.approx(1.0, abs=0.005)
    correlations = np.corrcoef(z.reshape(12, -1)) - np.eye(12)
    assert np.abs(correlations).max() < 5 / 512


def test_facts_are_printed(tmp_path, capsys):
    generate_observations(tmp_path, n_images=1, binning_scale=32)
    out, err = capsys.readouterr()
    assert "[OPTICAM] variability RMS: 0.02 (fraction)" in out
    assert "0.135 Hz" in out
    assert "r-band: 1.571 radians" in out
    assert "3/3" in err
    generate_observations(tmp_path / "four", n_images=1)
    assert "[OPTICAM] variable source is at (131, 115)" in capsys.readouterr().out


def test_gaps(tmp_path):
    generate_gappy_observations(tmp_path, n_images=150, binning_scale=64)
    truth = pd.read_parquet(tmp_path / "truth.parquet")
    g = truth[(truth.camera == "1:g") & (truth.star == 1)]
    assert len(g) < 150
    assert (np.diff(g.exposure_index) > 1).any()
    assert len(list(tmp_path.glob("*.fits.gz"))) == 3 * len(g)
    np.testing.assert_allclose((g.MJD - 60310) * 86400 - 0.5, g.exposure_index, atol=1e-4)


def test_flats_correct_the_shadow(tmp_path):
    generate_flats(tmp_path / "flats", n_flats=3, binning_scale=16)
    generate_observations(tmp_path / "data", n_images=1, binning_scale=16)
    flats = [fits.getdata(path) for path in sorted((tmp_path / "flats").glob("r-band*"))]
    flat = np.mean(flats, axis=0) / 1e4
    assert flat[0, 0] < 0.6 < 0.99 < flat[60:68, 60:68].mean() < 1.01
    frame = fits.getdata(next((tmp_path / "data").glob("*r2*.gz")))
    assert np.median((frame / flat)[:12, :12]) == pytest.approx(100, abs=4)
    assert np.median(frame[:12, :12]) < 75


def test_bad_arguments(tmp_path):
    with pytest.raises(InputError, match=r"binning_scale .* not 0"):
        generate_observations(tmp_path, binning_scale=0)
    with pytest.raises(InputError, match=r"n_frames .* not -1"):
        generate_observations(tmp_path, n_images=-1)
    generate_observations(tmp_path, n_images=1, binning_scale=64)
    with pytest.raises(InputError, match="circular_aperture"):
        generate_observations(tmp_path, n_images=1, binning_scale=64, circular_aperture=False)
    generate_observations(tmp_path, n_images=1, binning_scale=64, circular_aperture=False, overwrite=True)
