"""Each flag is raised from pixels and headers: where it should be, and nowhere else."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

import opticam_dask as opticam
from opticam_dask.schema import FLAG_MEANINGS, NULL_FLUX_FLAGS, Flag


def _sibling(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


night = _sibling("flag_night")

Rows = frozenset[tuple[int, str]]
"""Frames (as the files are numbered) and stars."""

WRITTEN = [k for k in range(night.N_FRAMES) if k != night.MISSING]
READ = [k for k in WRITTEN if k != night.UNREADABLE]
ALIGNED = [k for k in READ if k != night.CONSTANT]
STEADY = [k for k in ALIGNED if k != night.SHIFTED]
ISOLATED = sorted(set(night.STARS) - night.COMPANIONS)


def rows(frames: int | Iterable[int], stars: str | Iterable[str] = tuple(night.STARS)) -> Rows:
    frames = [frames] if isinstance(frames, int) else frames
    names = [stars] if isinstance(stars, str) else list(stars)
    return frozenset((frame, star) for frame in frames for star in names)


def sky_but_for_the_edge(
    data: Any, position: Any, semimajor_axis: float, semiminor_axis: float, orientation: Any
) -> tuple[float, float]:
    """A user's function that fails at one star, the rightmost."""
    if position[0] > 170.0:
        raise ValueError("too far right")
    return night.SKY, np.sqrt(night.SKY)


MATCHED = opticam.OptimalPhotometer()
FORCED = opticam.OptimalPhotometer(forced=True)
ANNULUS = opticam.AperturePhotometer(local_background_estimator=opticam.DefaultLocalBackground())
WIDE = opticam.AperturePhotometer(scale=2.0)
USER = opticam.OptimalPhotometer(forced=True, local_background_estimator=sky_but_for_the_edge)
PHOTOMETERS = (MATCHED, FORCED, ANNULUS, WIDE, USER)


@dataclass(frozen=True)
class Where:
    """One set of light curves: reduction, camera, photometer."""

    reduction: str = "raw"
    camera: str = "1:g"
    photometer: Any = MATCHED


CLEAN = Where(camera="2:r")
CALIBRATED, CALIBRATED_CLEAN = Where("calibrated"), Where("calibrated", "2:r")


@dataclass(frozen=True)
class Case:
    """Rows that carry a flag, all that do; and a clean twin of which none does."""

    raised: Rows
    where: Where = Where()
    twin: Where = CLEAN


CASES: dict[Flag, tuple[Case, ...]] = {
    Flag.EDGE: (Case(rows(night.SHIFTED, "edge")),),
    Flag.SATURATED: (
        Case(rows(night.SATURATED, "saturated")),
        Case(rows(night.SATURATED, "saturated"), CALIBRATED, CALIBRATED_CLEAN),
    ),
    Flag.NON_FINITE: (
        # a NaN pixel; a hot pixel that no mask tells of
        Case(rows(night.NAN, "nan") | rows(STEADY, "hot")),
        # a masked pixel and a cosmic ray besides
        Case(
            rows(night.NAN, "nan") | rows(STEADY, ("hot", "bad")) | rows(night.STRUCK, "ray"),
            CALIBRATED,
            CALIBRATED_CLEAN,
        ),
    ),
    Flag.FEW_SKY_PIXELS: (
        Case(rows(night.RINGED, "ring"), Where(photometer=ANNULUS), Where("raw", "2:r", ANNULUS)),
    ),
    Flag.NOT_MATCHED: (Case(rows(night.OCCULTED, "occulted")),),
    Flag.FORCED: (Case(rows(READ), Where(photometer=FORCED), Where()),),
    Flag.NOT_ALIGNED: (Case(rows([night.CONSTANT, night.UNREADABLE])),),
    Flag.CLOUD: (Case(rows(night.CLOUDY)),),
    Flag.BAD_TIME: (Case(rows([night.DOUBLED, night.LAST])),),
    Flag.POINTING_BARYCENTRE: (Case(rows(WRITTEN)), Case(rows(WRITTEN), twin=CALIBRATED)),
    Flag.FIT_FAILED: (
        Case(
            rows(sorted({*READ} - {night.SHIFTED}), "edge")
            | rows(night.SHIFTED, ("occulted", "one", "other")),
            Where(photometer=USER),
            Where(),
        ),
        # a readout without light and without noise; of "hot" there is not even that
        Case(
            rows(night.CONSTANT, sorted({*night.STARS} - {"hot"})),
            Where(photometer=FORCED),
            Where("raw", "2:r", FORCED),
        ),
    ),
    Flag.COSMIC_RAY: (
        # single frames do not tell a hot pixel from a ray
        Case(rows(night.STRUCK, "ray") | rows(STEADY, "hot"), CALIBRATED, CALIBRATED_CLEAN),
    ),
    Flag.BLENDED: (
        # a catalogue source that is two stars, and two that spill light upon each other
        Case(rows(WRITTEN, ("pair", "one")) | rows(ALIGNED, "other")),
        # two catalogue sources in one aperture
        Case(
            rows(WRITTEN, ("pair", "one")) | rows(ALIGNED, "other"),
            Where(photometer=WIDE),
            Where("raw", "2:r", WIDE),
        ),
    ),
    Flag.NO_BARYCENTRE: (
        Case(rows(range(night.N_FRAMES), ISOLATED), CLEAN, Where()),
        Case(rows(range(night.N_FRAMES), ISOLATED), CLEAN, CALIBRATED_CLEAN),
    ),
    Flag.UNREADABLE: (Case(rows(night.UNREADABLE)),),
    Flag.QUANTISED_TIME: (Case(rows(range(night.N_FRAMES), ISOLATED), CLEAN, Where()),),
    Flag.TIME_GAP: (Case(rows(night.MISSING + 1)),),
    Flag.CROWDED_SKY: (
        Case(rows(ALIGNED, "crowded"), Where(photometer=ANNULUS), Where("raw", "2:r", ANNULUS)),
    ),
}
"""Where each flag is raised."""


