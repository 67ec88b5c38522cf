"""A long night with everything that moves: drift, rotation, a meridian flip, clouds, gaps and hot pixels."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import opticam_dask as opticam
from opticam_dask.simulate import CameraSetup, Cloud

pytestmark = pytest.mark.slow

FRAMES = 240


@pytest.fixture(scope="module")
def reduced(tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    here = tmp_path_factory.mktemp("long")
    scene = opticam.Scene(
        seed=11,
        n_frames=FRAMES,
        cameras=(
            CameraSetup(filter="g", cadence_s=20.0),
            CameraSetup(filter="r", cadence_s=15.0, dropped_fraction=0.05),
        ),
        shape=(391, 437),
        n_stars=14,
        flux_range=(3e3, 2e5),
        margin_px=110.0,
        min_separation_px=25.0,
        semimajor_sigma=2.4,
        semiminor_sigma=1.6,
        orientation=37.0,
        drift_px_per_hour=(60.0, -45.0),
        rotation_deg_per_hour=3.0,
        flip_time_s=2500.0,
        jitter_px=0.6,
        hot_pixels=40,
        clouds=(Cloud(start=60, stop=64), Cloud(start=120, stop=125, extinction_mag=1.0)),
        pointing=(83.6, 22.0),
    )
    opticam.simulate_night(scene, here / "data")
    with opticam.Reducer(here / "out", here / "data", verbose=False) as reducer:
        reducer.create_catalogs()
        estimator = opticam.DefaultLocalBackground()
        reducer.photometry(opticam.OptimalPhotometer(forced=True, local_background_estimator=estimator))
    truth = pd.read_parquet(here / "data/truth.parquet")
    return (
        pd.read_parquet(here / "out/alignment.parquet"),
        opticam.open_light_curves(here / "out").compute(),
        truth,
    )


def test_every_frame_is_a_row_and_only_clouds_are_lost(reduced: tuple[pd.DataFrame, ...]) -> None:
    alignment, rows, truth = reduced
    frames = truth.groupby(["camera", "frame"]).ngroups
    assert len(alignment) == frames
    assert not rows.duplicated(["camera", "source", "frame"]).any()
    assert len(rows) == sum(
        rows[rows["camera"] == camera]["source"].nunique() * len(part)
        for camera, part in alignment.groupby("camera")
    )
    dark = truth[truth["flux"] == 0].groupby("camera")["frame"].agg(set)
    lost = alignment[alignment["status"] != "aligned"].groupby("camera")["frame"].agg(set)
    assert lost.to_dict() == dark.to_dict()


def test_positions_and_fluxes_are_the_truth(reduced: tuple[pd.DataFrame, ...]) -> None:
    alignment, rows, truth = reduced
    good = alignment[alignment["status"] == "aligned"][["camera", "frame"]]
    rows = rows.merge(good, on=["camera", "frame"])
    both = rows.merge(truth, on=["camera", "frame"], suffixes=("", "_true"))
    near = np.hypot(both["x"] - both["x_true"], both["y"] - both["y_true"]) < 2.0
    both = both[near]
    assert len(both) == len(rows)
    assert both.groupby(["camera", "source"])["star"].nunique().max() == 1
    offset = np.hypot(both["x"] - both["x_true"], both["y"] - both["y_true"])
    assert np.sqrt(np.mean(offset**2)) < 0.12
    clean = both[(both["flags"] & int(opticam.Flag.SATURATED | opticam.Flag.EDGE)) == 0]
    pull = (clean["flux"] - clean["flux_true"]) / clean["flux_err"]
    assert abs(pull.mean()) < 0.3
    assert 0.85 < pull.std() < 1.3
