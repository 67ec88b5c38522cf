"""Cosmic rays are looked for where sources are, and found there as on the whole frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import opticam_dask as opticam
from opticam_dask.calibration import cosmic_rays as module
from opticam_dask.calibration.cosmic_rays import cosmic_rays, cosmic_rays_near
from opticam_dask.simulate import CameraSetup

RNG = np.random.default_rng(7)
SHAPE = (301, 340)
PLACES = np.array([[50.0, 60.0], [200.3, 120.8], [331.0, 2.0], [-500.0, 9.0], [np.nan, np.nan]])


def frame() -> tuple[np.ndarray, np.ndarray]:
    image = RNG.poisson(100.0, SHAPE).astype(np.float32)
    row, column = np.indices(SHAPE)
    for x, y in PLACES[:3]:
        image += 3e4 / (2 * np.pi * 4.0) * np.exp(-0.125 * ((column - x) ** 2 + (row - y) ** 2))
    rays = RNG.integers(0, image.size, 400)
    image.ravel()[rays] += 1500.0
    return image, np.zeros(SHAPE, bool)


def test_near_sources_the_same_rays_are_found_as_on_the_whole_frame() -> None:
    image, bad = frame()
    bad[58:60, 45:70] = True
    whole = cosmic_rays(image, bad, gain=1.0, read_noise=2.0)
    near = cosmic_rays_near(image, bad, PLACES, 14.0, gain=1.0, read_noise=2.0)
    row, column = np.divmod(whole, SHAPE[1])
    beside = np.zeros(len(whole), bool)
    for x, y in PLACES[:3]:
        beside |= (np.abs(row - y) <= 14.0) & (np.abs(column - x) <= 14.0)
    assert beside.sum() >= 5
    assert np.isin(whole[beside], near).all()
    assert len(near) < 0.5 * len(whole)
    assert (np.diff(near) > 0).all()


def test_squares_larger_than_the_frame_are_the_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    image, bad = frame()
    seen: list[Any] = []
    search = module.cosmic_rays
    monkeypatch.setattr(
        module,
        "cosmic_rays",
        lambda image, bad, **noise: (seen.append(image.shape), search(image, bad, **noise))[1],
    )
    many = RNG.uniform(0, 300, (200, 2))
    cosmic_rays_near(image, bad, many, 20.0, gain=1.0, read_noise=2.0)
    assert seen == [SHAPE]
    assert cosmic_rays_near(image, bad, PLACES[3:], 20.0, gain=1.0, read_noise=2.0).size == 0


@pytest.mark.parametrize("rebin", [1, 2])
def test_a_reduction_flags_rays_in_apertures_and_keeps_the_flux(tmp_path: Path, rebin: int) -> None:
    scene = opticam.Scene(
        n_frames=12,
        shape=(200, 242),
        n_stars=8,
        flux_range=(2e4, 1e5),
        min_separation_px=40.0,
        margin_px=25.0,
        semimajor_sigma=3.0,
        semiminor_sigma=2.4,
        orientation=-40.0,
        jitter_px=0.7,
        cosmic_rays=60.0,
        cosmic_ray_electrons=3000.0,
        cameras=(CameraSetup(filter="g"),),
        pointing=(83.6, 22.0),
        seed=3,
    )
    opticam.simulate_night(scene, tmp_path / "data")
    options: dict[str, Any] = {"verbose": False, "show_plots": False, "cluster": "threads"}
    pulls = {}
    for remove in (False, True):
        out = tmp_path / f"out-{remove}"
        with opticam.Reducer(
            out, tmp_path / "data", remove_cosmic_rays=remove, rebin_factor=rebin, **options
        ) as reducer:
            reducer.create_catalogs()
            sky = opticam.DefaultLocalBackground()
            reducer.photometry(opticam.OptimalPhotometer(forced=True, local_background_estimator=sky))
        rows = opticam.open_light_curves(out).compute()
        truth = pd.read_parquet(tmp_path / "data/truth.parquet")[["frame", "star", "flux"]]
        both = rows.merge(truth, left_on=["frame", "source"], right_on=["frame", "star"])
        assert len(both) == 96
        flagged = (both["flags"] & int(opticam.Flag.COSMIC_RAY)) != 0
        assert flagged.any() == remove
        pulls[remove] = (both["flux_x"] - both["flux_y"]) / both["flux_err"]
    # a faint track across the bright core of a star cannot be told from it
    hit = pulls[False] > 4.0
    assert hit.sum() >= 8
    assert (pulls[True][hit] > 4.0).sum() <= hit.sum() / 4
    assert pulls[True][~hit].abs().max() < 4.5
