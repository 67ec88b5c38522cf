"""The widget layer without a browser: what the controls do in the kernel."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import opticam_dask as opticam
from opticam_dask.errors import InputError, MissingPackageError
from opticam_dask.explore import CubeExplorer
from opticam_dask.explore.explorer import check_packages
from opticam_dask.simulate import CameraSetup


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("night")
    scene = opticam.Scene(
        n_frames=6,
        shape=(121, 153),
        n_stars=3,
        flux_range=(5e4, 2e5),
        min_separation_px=35.0,
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
    return folder


@pytest.fixture
def explorer(night: Path) -> CubeExplorer:
    pytest.importorskip("ipympl")
    return CubeExplorer(night / "out")


def click(explorer: CubeExplorer, ax: Any, x: float, y: float) -> None:
    event = SimpleNamespace(inaxes=ax, xdata=x, ydata=y)
    explorer._clicked(event)


def test_controls_read_only_what_they_show(explorer: CubeExplorer) -> None:
    controls = explorer.controls
    assert (explorer.frames_read, controls.time.max, controls.time.continuous_update) == (1, 5, False)
    controls.time.value = 4
    assert (explorer.index, explorer.frames_read) == (4, 2)
    controls.after.click()
    assert (explorer.index, explorer.frames_read, controls.time.value) == (5, 3, 5)
    assert controls.after.disabled
    for control, value in ((controls.stretch, "log"), (controls.hold, True), (controls.marks, False)):
        control.value = value
    assert explorer.frames_read == 3
    controls.camera.value = "2:r"
    assert (explorer.camera, explorer.index, explorer.frames_read) == ("2:r", 5, 4)


def test_a_click_chooses_a_star_and_another_its_frame(explorer: CubeExplorer, night: Path) -> None:
    sources = explorer.model.frames("1:g").sources(0)
    assert sources is not None
    click(explorer, explorer.view.image.ax, *(sources.xy[1] + 1.0))
    assert (explorer.source, explorer.controls.star.value) == (2, 2)
    curve = opticam.light_curve(night / "out", camera="1:g", source=2)
    panel = explorer.view.curve.ax
    points = panel.containers[0].lines[0]
    assert np.array_equal(points.get_ydata(), curve["flux"])
    assert panel.get_xlabel().endswith("(TDB) [s]")
    assert panel.get_ylabel() == "flux [adu]"
    click(explorer, panel, float(points.get_xdata()[3]) + 0.1, 0.0)
    assert explorer.index == 3
    click(explorer, explorer.view.image.ax, 1.0, 1.0)
    assert explorer.source == 0
    assert not panel.containers


def test_a_star_is_chosen_by_number_and_an_unknown_one_is_told(explorer: CubeExplorer) -> None:
    explorer.controls.star.value = 3
    assert explorer.source == 3
    explorer.controls.star.value = 77
    assert any("no source 77" in text.get_text() for text in explorer.view.curve.ax.texts)


def test_zoom_stays_while_frames_change(explorer: CubeExplorer) -> None:
    explorer.view.image.ax.set(xlim=(20, 60), ylim=(30, 70))
    explorer.show(3)
    assert explorer.view.image.ax.get_xlim() == (20, 60)


def test_a_held_scale_stays(explorer: CubeExplorer) -> None:
    def ends() -> tuple[float, float]:
        return explorer.view.image._drawn.get_clim()

    first = ends()
    explorer.controls.hold.value = True
    explorer.show(4)
    assert ends() == first
    explorer.controls.hold.value = False
    assert ends() != first


def test_a_damaged_frame_is_told_and_the_next_one_shown(night: Path, tmp_path: Path) -> None:
    pytest.importorskip("ipympl")
    tree = opticam.open_observation(night / "data")
    path = Path(str(tree["1:g"]["path"].to_numpy()[2]))
    whole = path.read_bytes()
    try:
        path.write_bytes(b"no frame any more")
        explorer = CubeExplorer(tree, night / "out")
        explorer.show(2)
        assert "problem" in explorer.controls._told.value
        explorer.show(3)
        assert "problem" not in explorer.controls._told.value
    finally:
        path.write_bytes(whole)


def test_where_no_widget_can_live_there_is_a_picture(explorer: CubeExplorer) -> None:
    bundle = explorer._repr_mimebundle_()
    assert bundle["image/png"].startswith("iVBOR")
    assert "application/vnd.jupyter.widget-view+json" in bundle


def test_wrong_arguments_are_told(explorer: CubeExplorer, night: Path) -> None:
    with pytest.raises(InputError, match="there are: linear, square root, asinh, log"):
        CubeExplorer(night / "out", stretch="cubic")
    with pytest.raises(InputError, match="has 6 frames"):
        explorer.show(6)
    with pytest.raises(InputError, match="no camera '9:z'"):
        CubeExplorer(night / "out", camera="9:z")
    with pytest.raises(InputError, match="no camera '9:z'"):
        explorer.show(0, "9:z")


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        MissingPackageError, match=r"ipywidgets and ipympl: pip install 'opticam-dask\[explore\]'"
    ):
        check_packages()


@pytest.mark.cluster
def test_a_cluster_s_workers_read_the_frames(
    cluster: Any, night: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ipympl")
    explorer = CubeExplorer(night / "data", night / "out", camera="2:r")
    expected = explorer.model.pixels("2:r", 0)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("read in this process")

    monkeypatch.setattr("opticam_dask.io.readers.FrameFile.read_into", refuse)
    with cluster.as_current():
        explorer.show(3)
        explorer.choose(1)
    assert "problem" not in explorer.controls._told.value
    assert (explorer.frames_read, explorer.parts_read) == (2, 4)
    assert explorer.model.pixels("2:r", 3).shape == expected.shape
