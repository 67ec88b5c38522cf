"""Hot pixels stay out of the fluxes of stars that drift over them, and stars stay out of their map."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pandas as pd
import pytest

import opticam_dask as opticam
from opticam_dask.catalog.model import CameraCatalog
from opticam_dask.catalog.store import load_catalogs
from opticam_dask.schema import LIGHT_CURVE_KEY, NULL_FLUX_FLAGS, Flag
from opticam_dask.simulate import CameraSetup
from opticam_dask.simulate.detector import make_detector
from opticam_dask.stages import PhotometryStage
from opticam_dask.stages.catalog import describe

CAMERA = CameraSetup(filter="g")
DRIFTING = opticam.Scene(
    n_frames=24,
    shape=(211, 243),
    n_stars=12,
    flux_range=(5e3, 5e4),
    min_separation_px=18.0,
    semimajor_sigma=1.9,
    semiminor_sigma=1.5,
    orientation=30.0,
    hot_pixels=200,
    hot_pixel_level=20000.0,
    drift_px_per_hour=(2500.0, -1500.0),
    jitter_px=0.5,
    cameras=(CAMERA,),
    compression="none",
    pointing=(83.6, 22.0),
    seed=1,
)
ANNULUS = opticam.DefaultLocalBackground()
PHOTOMETERS = [
    kind(forced=forced, local_background_estimator=estimator)
    for kind in (opticam.OptimalPhotometer, opticam.AperturePhotometer)
    for forced in (True, False)
    for estimator in (ANNULUS, None)
]


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("night")
    opticam.simulate_night(DRIFTING, folder)
    return folder


@pytest.fixture(scope="module")
def reduced(night: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[opticam.Reducer]:
    with reducer(night, tmp_path_factory.mktemp("out")) as reduction:
        reduction.create_catalogs()
        yield reduction


def reducer(data: Any, out: Path) -> opticam.Reducer:
    return opticam.Reducer(out, data, verbose=False, show_plots=False, cluster="threads")


def catalog_of(out: Path) -> CameraCatalog:
    return load_catalogs(out)["1:g"]


def measured(reduction: opticam.Reducer, photometer: Any, night: Path, near: float = 4.0) -> pd.DataFrame:
    """Rows of a photometer, each with the true place and flux of its star."""
    shutil.rmtree(reduction.out_directory / "lcs", ignore_errors=True)
    reduction.photometry(photometer)
    rows = opticam.open_light_curves(reduction.out_directory, label=photometer.label).compute()
    truth = pd.read_parquet(next(night.rglob("truth.parquet")), columns=["frame", "star", "x", "y", "flux"])
    both = rows.merge(truth, on="frame", suffixes=("", "_true"))
    apart = np.hypot(both["x"] - both["x_true"], both["y"] - both["y_true"])
    both = both[apart < near].assign(pull=(both["flux"] - both["flux_true"]) / both["flux_err"])
    assert len(both) == len(rows)
    return both


def hot_of(scene: opticam.Scene) -> np.ndarray:
    return np.flatnonzero(make_detector(scene, CAMERA, scene.exposure_s).hot)


def in_core(rows: pd.DataFrame, scene: opticam.Scene, radius: float) -> np.ndarray:
    """Whether the pixels within ``radius`` of the true places hold a hot one."""
    y, x = np.divmod(hot_of(scene), scene.shape[1])
    return np.asarray(
        [(np.hypot(x - a, y - b) < radius).any() for a, b in zip(rows["x_true"], rows["y_true"], strict=True)]
    )


def test_the_map_holds_the_hot_pixels_and_the_log_tells(reduced: opticam.Reducer) -> None:
    catalog = catalog_of(reduced.out_directory)
    assert np.array_equal(catalog.hot, hot_of(DRIFTING))
    assert ", 200 hot pixels, PSF" in describe(catalog)
    assert "hot" not in describe(replace(catalog, hot=catalog.hot[:0]))
    assert catalog.digest() != replace(catalog, hot=catalog.hot[1:]).digest()


@pytest.mark.parametrize("photometer", PHOTOMETERS, ids=lambda photometer: photometer.label)
def test_fluxes_of_stars_over_hot_pixels_are_right_and_flagged(
    photometer: Any, reduced: opticam.Reducer, night: Path
) -> None:
    rows = measured(reduced, photometer, night)
    hit = in_core(rows, DRIFTING, 3.0)
    assert hit.sum() >= 15
    assert (rows["flags"][hit] & int(Flag.NON_FINITE)).all()
    lost = rows["flux"].isna()
    assert lost.mean() < 0.02
    assert (rows["flags"][lost] & int(NULL_FLUX_FLAGS)).all()
    assert rows["pull"].abs().max() < 5
    assert abs(rows["pull"][hit].mean()) < 0.6


def test_without_the_map_they_would_be_wrong(
    reduced: opticam.Reducer, night: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = PhotometryStage.plan
    monkeypatch.setattr(
        PhotometryStage, "plan", lambda *args: replace(plan(*args), hot=np.empty(0, np.int64))
    )
    rows = measured(reduced, PHOTOMETERS[0], night)
    assert rows["pull"][in_core(rows, DRIFTING, 3.0)].max() > 50


def test_any_block_size_gives_the_same_map_and_fluxes(night: Path, tmp_path: Path) -> None:
    results = []
    for size in (None, 1, 7):
        out = tmp_path / str(size)
        with (
            dask.config.set({"opticam.frames-per-block": size}),
            reducer(sorted(night.glob("*.fit*"))[:10], out) as reduction,
        ):
            reduction.create_catalogs()
            reduction.photometry(PHOTOMETERS[2])
        results.append((catalog_of(out), table_of(out, PHOTOMETERS[2].label)))
    assert len(results[0][0].hot) > 190
    for catalog, table in results[1:]:
        assert catalog == results[0][0]
        pd.testing.assert_frame_equal(table, results[0][1], check_exact=True)


def table_of(out: Path, label: str) -> pd.DataFrame:
    return (
        opticam.open_light_curves(out, label=label)
        .compute()
        .sort_values(list(LIGHT_CURVE_KEY), ignore_index=True)
    )


@pytest.mark.parametrize("n", [1, 2, 3])
def test_fewer_than_three_frames_give_no_map(n: int, night: Path, tmp_path: Path) -> None:
    with reducer(sorted(night.glob("*.fit*"))[:n], tmp_path) as reduction:
        reduction.create_catalogs()
    assert (len(catalog_of(tmp_path).hot) > 0) == (n == 3)


@pytest.mark.parametrize("hot_pixels", [0, 200])
def test_cores_of_undersampled_stars_that_stand_still_are_not_hot(hot_pixels: int, tmp_path: Path) -> None:
    scene = replace(
        DRIFTING,
        n_frames=12,
        n_stars=30,
        flux_range=(3e3, 1e5),
        min_separation_px=14.0,
        semimajor_sigma=0.8,
        semiminor_sigma=0.8,
        drift_px_per_hour=(0.0, 0.0),
        jitter_px=0.0,
        hot_pixels=hot_pixels,
        seed=2,
    )
    opticam.simulate_night(scene, tmp_path / "night")
    with reducer(tmp_path / "night", tmp_path / "out") as reduction:
        reduction.create_catalogs(max_catalog_sources=50)
        hot = catalog_of(tmp_path / "out").hot
        assert np.isin(hot, hot_of(scene)).all()
        assert len(hot) >= 0.95 * hot_pixels
        if hot_pixels == 0:
            rows = measured(reduction, PHOTOMETERS[0], tmp_path / "night", near=1.0)
            ratio = (rows["flux"] / rows["flux_true"]).groupby(rows["star"]).mean()
            assert not (rows["flags"] & int(Flag.NON_FINITE)).any()
            assert (ratio - 1).abs().max() < 0.03
            assert abs(ratio.median() - 1) < 0.01


def test_a_part_damaged_on_disk_is_made_again(
    reduced: opticam.Reducer,
) -> None:
    photometer = opticam.OptimalPhotometer(forced=True)
    shutil.rmtree(reduced.out_directory / "lcs", ignore_errors=True)
    reduced.photometry(photometer)
    root = reduced.out_directory / "lcs" / photometer.label / "light_curves"
    before = {path: path.read_bytes() for path in root.rglob("*.parquet")}
    damaged = sorted(before)[1:3]
    damaged[0].write_bytes(before[damaged[0]][:-100])
    damaged[1].write_bytes(b"")
    reduced.photometry(photometer)
    assert {path: path.read_bytes() for path in root.rglob("*.parquet")} == before
    log = (reduced.out_directory / "opticam.log").read_text()
    assert log.count("as earlier versions wrote them, made again: 2") == 1
    assert damaged[0].name in log
