"""Simulate, reduce, compare: the test that our fluxes and error bars mean what they say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from opticam_dask.calibration.correctors import BiasCorrector, DarkNoiseCorrector, FlatFieldCorrector
from opticam_dask.cluster_spec import Place
from opticam_dask.errors import InputError
from opticam_dask.photometers import AperturePhotometer, DefaultLocalBackground, OptimalPhotometer
from opticam_dask.photometers.base import BasePhotometer
from opticam_dask.reducer import Reducer
from opticam_dask.simulate import Scene, simulate_calibration
from opticam_dask.simulate.progress import simulate_with_bar
from opticam_dask.validation.pulls import Goals, decades, measured_pulls
from opticam_dask.validation.scenes import DETECTOR, mean_throughput, pull_scene

PHOTOMETERS = {"optimal": OptimalPhotometer, "aperture": AperturePhotometer}
SKIES = ("annulus", "mesh")
CALIBRATION: dict[str, Any] = {"n_bias": 50, "n_dark": 50, "n_flat": 50, "dark_exposures_s": (1.0, 10.0)}
"""Calibration frames of a night."""
FULL = 300 * 60
"""Measurements of a night from which chance leaves the goals alone."""
ALLOWANCE = 2.0
"""What chance may add to a goal in a smaller test [statistical errors]."""


@dataclass(frozen=True, eq=False)
class PullTest:
    """Result of a pull test.

    Parameters
    ----------
    table : DataFrame
        One row per gain, photometer, sky, way to find the sources, and decade of flux; columns ``gain,
        photometer, sky, forced`` and those of `opticam_dask.validation.pulls.decades`.
    goals : Goals
        What the rows were held against.
    """

    table: pd.DataFrame
    goals: Goals

    @property
    def passed(self) -> bool:
        """Whether every row met the goals."""
        return bool(len(self.table)) and bool(self.table["passed"].all())


def pull_test(
    out_directory: Path | str,
    *,
    frames: int = 300,
    stars: int = 60,
    gains: Sequence[float] = (1.0, 0.45),
    photometers: Sequence[str] = tuple(PHOTOMETERS),
    skies: Sequence[str] = SKIES,
    forced: Sequence[bool] = (True, False),
    calibrated: bool = False,
    goals: Goals | None = None,
    seed: int = 5,
    cluster: Place = None,
    workers: int | None = None,
) -> PullTest:
    """Simulate nights, reduce them, and compare the fluxes with the truth.

    Parameters
    ----------
    out_directory : path
        Folder for the frames and results; what an earlier run of the same test left there is used.
    frames, stars : int
        Frames of each night and stars on them.
    gains : sequence of float
        Gains [electron / adu], a night each.
    photometers : sequence of {'optimal', 'aperture'}
        Photometers.
    skies : sequence of {'annulus', 'mesh'}
        Where the sky comes from.
    forced : sequence of bool
        Measure at the catalogue's positions, or re-centre.
    calibrated : bool
        Give the detector patterns, hot pixels and cosmic rays, and reduce with simulated bias frames, dark
        frames and flat fields.
    goals : Goals, optional
        What to hold the numbers against. Default: those of `Goals`, with an allowance of 2 statistical errors
        if frames times stars are fewer than 300 times 60.
    seed : int
        Seed of the simulations.
    cluster, workers
        As for `Reducer`.

    Returns
    -------
    PullTest

    Raises
    ------
    InputError
        If a photometer or sky is none of these, or the folder holds something else.
    """
    chosen = list(_photometers(photometers, skies, forced))
    goals = goals or Goals(allowance=0.0 if frames * stars >= FULL else ALLOWANCE)
    tables = []
    for gain in gains:
        scene = pull_scene(frames, stars, gain, seed, **(DETECTOR if calibrated else {}))
        folder = Path(out_directory) / f"{'calibrated_' if calibrated else ''}gain_{gain:g}"
        pulls = reduce_scene(
            scene,
            folder,
            [p for _, p in chosen],
            calibrated=calibrated,
            cluster=cluster,
            number_of_processors=workers,
        )
        for (keys, photometer), rows in zip(chosen, pulls, strict=True):
            table = decades(rows, goals, judge_pulls=photometer.forced)
            tables.append(table.assign(gain=gain, **keys))
    first = ["gain", "photometer", "sky", "forced"]
    table = pd.concat(tables, ignore_index=True)
    return PullTest(table[first + [name for name in table if name not in first]], goals)


def reduce_scene(
    scene: Scene,
    folder: Path,
    photometers: Sequence[BasePhotometer],
    *,
    calibrated: bool = False,
    **options: Any,
) -> list[pd.DataFrame]:
    """Simulate a scene into ``folder/data``, reduce it into ``folder/reduced``, and compare.

    Parameters
    ----------
    scene : Scene
        The night, its stars given one by one.
    folder : Path
        For frames and results.
    photometers : sequence of BasePhotometer
        Each with a label of its own.
    calibrated : bool
        Reduce with calibration frames, simulated into ``folder/calibration``.
    **options
        Of `Reducer`.

    Returns
    -------
    list of DataFrame
        For each photometer, as `measured_pulls` gives them.
    """
    night = simulate_with_bar(scene, folder / "data", delay_s=0.5)
    if calibrated:
        options |= calibration_options(scene, folder)
    reduced = folder / "reduced"
    with Reducer(reduced, folder / "data", show_plots=False, verbose=False, **options) as reducer:
        reducer.create_catalogs(max_catalog_sources=2 * len(scene.stars or ()) or 15)
        reducer.photometry(photometers, export_csv=False)
    scale = mean_throughput(scene) if calibrated else 1.0
    return [measured_pulls(reduced, p.label, night.truth, scale) for p in photometers]


def calibration_options(scene: Scene, folder: Path) -> dict[str, Any]:
    """Simulate calibration frames into ``folder/calibration``; give options of a `Reducer` to use them."""
    place, out = folder / "calibration", folder / "reduced"
    simulate_calibration(scene, place, **CALIBRATION)
    quiet: dict[str, Any] = {"verbose": False}
    return {
        "bias_corrector": BiasCorrector(out, str(place / "bias"), **quiet),
        "dark_noise_corrector": DarkNoiseCorrector(out, str(place / "dark"), **quiet),
        "flat_corrector": FlatFieldCorrector(out, str(place / "flat"), **quiet),
        "remove_cosmic_rays": True,
    }


def _photometers(
    names: Sequence[str], skies: Sequence[str], forced: Sequence[bool]
) -> Iterator[tuple[dict[str, Any], BasePhotometer]]:
    """Photometers asked for, each with the keys of its rows."""
    for given, known in ((names, PHOTOMETERS), (skies, SKIES)):
        for name in given:
            if name not in known:
                raise InputError(f"unknown {name!r}; known are {', '.join(known)}")
    for name, sky, fixed in product(names, skies, forced):
        estimator = DefaultLocalBackground() if sky == "annulus" else None
        photometer = PHOTOMETERS[name](forced=fixed, local_background_estimator=estimator)
        yield {"photometer": name, "sky": sky, "forced": fixed}, photometer
