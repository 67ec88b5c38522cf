"""Lazy cubes of calibrated frames."""

from __future__ import annotations

import dask
import numpy as np
import pytest

import opticam_dask as opticam
from opticam_dask.simulate import CameraSetup
from opticam_dask.testing.scheduler import CountingScheduler


@pytest.fixture(scope="module")
def reducer(tmp_path_factory: pytest.TempPathFactory) -> opticam.Reducer:
    folder = tmp_path_factory.mktemp("night")
    scene = opticam.Scene(
        n_frames=7,
        shape=(90, 112),
        n_stars=3,
        bias=500.0,
        vignetting=0.4,
        gain=2.0,
        sky=200.0,
        cameras=(CameraSetup(filter="g"), CameraSetup(filter="r")),
        seed=2,
    )
    opticam.simulate_night(scene, folder / "data")
    cal = folder / "cal"
    opticam.simulate_calibration(scene, cal, n_bias=8, n_dark=2, n_flat=8)
    return opticam.Reducer(
        folder / "out",
        folder / "data",
        verbose=False,
        show_plots=False,
        cluster="threads",
        bias_corrector=opticam.BiasCorrector(folder / "out", cal / "bias", verbose=False),
        flat_corrector=opticam.FlatFieldCorrector(folder / "out", cal / "flat", verbose=False),
        region_of_interest=((10, 90), (12, 112)),
        rebin_factor=2,
        electrons=True,
    )


def test_pixels_are_calibrated_when_they_are_read(reducer: opticam.Reducer) -> None:
    with dask.config.set(scheduler=CountingScheduler(0)):
        night = reducer.observation()
        cube = night["1:g"]["image"]
        part = cube[2:4, 5:11, 30:50]
    assert cube.shape == (7, 40, 50)
    assert cube.attrs["units"] == "electron"
    values = part.values
    assert np.array_equal(values, cube.values[2:4, 5:11, 30:50])
    assert np.median(values) == pytest.approx(4 * 2.0 * 200.0 * 0.87, rel=0.06)  # vignetting lost some
    flat = np.median(cube.values, axis=0)
    assert np.ptp([np.median(flat[:8, :8]), np.median(flat[16:24, 20:30])]) < 0.03 * np.median(flat)


def test_cameras_stack_as_raw_ones_do(reducer: opticam.Reducer) -> None:
    night = reducer.observation()
    cube = opticam.stack_cameras(night, tolerance="0.5s")
    assert cube.dims == ("camera", "time", "y", "x")
    assert np.array_equal(cube.sel(camera="2:r").values[3], night["2:r"]["image"].values[3], equal_nan=True)
