"""What the explorer shows, without a widget: which frames are read, and what is told of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from astropy.time import Time

import opticam_dask as opticam
from opticam_dask.errors import FrameReadError, InputError
from opticam_dask.explore import ExplorerModel
from opticam_dask.explore.camera import CameraFrames
from opticam_dask.explore.frames import FrameStore
from opticam_dask.explore.view import title_of, words_of
from opticam_dask.io.readers import read_image
from opticam_dask.schema import Flag
from opticam_dask.simulate import CameraSetup

N_FRAMES = 10
DAMAGED = 4


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reduction of two cameras that drift; a frame of the first is spoilt once all is done."""
    folder = tmp_path_factory.mktemp("night")
    scene = opticam.Scene(
        n_frames=N_FRAMES,
        shape=(121, 153),
        n_stars=4,
        flux_range=(3e4, 2e5),
        min_separation_px=30.0,
        drift_px_per_hour=(2500.0, -1500.0),
        cameras=(CameraSetup(filter="g"), CameraSetup(filter="r")),
        pointing=(83.6, 22.0),
        seed=8,
    )
    opticam.simulate_night(scene, folder / "data")
    with opticam.Reducer(
        folder / "out", folder / "data", verbose=False, show_plots=False, cluster="threads"
    ) as reducer:
        reducer.create_catalogs()
        reducer.photometry(opticam.OptimalPhotometer(forced=True), export_csv=False)
    path = opticam.open_observation(folder / "data")["1:g"]["path"].to_numpy()[DAMAGED]
    Path(str(path)).write_bytes(b"no frame any more")
    return folder


@pytest.fixture
def model(night: Path) -> ExplorerModel:
    return ExplorerModel(night / "out")


def test_nothing_is_read_before_it_is_shown(model: ExplorerModel) -> None:
    frames = model.frames("1:g")
    frames.facts(3)
    frames.sources(3)
    model.curve("1:g", 1)
    assert (model.store.frames_read, model.store.parts_read) == (0, 0)
    image = model.pixels("1:g", 3)
    again = model.pixels("1:g", 3)
    assert model.store.frames_read == 1
    assert again is image


def test_pixels_are_those_of_the_file(model: ExplorerModel, night: Path) -> None:
    cube = opticam.open_observation(night / "data", frames=None)["2:r"]
    path = str(cube["path"].to_numpy()[7])
    assert np.array_equal(model.pixels("2:r", 7), read_image(path))


def test_what_is_kept_is_bounded(night: Path) -> None:
    one = 121 * 153 * 2
    model = ExplorerModel(night / "out", most_bytes=2 * one)
    for index in (0, 1, 2, 0):
        model.pixels("1:g", index)
        assert model.store.kept_bytes <= 2 * one
    assert model.store.frames_read == 4
    model.pixels("1:g", 2)
    assert model.store.frames_read == 4


def test_sources_are_carried_by_the_frames_own_transform(model: ExplorerModel, night: Path) -> None:
    for index in (0, 9):
        found = model.frames("1:g").sources(index)
        assert found is not None
        for source, (x, y) in zip(found.ids, found.xy, strict=True):
            row = opticam.light_curve(night / "out", camera="1:g", source=int(source)).iloc[index]
            assert (row["x"], row["y"]) == pytest.approx((x, y), abs=1e-6)
            assert model.star_at("1:g", index, x + 2.0, y - 1.0, 5.0) == source
    assert model.star_at("1:g", 0, -40.0, -40.0, 5.0) is None


def test_cutouts_hold_the_star_and_read_only_what_is_not_kept(model: ExplorerModel) -> None:
    model.pixels("2:r", 0)
    cutouts = model.cutouts("2:r", 1, number=4)
    assert [cutout.facts.index for cutout in cutouts] == [0, 3, 6, 9]
    assert (model.store.frames_read, model.store.parts_read) == (1, 3)
    for cutout in cutouts:
        y, x = np.unravel_index(np.nanargmax(cutout.image), cutout.image.shape)
        assert (x, y) == pytest.approx(tuple(cutout.xy), abs=2.0)


def test_a_damaged_frame_costs_only_itself(model: ExplorerModel) -> None:
    with pytest.raises(FrameReadError, match="FITS"):
        model.pixels("1:g", DAMAGED)
    cutouts = model.cutouts("1:g", 1, number=N_FRAMES)
    bad = [cutout.facts.index for cutout in cutouts if cutout.problem]
    assert bad == [DAMAGED]
    assert all(np.isfinite(cutout.image).any() != bool(cutout.problem) for cutout in cutouts)


def test_the_curve_is_the_table_s(model: ExplorerModel, night: Path) -> None:
    curve = model.curve("2:r", 2)
    expected = opticam.light_curve(night / "out", camera="2:r", source=2)
    pd.testing.assert_frame_equal(curve, expected[list(curve.columns)])
    with pytest.raises(InputError, match="no source 99"):
        model.curve("2:r", 99)