@pytest.fixture(scope="module")
def curves(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str, str], pd.DataFrame]:
    """Light curves by reduction, camera and label; ``file`` is a frame's number in its name."""
    root = tmp_path_factory.mktemp("flags")
    (root / "data").mkdir()
    night.write_night(root / "data")
    calibrated = {
        "remove_cosmic_rays": True,
        "electrons": True,
        "bad_pixels": {"1:g": night.bad_pixels(), "2:r": np.zeros(night.SHAPE, bool)},
        "target": "05:34:31.9 22:00:52",
    }
    return {
        (reduction, *key): table
        for reduction, options in (("raw", {}), ("calibrated", calibrated))
        for key, table in reduce(root / "data", root / reduction, options).items()
    }


def reduce(data: Path, out: Path, options: dict[str, Any]) -> dict[tuple[str, str], pd.DataFrame]:
    with opticam.Reducer(out, data, verbose=False, show_plots=False, cluster="threads", **options) as reducer:
        reducer.create_catalogs(max_catalog_sources=len(night.STARS))
        reducer.photometry(PHOTOMETERS, export_csv=False)
        frames, catalogs = reducer.frames, reducer.catalogs
    frames = frames[["camera", "frame", "path"]]
    frames = frames.assign(file=frames["path"].str.extract(r"(\d{9})o", expand=False).astype(int))
    names = pd.concat([named(camera, table) for camera, table in catalogs.items()])
    return {
        (str(camera), photometer.label): table.merge(frames, on=["camera", "frame"]).merge(names)
        for photometer in PHOTOMETERS
        for camera, table in opticam.open_light_curves(out, label=photometer.label)
        .compute()
        .groupby("camera", observed=True)
    }


def named(camera: str, catalog: Any) -> pd.DataFrame:
    """Names of the sources of a catalogue, whose frame of reference is one of the frames."""
    xy = np.column_stack([catalog["x"], catalog["y"]])
    stars = sorted(night.STARS) if camera == "1:g" else ISOLATED
    places = np.array([[night.place(star, frame) for star in stars] for frame in range(night.N_FRAMES)])
    distance = np.hypot(*np.moveaxis(xy[None, :, None] - places[:, None], -1, 0))
    nearest = distance[distance.min(axis=2).sum(axis=1).argmin()]
    assert (nearest.min(axis=1) < (2.0 if camera == "1:g" else 0.5)).all()
    assert sorted(nearest.argmin(axis=1)) == list(range(len(stars)))
    chosen = [stars[number] for number in nearest.argmin(axis=1)]
    return pd.DataFrame({"camera": camera, "source": np.asarray(catalog["source"]), "star": chosen})


def table_of(curves: dict[tuple[str, str, str], pd.DataFrame], where: Where) -> pd.DataFrame:
    return curves[where.reduction, where.camera, where.photometer.label]


def flagged(table: pd.DataFrame, flag: Flag) -> Rows:
    some = table[(table["flags"] & int(flag)) != 0]
    return frozenset(zip(some["file"], some["star"], strict=True))


def test_every_flag_has_a_case_and_a_meaning() -> None:
    # no frame makes a block fail: see test_failed_blocks
    assert set(CASES) | {Flag.BLOCK_FAILED} == set(Flag) == set(FLAG_MEANINGS)
    assert all(case.raised for cases in CASES.values() for case in cases)


@pytest.mark.parametrize("flag", CASES, ids=lambda flag: flag.name)
def test_flag_is_raised_where_it_should_be_and_nowhere_else(
    flag: Flag, curves: dict[tuple[str, str, str], pd.DataFrame]
) -> None:
    for case in CASES[flag]:
        assert sorted(flagged(table_of(curves, case.where), flag)) == sorted(case.raised)
        twin = table_of(curves, case.twin)
        assert len(twin) >= night.N_FRAMES - 1
        assert not flagged(twin, flag)


UNTOLD = {
    ("raw", night.STRUCK, "ray"),  # rays are told only where they are searched for
    *((reduction, night.OCCULTED, "occulted") for reduction in ("raw", "calibrated")),  # forced: truly 0
}


def test_rows_without_a_flag_are_right(curves: dict[tuple[str, str, str], pd.DataFrame]) -> None:
    told = Flag.FORCED | Flag.POINTING_BARYCENTRE | Flag.NO_BARYCENTRE | Flag.QUANTISED_TIME | Flag.TIME_GAP
    truth = {star: total for star, (_, _, total) in night.STARS.items()}
    for (reduction, camera, label), table in curves.items():
        plain = (table["flags"] & ~int(told)) == 0
        # beyond the aperture, wings of a neighbour 4.5 standard deviations away count and have no flag
        near = table["star"].isin(["one", "other"]) & (camera == "1:g")
        untold = [(reduction, *row) in UNTOLD for row in zip(table["file"], table["star"], strict=True)]
        good = table[plain & ~near & ~np.array(untold)]
        pull = (good["flux"] - good["star"].map(truth)) / good["flux_err"]
        assert len(good) > 90
        assert pull.abs().max() < 5.0, f"{reduction} {camera} {label}"


def test_every_nan_has_a_reason(curves: dict[tuple[str, str, str], pd.DataFrame]) -> None:
    lost = 0
    for table in curves.values():
        nothing = table["flux"].isna()
        lost += int(nothing.sum())
        assert ((table.loc[nothing, "flags"] & int(NULL_FLUX_FLAGS)) != 0).all()
        assert (table.loc[~nothing, "flux_err"] > 0).all()
    assert lost > 100
