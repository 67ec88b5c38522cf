"""Photometry that reads only rows near sources gives the bits of photometry that reads whole frames."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pandas as pd
import pytest

import opticam_dask as opticam
from opticam_dask.io import blocks
from opticam_dask.io.readers import FrameFile
from opticam_dask.schema import LIGHT_CURVE_KEY, Flag
from opticam_dask.simulate import CameraSetup

SHAPE = (463, 131)
SCENE = opticam.Scene(
    n_frames=8,
    shape=SHAPE,
    n_stars=7,
    flux_range=(5e3, 9e4),
    min_separation_px=14.0,
    margin_px=3.0,
    semimajor_sigma=1.9,
    semiminor_sigma=1.3,
    orientation=-50.0,
    hot_pixels=60,
    hot_pixel_level=20000.0,
    drift_px_per_hour=(7000.0, -9000.0),
    jitter_px=0.5,
    cameras=(CameraSetup(filter="g"),),
    compression="none",
    pointing=(83.6, 22.0),
    seed=3,
)
ANNULUS = opticam.DefaultLocalBackground()
POISON = 54321


class OfAUser(opticam.OptimalPhotometer):
    """Looks at the whole frame."""

    def extract(self, frame: Any, xy: Any, psf: Any, sky: Any) -> Any:
        return super().extract(frame, xy, psf, sky).scaled(float(np.nanmean(frame.image)))


def by_a_function(
    data: Any, position: Any, semimajor_axis: float, semiminor_axis: float, orientation: Any
) -> tuple[float, float]:
    """Local background that is none."""
    return float(np.median(data)), float(data.std())


LOCAL = {
    "optimal": opticam.OptimalPhotometer(local_background_estimator=ANNULUS),
    "optimal of each frame": opticam.OptimalPhotometer(local_background_estimator=ANNULUS, psf="frame"),
    "forced aperture": opticam.AperturePhotometer(forced=True, local_background_estimator=ANNULUS, scale=3.0),
    "wide annulus": opticam.AperturePhotometer(
        local_background_estimator=opticam.PlaneLocalBackground(r_out_scale=11.0)
    ),
    "moffat": opticam.OptimalPhotometer(
        forced=True, profile="moffat", beta=2.5, local_background_estimator=ANNULUS
    ),
}
WHOLE = {
    "mesh": opticam.OptimalPhotometer(),
    "function": opticam.AperturePhotometer(local_background_estimator=by_a_function),
    "class": OfAUser(local_background_estimator=ANNULUS),
}


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("night")
    opticam.simulate_night(SCENE, folder)
    return folder


@pytest.fixture(scope="module")
def reduced(night: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[opticam.Reducer]:
    with reducer(night, tmp_path_factory.mktemp("out")) as reduction:
        reduction.create_catalogs()
        yield reduction


def reducer(data: Path, out: Path, **options: Any) -> opticam.Reducer:
    return opticam.Reducer(out, data, verbose=False, show_plots=False, cluster="threads", **options)


@pytest.fixture
def pixels(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Pixels read, one entry per reading; frames are full of poison before."""
    read: list[int] = []
    fill, array = FrameFile.read_into, blocks.frame_array

    def counted(self: Any, out: Any, *args: Any) -> None:
        read.append(out.size)
        fill(self, out, *args)

    def poisoned(*args: Any) -> Any:
        image = array(*args)
        image[:] = POISON if image.dtype.kind == "u" else np.nan
        return image

    monkeypatch.setattr(FrameFile, "read_into", counted)
    monkeypatch.setattr(blocks, "frame_array", poisoned)
    return read


def measured(reduction: opticam.Reducer, photometers: Any, *, partial: bool) -> list[pd.DataFrame]:
    """Rows of each photometer, in order."""
    shutil.rmtree(reduction.out_directory / "lcs", ignore_errors=True)
    with dask.config.set({"opticam.partial-reads": partial}):
        reduction.photometry(photometers, export_csv=False)
    tables = [
        opticam.open_light_curves(reduction.out_directory, label=one.label).compute() for one in photometers
    ]
    return [table.sort_values(list(LIGHT_CURVE_KEY)).reset_index(drop=True) for table in tables]


