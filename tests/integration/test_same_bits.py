"""Light curves are the same to the last bit whatever the blocks, the workers and the order of the files."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import dask
import pandas as pd
import pytest

import opticam_dask as opticam
from opticam_dask.schema import LIGHT_CURVE_KEY
from opticam_dask.simulate import CameraSetup, simulate_calibration

pytestmark = pytest.mark.cluster

NUMBERS = ("source", "frame", "BMJD", "flux", "flux_err", "bkg", "bkg_err", "x", "y", "flags")


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("night")
    scene = opticam.Scene(
        n_frames=20,
        shape=(149, 181),
        n_stars=9,
        semimajor_sigma=2.2,
        semiminor_sigma=1.6,
        orientation=37.0,
        cameras=(CameraSetup(filter="g", cadence_s=2.0), CameraSetup(filter="r", cadence_s=3.0)),
        drift_px_per_hour=(400.0, -250.0),
        rotation_deg_per_hour=20.0,
        seed=5,
    )
    opticam.simulate_night(scene, folder)
    return folder


def reduce(data: Any, out: Path, **engine: Any) -> dict[str, pd.DataFrame]:
    frames_per_block = engine.pop("frames_per_block", None)
    with (
        dask.config.set({"opticam.frames-per-block": frames_per_block}),
        opticam.Reducer(out, data, verbose=False, show_plots=False, **engine) as reducer,
    ):
        reducer.create_catalogs()
        for estimator in (opticam.DefaultLocalBackground(), None):
            reducer.photometry(opticam.OptimalPhotometer(local_background_estimator=estimator))
    return {
        label: opticam.open_light_curves(out, label=label)
        .compute()
        .sort_values(list(LIGHT_CURVE_KEY), ignore_index=True)
        for label in ("optimal", "optimal_annulus")
    }


@pytest.fixture(scope="module")
def reference(night: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, pd.DataFrame]:
    return reduce(night, tmp_path_factory.mktemp("reference"), cluster="threads")


def shuffled(night: Path) -> list[Path]:
    files = sorted(night.glob("*.fit*"))
    random.Random(3).shuffle(files)
    return files


@pytest.mark.parametrize(
    "engine",
    [
        {"cluster": "threads", "frames_per_block": 1},
        {"cluster": "threads", "frames_per_block": 7},
        {"cluster": "threads", "frames_per_block": 64},
        {"cluster": "local", "number_of_processors": 1},
        {"cluster": "local", "number_of_processors": 2, "frames_per_block": 3},
        {"cluster": "threads", "shuffle": True},
    ],
    ids=["blocks of 1", "blocks of 7", "blocks of 64", "1 process", "2 processes", "shuffled files"],
)
def test_same_bits(
    engine: dict[str, Any], night: Path, reference: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    data = shuffled(night) if engine.pop("shuffle", False) else night
    tables = reduce(data, tmp_path / "out", **engine)
    for label, table in tables.items():
        assert len(table) > 300
        pd.testing.assert_frame_equal(table, reference[label], check_exact=True)
        assert table["flux"].to_numpy().tobytes() == reference[label]["flux"].to_numpy().tobytes()


ALL_AT_ONCE = (
    opticam.OptimalPhotometer(psf="frame", local_background_estimator=opticam.PlaneLocalBackground()),
    opticam.OptimalPhotometer(profile="moffat", forced=True),
)


@pytest.fixture(scope="module")
def calibrated_night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("calibrated")
    scene = opticam.Scene(
        n_frames=8,
        shape=(149, 181),
        n_stars=7,
        semimajor_sigma=2.2,
        semiminor_sigma=1.6,
        orientation=37.0,
        profile="moffat",
        cameras=(CameraSetup(filter="g"),),
        jitter_px=1.0,
        seeing_change=0.3,
        cosmic_rays=20.0,
        bias=150.0,
        dark_current=20.0,
        dark_nonuniformity=0.2,
        vignetting=0.3,
        hot_pixels=10,
        seed=6,
    )
    opticam.simulate_night(scene, folder / "night")
    simulate_calibration(scene, folder, n_bias=4, n_dark=4, n_flat=4)
    return folder


def reduce_calibrated(folder: Path, out: Path, frames_per_block: int, **engine: Any) -> dict[str, bytes]:
    """Tables of both photometers, columns as bytes, and those of the master frames."""
    quiet: dict[str, Any] = {"verbose": False}
    with (
        dask.config.set({"opticam.frames-per-block": frames_per_block}),
        opticam.Reducer(
            out,
            folder / "night",
            bias_corrector=opticam.BiasCorrector(out, folder / "bias", **quiet),
            dark_noise_corrector=opticam.DarkNoiseCorrector(out, folder / "dark", **quiet),
            flat_corrector=opticam.FlatFieldCorrector(out, folder / "flat", **quiet),
            remove_cosmic_rays=True,
            show_plots=False,
            **quiet,
            **engine,
        ) as reducer,
    ):
        reducer.create_catalogs()
        reducer.photometry(ALL_AT_ONCE, export_csv=False)
    found = {path.name: path.read_bytes() for path in (out / "cal").glob("*.fits")}
    for photometer in ALL_AT_ONCE:
        table = opticam.open_light_curves(out, label=photometer.label).compute()
        table = table.sort_values(list(LIGHT_CURVE_KEY), ignore_index=True).astype({"camera": str})
        assert table["flux"].notna().sum() > 30
        assert (table["flags"] & int(opticam.Flag.COSMIC_RAY)).any()
        found |= {f"{photometer.label} {name}": table[name].to_numpy().tobytes() for name in NUMBERS}
    return found


@pytest.fixture(scope="module")
def calibrated_reference(
    calibrated_night: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    return reduce_calibrated(calibrated_night, tmp_path_factory.mktemp("whole"), 64, cluster="threads")


@pytest.mark.parametrize(
    ("frames_per_block", "engine"),
    [
        pytest.param(1, {"cluster": "threads"}, marks=pytest.mark.slow),
        (5, {"cluster": "threads"}),
        (5, {"cluster": "local", "number_of_processors": 2}),
    ],
    ids=["blocks of 1", "blocks of 5", "2 processes"],
)
def test_same_bits_calibrated(
    frames_per_block: int,
    engine: dict[str, Any],
    calibrated_night: Path,
    calibrated_reference: dict[str, bytes],
    tmp_path: Path,
) -> None:
    found = reduce_calibrated(calibrated_night, tmp_path / "out", frames_per_block, **engine)
    assert [name for name in calibrated_reference if found[name] != calibrated_reference[name]] == []