def test_a_folder_of_frames_has_neither_catalogue_nor_curve(night: Path) -> None:
    model = ExplorerModel(opticam.open_observation(night / "data"))
    assert model.frames("2:r").sources(0) is None
    assert model.cutouts("2:r", 1) == []
    assert model.star_at("2:r", 0, 50.0, 50.0, 500.0) is None
    assert model.frames("2:r").facts(0).status == "not catalogued"
    with pytest.raises(InputError, match="no light curves here"):
        model.curve("2:r", 1)


def test_cubes_and_their_reduction_can_be_given_apart(night: Path) -> None:
    tree = opticam.open_observation(night / "data")
    model = ExplorerModel(tree, night / "out")
    sources = model.frames("2:r").sources(5)
    assert sources is not None
    assert len(model.curve("2:r", 1)) == N_FRAMES


def test_frames_of_another_shape_are_refused(night: Path) -> None:
    tree = opticam.open_observation(night / "data")
    tree["2:r"] = tree["2:r"].to_dataset().isel(x=slice(0, 90))
    with pytest.raises(InputError, match="121 x 153 pixels, these have 121 x 90"):
        ExplorerModel(tree, night / "out")


@pytest.mark.parametrize(
    ("options", "words"),
    [({"annulus": (7.0, 5.0)}, "0 < inner < outer"), ({"label": "none"}, "there are: forced_optimal")],
    ids=["annulus", "label"],
)
def test_wrong_arguments_are_told(night: Path, options: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        ExplorerModel(night / "out", **options)


def test_an_unknown_camera_is_told(model: ExplorerModel) -> None:
    with pytest.raises(InputError, match="there are: 1:g, 2:r"):
        model.frames("3:i")


def test_facts_are_those_of_the_tables(model: ExplorerModel, night: Path) -> None:
    facts = model.frames("1:g").facts(6)
    table = opticam.frame_quality(night / "out")
    row = table[(table["camera"] == "1:g") & (table["frame"] == 6)].iloc[0]
    assert facts.bmjd == row["BMJD"]
    assert facts.fwhm_px == row["fwhm"]
    assert int(facts.flags) == row["flags"]
    assert Time(facts.utc, scale="utc").mjd == pytest.approx(row["MJD"], abs=1e-3 / 86_400)
    words = dict(words_of(facts, N_FRAMES))
    assert words["frame"] == "7 of 10"
    assert words["FWHM"].endswith(" pixel")
    assert words["BMJD (TDB)"].endswith(" d")
    assert words["status"] == "aligned"


def bare(count: int) -> xr.Dataset:
    """A cube of no pixels to speak of, with a time and nothing else."""
    time = np.datetime64("2024-01-01", "ns") + np.arange(count) * np.timedelta64(25, "ms")
    return xr.Dataset({"image": (("time", "y", "x"), np.zeros((count, 1, 1), np.uint8))}, {"time": time})


def test_the_same_moment_in_another_camera() -> None:
    frames = CameraFrames("1:g", bare(300_000))
    assert frames.nearest(np.datetime64("2024-01-01T00:00:01.009")) == 40
    assert frames.nearest(np.datetime64("2030-01-01")) == 299_999
    assert title_of(frames.facts(299_999))[0].endswith("not catalogued")


def test_clouds_and_failed_frames_stand_out() -> None:
    cube = bare(2).assign_coords(
        night=("time", np.array(["2024-01-01"] * 2, object)), frame=("time", [0, 1]), flags=("time", [0, 0])
    )
    quality = pd.DataFrame(
        {
            "camera": "1:g",
            "night": "2024-01-01",
            "frame": [0, 1],
            "fwhm": 3.0,
            "cloud": [1.5, np.nan],
            "status": ["aligned", "failed"],
            "reason": ["", "too few stars"],
            "flags": [int(Flag.CLOUD), int(Flag.NOT_ALIGNED)],
        }
    )
    frames = CameraFrames("1:g", cube, None, quality)
    cloudy, failed = frames.facts(0), frames.facts(1)
    assert title_of(cloudy) == ("1:g   2024-01-01 frame 0   aligned, cloud", "#D55E00")
    assert dict(words_of(cloudy, 2))["extinction by cloud"] == "1.50 mag"
    assert dict(words_of(failed, 2))["status"] == "failed (too few stars)"
    assert dict(words_of(failed, 2))["flags"] == "NOT_ALIGNED"


def test_a_worker_s_failure_is_the_frame_s() -> None:
    class Broken:
        def __getitem__(self, index: object) -> Broken:
            return self

        def compute(self) -> None:
            raise RuntimeError("lost\nworker")

    class Cube(dict):
        coords: tuple[str, ...] = ()

    class Column:
        data = Broken()

    store = FrameStore({"1:g": Cube(image=Column())})
    with pytest.raises(FrameReadError, match=r"1:g, frame 3.*: lost$"):
        store.whole("1:g", 3)
    assert store.kept_bytes == 0
