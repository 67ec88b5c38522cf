"""Reruns: results of other frames, or of a run that was stopped, are never taken for this run's."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from distributed import Client, LocalCluster

import opticam_dask as opticam
from opticam_dask.catalog import store
from opticam_dask.errors import CatalogError, SettingsChangedError
from opticam_dask.simulate import CameraSetup
from opticam_dask.stages import catalog as catalog_stage
from opticam_dask.stages import light_curve_set


class Stopped(BaseException):
    """Stands for the end of the process."""


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simulated")
    scene = opticam.Scene(
        n_frames=7,
        shape=(121, 133),
        n_stars=6,
        flux_range=(5e3, 5e4),
        min_separation_px=15.0,
        drift_px_per_hour=(9000.0, 4000.0),
        cameras=(CameraSetup(filter="g"), CameraSetup(filter="r")),
        compression="none",
        pointing=(83.6, 22.0),
        seed=5,
    )
    opticam.simulate_night(scene, folder)
    return folder


@pytest.fixture
def night(simulated: Path, tmp_path: Path) -> Path:
    """Frames that a test may change."""
    return Path(shutil.copytree(simulated, tmp_path / "night"))


@pytest.fixture(scope="module", autouse=True)
def client() -> Iterator[Client]:
    with (
        LocalCluster(
            processes=False, n_workers=1, threads_per_worker=2, dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def reducer(night: Path, out: Path) -> opticam.Reducer:
    return opticam.Reducer(out_directory=out, data_directory=night, verbose=False, show_plots=False)


def stop(*_: Any, **__: Any) -> None:
    raise Stopped


def aperture(radius: float) -> opticam.AperturePhotometer:
    return opticam.AperturePhotometer(radius, forced=True, aperture_correction=False)


def flux(out: Path) -> pd.Series:
    return opticam.light_curve(out, camera="1:g", source=1)["flux"]


def test_stopped_between_two_cameras_no_camera_is_lost(
    night: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = store._save_table
    with monkeypatch.context() as patch:
        patch.setattr(store, "_save_table", lambda path, catalog: save(path, catalog) or stop())
        with pytest.raises(Stopped):
            reducer(night, tmp_path / "out").create_catalogs()
    again = reducer(night, tmp_path / "out")
    assert not again.catalogs
    again.create_catalogs()
    assert list(again.catalogs) == ["1:g", "2:r"]


@pytest.mark.parametrize("stopper", ["forget", "record"])
def test_stopped_while_old_light_curves_go_none_of_them_stays(
    night: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopper: str
) -> None:
    reduction = reducer(night, tmp_path / "out")
    reduction.create_catalogs()
    reduction.photometry(aperture(3.0))
    old = flux(tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr(light_curve_set, stopper, stop)
        with pytest.raises(Stopped):
            reduction.photometry(aperture(6.0), overwrite=True)
    reducer(night, tmp_path / "out").photometry(aperture(6.0), overwrite=True)
    assert (flux(tmp_path / "out") > 1.01 * old).all()


def test_stopped_while_old_catalogues_go_none_of_them_stays(
    night: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reduction = reducer(night, tmp_path / "out")
    reduction.create_catalogs()
    with monkeypatch.context() as patch:
        patch.setattr(catalog_stage, "save_catalogs", stop)
        with pytest.raises(Stopped):
            reduction.create_catalogs(max_catalog_sources=2, overwrite=True)
    again = reducer(night, tmp_path / "out")
    again.create_catalogs(max_catalog_sources=2)
    assert {len(table) for table in again.catalogs.values()} == {2}


def test_pixels_written_again_in_place_are_noticed(night: Path, tmp_path: Path) -> None:
    reduction = reducer(night, tmp_path / "out")
    reduction.create_catalogs()
    reduction.photometry(aperture(3.0))
    path = sorted(night.glob("*g*.fit"))[3]
    with fits.open(path, mode="update") as hdus:
        hdus[0].data = (hdus[0].data * 2).astype(np.uint16)
    again = reducer(night, tmp_path / "out")
    with pytest.raises(SettingsChangedError, match="files"):
        again.create_catalogs()


def test_a_level_from_another_instrument_description_is_noticed(night: Path, tmp_path: Path) -> None:
    reducer(night, tmp_path / "out").create_catalogs()
    other = opticam.OPTICAM_MX(keywords={"saturation": ()}, fixed={"saturation": 900.0})
    again = opticam.Reducer(tmp_path / "out", night, instrument=other, verbose=False, show_plots=False)
    with pytest.raises(SettingsChangedError, match="frames"):
        again.create_catalogs()


def test_frames_that_come_or_go_do_not_get_the_transforms_of_others(night: Path, tmp_path: Path) -> None:
    paths = sorted(night.glob("*g*.fit"))
    held = paths[1].rename(tmp_path / paths[1].name)
    reducer(night, tmp_path / "out").create_catalogs()
    held.rename(paths[1])
    paths[5].rename(tmp_path / paths[5].name)  # as many frames as before, numbered differently
    again = reducer(night, tmp_path / "out")
    with pytest.raises(CatalogError, match=r"create_catalogs\(\)"):
        again.photometry(aperture(3.0))
    assert again.catalogs == {}


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def reduce(night: Path, out: Path, photometers: list[Any], **options: Any) -> None:
    with opticam.Reducer(out, night, show_plots=False, verbose=False, **options) as reduction:
        reduction.create_catalogs()
        reduction.photometry(photometers)


@pytest.mark.parametrize("changed", ["threshold", "target", "frames", "photometer", "one of two photometers"])
def test_a_refused_run_touches_nothing(night: Path, tmp_path: Path, changed: str) -> None:
    out = tmp_path / "out"
    reduce(night, out, [aperture(3.0)])
    before = contents(out)
    options: dict[str, Any] = {}
    photometers: list[Any] = [aperture(3.0)]
    if changed == "threshold":
        options = {"threshold": 7.0}
    elif changed == "target":
        options = {"target": "05:34:31.9 +22:00:52"}
    elif changed == "frames":
        next(night.glob("*g*.fit")).unlink()
    elif changed == "photometer":
        photometers = [aperture(4.0)]
    else:
        photometers = [opticam.OptimalPhotometer(forced=True), aperture(4.0)]
    with pytest.raises(SettingsChangedError, match="overwrite=True"):
        reduce(night, out, photometers, **options)
    assert contents(out) == before
