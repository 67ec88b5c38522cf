"""Figures of a reduction: drawn once, anew when what they show changes, and never at the cost of a result."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image as Picture

import opticam_dask as opticam
from opticam_dask.errors import InputError
from opticam_dask.simulate import CameraSetup
from opticam_dask.stages import figures

OF_NIGHT = {"header_times", "background", "seeing", "psfs", "background_meshes", "growth_curves"}
OF_ROWS = {"forced_aperture_snr", "forced_aperture_rms_vs_median"}
OF_LABEL = {"forced_aperture_apertures", "forced_aperture_noise_budget"} | OF_ROWS


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("night")
    scene = opticam.Scene(
        n_frames=5,
        shape=(151, 173),
        n_stars=5,
        flux_range=(2e4, 2e5),
        min_separation_px=30.0,
        semimajor_sigma=2.6,
        semiminor_sigma=1.8,
        orientation=37.0,
        cameras=(CameraSetup(filter="g"), CameraSetup(filter="r")),
        seed=8,
    )
    opticam.simulate_night(scene, folder)
    return folder


def reduce(night: Path, out: Path, **options: bool) -> opticam.Reducer:
    with opticam.Reducer(
        out, night, verbose=False, show_plots=False, cluster="threads", **{"figures": True, **options}
    ) as reducer:
        reducer.create_catalogs()
        reducer.photometry(opticam.AperturePhotometer(forced=True), export_csv=False)
    return reducer


def drawn(out: Path) -> dict[str, int]:
    return {path.stem: path.stat().st_mtime_ns for path in (out / "diag").glob("*.pdf")}


def test_sources_are_drawn_again_where_the_picture_is_lost_and_whatever_is_wanted(
    night: Path, tmp_path: Path
) -> None:
    picture = tmp_path / "out" / "cat" / "catalogs.pdf"
    for _ in range(2):
        reduce(night, tmp_path / "out", figures=False)
        assert picture.read_bytes().startswith(b"%PDF")
        picture.unlink()


def test_every_figure_is_drawn_once(night: Path, tmp_path: Path) -> None:
    reduce(night, tmp_path / "out")
    first = drawn(tmp_path / "out")
    assert set(first) == OF_NIGHT | OF_LABEL
    reduce(night, tmp_path / "out")
    assert drawn(tmp_path / "out") == first


def test_figures_follow_rows_that_are_measured_again(night: Path, tmp_path: Path) -> None:
    reduce(night, tmp_path / "out")
    first = drawn(tmp_path / "out")
    next((tmp_path / "out" / "lcs").rglob("part-*.parquet")).unlink()
    reduce(night, tmp_path / "out")
    again = drawn(tmp_path / "out")
    anew = {name for name in first if again[name] != first[name]}
    assert anew == OF_ROWS


def test_none_is_drawn_where_none_is_wanted(night: Path, tmp_path: Path) -> None:
    reduce(night, tmp_path / "out", figures=False)
    assert drawn(tmp_path / "out") == {}


def test_a_figure_that_fails_costs_a_warning(
    night: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_args: object) -> None:
        raise ZeroDivisionError("no room")

    monkeypatch.setattr(figures, "psfs_figure", broken)
    reduce(night, tmp_path / "out")
    assert set(drawn(tmp_path / "out")) == (OF_NIGHT | OF_LABEL) - {"psfs"}
    assert len(opticam.open_light_curves(tmp_path / "out")) == 50
    log = (tmp_path / "out" / "opticam.log").read_text()
    assert "psfs.pdf could not be drawn: no room" in log


def test_animations_show_some_frames_and_skip_unreadable_ones(night: Path, tmp_path: Path) -> None:
    with opticam.Reducer(
        tmp_path / "out", night, verbose=False, show_plots=False, cluster="threads", figures=False
    ) as reducer:
        with pytest.raises(opticam.errors.CatalogError, match="create_catalogs"):
            reducer.create_gifs()
        reducer.create_catalogs()
        paths = reducer.create_gifs(most_frames=3)
        with pytest.raises(InputError, match="at least one frame"):
            reducer.create_gifs(most_frames=0)
    assert [path.name for path in paths] == ["1-g_images.gif", "2-r_images.gif"]
    with Picture.open(paths[0]) as film:
        assert film.n_frames == 3
