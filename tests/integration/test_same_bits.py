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
from opticam_dask.simulate import CameraSetup

pytestmark = pytest.mark.cluster


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
