"""Seeing that doubles, and clouds: a constant star stays constant, and clouds are flagged."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from opticam_dask.photometers import AperturePhotometer, DefaultLocalBackground, OptimalPhotometer
from opticam_dask.reducer import Reducer
from opticam_dask.schema import Flag
from opticam_dask.simulate import CameraSetup, Cloud, Scene, simulate_night
from opticam_dask.tables.store import dataset_root

CLOUD = range(40, 60)
STARS = tuple((x, y, flux) for (x, y), flux in zip(
    ((45, 50), (120, 44), (200, 60), (50, 130), (130, 120), (205, 140), (60, 205), (140, 200), (212, 215)),
    (9e4, 6e4, 5e4, 4e4, 3e4, 2e4, 1.5e4, 1e4, 8e3),
    strict=True,
))  # fmt: skip
PHOTOMETERS = {"optimal": OptimalPhotometer, "aperture": AperturePhotometer}


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """Folder of 100 frames: the PSF widens from 2/3 to 4/3, a fifth of the frames has a cloud of 1 mag."""
    folder = tmp_path_factory.mktemp("changing")
    scene = Scene(
        cameras=(CameraSetup(filter="g"),),
        shape=(253, 261),
        n_frames=100,
        stars=STARS,
        semimajor_sigma=2.6,
        semiminor_sigma=1.9,
        orientation=37.0,
        seeing_change=2 / 3,
        clouds=(Cloud(start=CLOUD.start, stop=CLOUD.stop, extinction_mag=1.0),),
        drift_px_per_hour=(30.0, -20.0),
        jitter_px=0.2,
        seed=21,
    )
    simulate_night(scene, folder / "data")
    return folder


def light_curves(folder, photometer):
    label = photometer.label
    out = folder / label
    with Reducer(
        out, folder / "data", cluster="threads", number_of_processors=1, show_plots=False, verbose=False
    ) as reducer:
        reducer.create_catalogs()
        reducer.photometry(photometer, export_csv=False)
    return pd.read_parquet(dataset_root(out, label))


def relative(curves, star):
    """Flux of a star over the sum of the others, about its mean, and its error."""
    flux = curves.pivot_table(index="frame", columns="source", values="flux")
    error = curves.pivot_table(index="frame", columns="source", values="flux_err")
    assert flux.shape == (100, len(STARS))
    others = flux.drop(columns=star)
    ratio = flux[star] / others.sum(axis=1)
    share = (error[star] / flux[star]) ** 2 + (error.drop(columns=star) ** 2).sum(axis=1) / others.sum(
        axis=1
    ) ** 2
    return ratio / ratio.mean() - 1.0, np.sqrt(share)


def slope(curves, star):
    """Slope of a star's relative light curve over the night, in its own errors."""
    ratio, error = relative(curves, star)
    t = np.linspace(-0.5, 0.5, len(ratio))
    weight = 1.0 / error.to_numpy() ** 2
    t = t - np.average(t, weights=weight)
    value = np.sum(weight * t * ratio.to_numpy()) / np.sum(weight * t**2)
    return value * np.sqrt(np.sum(weight * t**2))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["optimal", "aperture"])
def test_constant_stars_show_no_trend_and_clouds_are_flagged(night, kind):
    photometer = PHOTOMETERS[kind](
        forced=True, psf="frame", local_background_estimator=DefaultLocalBackground()
    )
    curves = light_curves(night, photometer)
    bright = curves[(curves["source"] == 1) & ~curves["frame"].isin(CLOUD)].sort_values("frame")
    change = bright["flux"].iloc[-20:].mean() / bright["flux"].iloc[:20].mean() - 1.0
    assert abs(change) < 2e-3, "the total of a star follows the seeing"
    slopes = np.array([slope(curves, star) for star in range(1, len(STARS) + 1)])
    assert abs(slopes[4]) < 2.0
    # of all nine: as many beyond 2 sigma as chance allows, none far off
    assert np.sum(np.abs(slopes) > 2.0) <= 2, slopes
    assert np.abs(slopes).max() < 3.5, slopes
    cloudy = (curves["flags"] & int(Flag.CLOUD)) != 0
    assert set(curves.loc[cloudy, "frame"]) == set(CLOUD)
    assert cloudy.groupby(curves["frame"]).nunique().eq(1).all()


@pytest.mark.slow
def test_with_one_psf_for_the_night_the_fluxes_would_follow_the_seeing(night):
    """What the test above must be able to see: the width of one PSF is wrong at both ends of the night."""
    photometer = AperturePhotometer(4.0, forced=True, local_background_estimator=DefaultLocalBackground())
    clear = light_curves(night, photometer).query(f"frame < {CLOUD.start} or frame >= {CLOUD.stop}")
    flux = clear[clear["source"] == 1].sort_values("frame")["flux"].to_numpy()
    assert flux[:10].mean() / flux[-10:].mean() > 1.03