def both_ways(reduction: opticam.Reducer, photometers: Any, pixels: list[int]) -> float:
    """Part of the pixels that reading near sources reads; the rows must be the same to the bit."""
    pixels.clear()
    whole = measured(reduction, photometers, partial=False)
    all_pixels = sum(pixels)
    pixels.clear()
    for one, other in zip(whole, measured(reduction, photometers, partial=True), strict=True):
        pd.testing.assert_frame_equal(one, other, check_exact=True)
        assert np.isfinite(one["flux"]).mean() > 0.5
    return sum(pixels) / all_pixels


@pytest.mark.parametrize("name", LOCAL)
def test_rows_far_from_sources_are_neither_read_nor_missed(
    reduced: opticam.Reducer, pixels: list[int], name: str
) -> None:
    assert both_ways(reduced, [LOCAL[name]], pixels) < 0.9


@pytest.mark.parametrize("name", WHOLE)
def test_what_needs_whole_frames_gets_them(reduced: opticam.Reducer, pixels: list[int], name: str) -> None:
    both = [LOCAL["forced aperture"], WHOLE[name]]
    assert both_ways(reduced, both, pixels) == 1.0


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"region_of_interest": ((9, 450), (5, 130)), "rebin_factor": 1, "electrons": True}, 0.9),
        ({"rebin_factor": 2}, 0.95),
        ({"remove_cosmic_rays": True}, 1.0),
        ({"image_filter": np.negative}, 1.0),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_calibrated_frames(
    night: Path, tmp_path: Path, pixels: list[int], options: dict[str, Any], part: float
) -> None:
    if options.get("image_filter") is np.negative:
        options = {"image_filter": lambda image: image + 1.0}
    photometers = [LOCAL["optimal"], LOCAL["forced aperture"]]
    with reducer(night, tmp_path, **options) as reduction:
        reduction.create_catalogs()
        found = both_ways(reduction, photometers, pixels)
    assert found == 1.0 if part == 1.0 else found < part


def test_a_truncated_file_is_one_however_much_of_it_is_read(night: Path, tmp_path: Path) -> None:
    files = Path(shutil.copytree(night, tmp_path / "night"))
    with reducer(files, tmp_path / "out") as reduction:
        reduction.create_catalogs()
        victim = sorted(files.rglob("*.fit"))[3]
        victim.write_bytes(victim.read_bytes()[:-2880])  # the end of the last row, which no star is on
        tables = [measured(reduction, [LOCAL["forced aperture"]], partial=way)[0] for way in (False, True)]
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    lost = tables[0][(tables[0]["flags"] & int(Flag.UNREADABLE)) != 0]
    assert set(lost["frame"]) == {3}


def test_sight_is_infinite_where_a_whole_frame_is_needed() -> None:
    psf = opticam.PsfModel(3.0, 2.0, 30.0)
    assert all(math.isinf(one.sight(psf)) for one in WHOLE.values())
    # annulus of 7.5 standard deviations, a pixel, and no farther when forced
    assert opticam.OptimalPhotometer(forced=True, local_background_estimator=ANNULUS).sight(psf) == 23.5
    free = opticam.OptimalPhotometer(local_background_estimator=ANNULUS, source_matching_tolerance=2.0)
    assert free.sight(psf) == pytest.approx(23.5 + 2.0 * math.sqrt(13.0))


class OwnBudget(opticam.NoiseBudget):
    """A user's kind of error budget, which may look at any pixel."""


def test_a_budget_of_the_users_sees_whole_frames_and_is_told_from_ours() -> None:
    psf = opticam.PsfModel(3.0, 2.0, 20.0)
    ours = opticam.OptimalPhotometer(forced=True, local_background_estimator=ANNULUS)
    own = opticam.OptimalPhotometer(forced=True, local_background_estimator=ANNULUS, noise=OwnBudget())
    assert math.isinf(own.sight(psf))
    assert own.settings() != ours.settings()
