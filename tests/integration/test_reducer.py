"""The facade: what is kept, what is done again, and what is refused."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pandas as pd
import pytest
from distributed import Client, LocalCluster

import opticam_dask as opticam
from opticam_dask.errors import CatalogError, InputError, SettingsChangedError
from opticam_dask.io.blocks import FrameBlock
from opticam_dask.simulate import CameraSetup

DEFAULT = opticam.DefaultLocalBackground


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("night")
    scene = opticam.Scene(
        n_frames=9,
        shape=(131, 149),
        n_stars=6,
        flux_range=(5e3, 5e4),
        min_separation_px=15.0,
        semimajor_sigma=2.0,
        semiminor_sigma=1.6,
        orientation=-30.0,
        cameras=(CameraSetup(filter="g"), CameraSetup(filter="r")),
        pointing=(83.6, 22.0),
        seed=3,
    )
    opticam.simulate_night(scene, folder)
    return folder


@pytest.fixture(scope="module", autouse=True)
def client() -> Iterator[Client]:
    """One in-process cluster for the module: an active client is used as it is."""
    with (
        LocalCluster(
            processes=False, n_workers=1, threads_per_worker=2, dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.fixture
def blocks_of_four() -> Iterator[None]:
    with dask.config.set({"opticam.frames-per-block": 4}):
        yield


def reducer(night: Path, out: Path, **options: Any) -> opticam.Reducer:
    return opticam.Reducer(out, night, verbose=False, **options)


def parts(out: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in out.rglob("part-*.parquet")}


def test_the_whole_tree_is_there(night: Path, tmp_path: Path) -> None:
    with reducer(night, tmp_path) as r:
        r.create_catalogs()
        summary = r.photometry(opticam.OptimalPhotometer(local_background_estimator=DEFAULT()))
    assert summary["rows"].sum() == 2 * 9 * 6
    expected = (
        "frames.parquet",
        "alignment.parquet",
        "opticam.log",
        "provenance.json",
        "misc/reduction_parameters.json",
        "cat/catalogs.pdf",
        "cat/1:g_catalog.ecsv",
        "cat/stacked_images",
        "lcs/optimal_annulus/light_curves",
        "lcs/optimal_annulus/2:r_source_6.csv",
    )
    assert [name for name in expected if not (tmp_path / name).exists()] == []
    assert not [path for path in tmp_path.rglob(".*") if path.is_file()]
    provenance = json.loads((tmp_path / "provenance.json").read_text())
    assert provenance["versions"]["opticam-dask"]
    config = provenance["config"]
    assert config["instrument"]["name"] == "OPTICAM-MX"
    assert config["threshold"] == 5.0
    assert config["catalogs"]["max_catalog_sources"] == 15
    assert config["photometry"]["optimal_annulus"]["photometer"]["forced"] is False
    assert config == json.loads((tmp_path / "misc/reduction_parameters.json").read_text())


def test_record_names_the_client_that_computes(night: Path, tmp_path: Path, client: Client) -> None:
    with reducer(night, tmp_path):
        pass
    provenance = json.loads((tmp_path / "provenance.json").read_text())
    assert provenance["cluster"] == client.scheduler.address
    assert provenance["command"]


def test_fluxes_are_the_truth(night: Path, tmp_path: Path) -> None:
    with reducer(night, tmp_path) as r:
        r.create_catalogs()
        r.photometry(opticam.AperturePhotometer(local_background_estimator=DEFAULT(), forced=True))
        r.photometry(opticam.OptimalPhotometer(local_background_estimator=DEFAULT(), forced=True))
    truth = pd.read_parquet(night / "truth.parquet")
    for label in ("forced_aperture_annulus", "forced_optimal_annulus"):
        rows = opticam.open_light_curves(tmp_path, label=label).compute()
        both = rows.merge(truth, left_on=["camera", "frame", "source"], right_on=["camera", "frame", "star"])
        assert len(both) == len(rows) == 2 * 9 * 6
        pull = (both["flux_x"] - both["flux_y"]) / both["flux_err"]
        assert abs(pull.mean()) < 0.35
        assert 0.75 < pull.std() < 1.25
        assert np.abs(both["x_x"] - both["x_y"]).max() < 0.15


def test_second_run_does_nothing_again(night: Path, tmp_path: Path, blocks_of_four: None) -> None:
    for _ in range(2):
        with reducer(night, tmp_path) as r:
            r.create_catalogs()
            summary = r.photometry(opticam.OptimalPhotometer())
            before = parts(tmp_path)
    assert len(before) == 6
    assert summary.empty
    assert parts(tmp_path) == before


def test_several_photometers_read_the_frames_once_and_give_what_each_gives_alone(
    night: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    optimal = opticam.OptimalPhotometer(local_background_estimator=DEFAULT(), forced=True)
    aperture = opticam.AperturePhotometer(semimajor_axis=6.0)
    with reducer(night, tmp_path / "alone") as r:
        r.create_catalogs()
        for photometer in (optimal, aperture):
            r.photometry(photometer)
    reads: list[int] = []
    decode = FrameBlock.frames
    monkeypatch.setattr(FrameBlock, "frames", lambda block: (reads.append(len(block)), decode(block))[1])
    with reducer(night, tmp_path / "both") as r:
        r.create_catalogs()
        reads.clear()
        summary = r.photometry([optimal, aperture])
        assert sum(reads) == 18
        assert set(summary["label"]) == {"forced_optimal_annulus", "aperture"}
        next(iter(parts(tmp_path / "both"))).unlink()
        assert len(r.photometry([optimal, aperture])) == 1
    made = {path.relative_to(tmp_path / "both"): path.read_bytes() for path in parts(tmp_path / "both")}
    assert made == {p.relative_to(tmp_path / "alone"): p.read_bytes() for p in parts(tmp_path / "alone")}
    assert (tmp_path / "both/lcs/aperture/2:r_source_6.csv").is_file()


def test_growth_curves_of_all_cameras_are_measured_and_drawn(night: Path, tmp_path: Path) -> None:
    with reducer(night, tmp_path) as r:
        with pytest.raises(CatalogError, match="create_catalogs"):
            r.growth_curves()
        r.create_catalogs()
        curves = r.growth_curves((0.5, 1.0, 2.0))
    assert curves.groupby("camera").size().to_dict() == {"1:g": 18, "2:r": 18}
    bright = curves[curves["source"] == 1]
    assert np.abs(bright["fraction"] - bright["model"]).max() < 0.03
    assert (tmp_path / "diag/growth_curves.pdf").read_bytes().startswith(b"%PDF")


def test_the_noise_budget_adds_up_to_the_errors_of_the_light_curves(night: Path, tmp_path: Path) -> None:
    noise = opticam.NoiseBudget(scintillation=True)
    photometer = opticam.OptimalPhotometer(forced=True, local_background_estimator=DEFAULT(), noise=noise)
    with reducer(night, tmp_path) as r:
        r.create_catalogs()
        budget = r.noise_budget(photometer)
        r.photometry(photometer)
    assert photometer.noise.diameter_m is None
    assert (tmp_path / "diag/forced_optimal_annulus_noise_budget.pdf").read_bytes().startswith(b"%PDF")
    terms = budget[["shot_err", "sky_err", "level_err", "flat_err", "scintillation_err"]]
    assert np.sqrt((terms**2).sum(axis=1)).to_numpy() == pytest.approx(budget["flux_err"].to_numpy())
    rows = opticam.open_light_curves(tmp_path).compute()
    same = budget.merge(rows, on=["camera", "source", "flux"], suffixes=("", "_row"))
    assert len(same) == len(budget) == 12
    assert (same["flux_err"] == same["flux_err_row"]).all()
    expected = 2.272e-3 * (1.5 / 1.67) * same["airmass"] ** 1.5
    assert (same["scintillation_err"] / same["flux"]).to_numpy() == pytest.approx(expected, rel=1e-3)


def test_photometers_of_one_label_are_refused(night: Path, tmp_path: Path) -> None:
    with reducer(night, tmp_path) as r:
        r.create_catalogs()
        with pytest.raises(InputError, match="label aperture"):
            r.photometry([opticam.AperturePhotometer(semimajor_axis=size) for size in (3.0, 5.0)])
        with pytest.raises(InputError, match="at least one"):
            r.photometry([])


def test_only_missing_parts_are_made(night: Path, tmp_path: Path, blocks_of_four: None) -> None:
    with reducer(night, tmp_path) as r:
        r.create_catalogs()
        r.photometry(opticam.OptimalPhotometer())
        whole = {path: path.read_bytes() for path in parts(tmp_path)}
        lost = sorted(whole)[1]
        lost.unlink()
        summary = r.photometry(opticam.OptimalPhotometer())
    assert len(summary) == 1
    assert {path: path.read_bytes() for path in parts(tmp_path)} == whole


def test_other_blocks_replace_the_parts(night: Path, tmp_path: Path) -> None:
    for size in (4, 5):
        with dask.config.set({"opticam.frames-per-block": size}), reducer(night, tmp_path) as r:
            r.create_catalogs()
            r.photometry(opticam.OptimalPhotometer())
    rows = opticam.open_light_curves(tmp_path).compute()
    assert not rows.duplicated(["night", "camera", "source", "frame"]).any()
    assert len(rows) == 2 * 9 * 6


def test_changed_settings_are_refused_by_name(night: Path, tmp_path: Path) -> None:
    with reducer(night, tmp_path) as r:
        r.create_catalogs()
        r.photometry(opticam.AperturePhotometer())
        before = parts(tmp_path)
        with pytest.raises(SettingsChangedError, match="semimajor_axis"):
            r.photometry(opticam.AperturePhotometer(semimajor_axis=6.0))
        assert parts(tmp_path) == before
        with pytest.raises(SettingsChangedError, match="max_catalog_sources"):
            r.create_catalogs(max_catalog_sources=3)
        assert len(r.catalogs["1:g"]) == 6
        r.photometry(opticam.AperturePhotometer(semimajor_axis=6.0), overwrite=True)
        assert parts(tmp_path) != before


def test_catalogues_are_read_back(night: Path, tmp_path: Path) -> None:
    with reducer(night, tmp_path) as first:
        first.create_catalogs()
    with reducer(night, tmp_path) as second:
        assert second.psf_params == first.psf_params
        second.photometry(opticam.OptimalPhotometer())


def test_photometry_needs_catalogues(night: Path, tmp_path: Path) -> None:
    with reducer(night, tmp_path) as r, pytest.raises(CatalogError, match="create_catalogs"):
        r.photometry(opticam.OptimalPhotometer())


def test_why_there_is_no_catalogue_is_said_in_the_error(night: Path, tmp_path: Path) -> None:
    says = r"camera 1:g: no source above 1e\+06 times .*; 1 more in "
    with reducer(night, tmp_path, threshold=1e6) as r, pytest.raises(CatalogError, match=says):
        r.create_catalogs()


def test_a_broken_estimator_is_said_before_the_run(night: Path, tmp_path: Path) -> None:
    def broken(
        data: Any, position: Any, semimajor_axis: Any, semiminor_axis: Any, orientation: Any
    ) -> tuple[float, float]:
        raise RuntimeError("no sky today")

    with reducer(night, tmp_path) as r:
        r.create_catalogs()
        with pytest.raises(InputError, match="no sky today"):
            r.photometry(opticam.OptimalPhotometer(local_background_estimator=broken))
    assert not parts(tmp_path)


def test_without_barycentre_the_csv_holds_mjd(night: Path, tmp_path: Path) -> None:
    with reducer(night, tmp_path, barycenter=False) as r:
        r.create_catalogs()
        r.photometry(opticam.OptimalPhotometer())
    table = pd.read_csv(tmp_path / "lcs/optimal/1:g_source_1.csv")
    assert list(table.columns) == ["MJD", "flux", "flux_err", "bkg", "bkg_err"]
    rows = opticam.light_curve(tmp_path, camera="1:g", source=1)
    assert rows["BMJD"].isna().all()
    assert (rows["flags"] & int(opticam.Flag.NO_BARYCENTRE)).all()


def test_unreadable_frame_is_a_flagged_row(night: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for path in night.glob("*.fit*"):
        os.link(path, data / path.name)
    spoilt = sorted(data.glob("*g*"))[3]
    with reducer(data, tmp_path / "out") as r:
        r.create_catalogs()
        whole = spoilt.read_bytes()
        spoilt.unlink()
        # The header is whole: only reading the pixels tells.
        spoilt.write_bytes(whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2))
        summary = r.photometry(opticam.OptimalPhotometer(forced=True))
    assert sum(len(reasons) for reasons in summary["unreadable"]) == 1
    rows = opticam.light_curve(tmp_path / "out", camera="1:g", source=1)
    assert len(rows) == 9
    assert rows["flux"].isna().sum() == 1
    assert rows.loc[rows["flux"].isna(), "flags"].item() & int(opticam.Flag.UNREADABLE)
    assert spoilt.name in (tmp_path / "out/opticam.log").read_text()


def test_aperture_selector_chooses_the_psf(night: Path, tmp_path: Path) -> None:
    sizes = []
    for name, selector in {"usual": np.median, "wide": lambda sigmas: 1.3 * np.median(sigmas)}.items():
        with reducer(night, tmp_path / name, aperture_selector=selector) as r:
            r.create_catalogs()
            sizes.append(r.psf_params["1:g"]["semimajor_sigma"])
    assert sizes[1] == pytest.approx(1.3 * sizes[0], rel=1e-12)


def test_only_missing_csv_files_are_written_again(night: Path, tmp_path: Path) -> None:
    with reducer(night, tmp_path) as r:
        r.create_catalogs()
        r.photometry(opticam.OptimalPhotometer())
        folder = tmp_path / "lcs/optimal"
        before = {path: path.stat().st_mtime_ns for path in folder.glob("*.csv")}
        (folder / "1:g_source_2.csv").unlink()
        r.photometry(opticam.OptimalPhotometer())
    after = {path: path.stat().st_mtime_ns for path in folder.glob("*.csv")}
    assert {path.name for path in after if after[path] != before[path]} == {"1:g_source_2.csv"}
    assert set(after) == set(before)


def test_no_processor_is_refused(night: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="number_of_processors"):
        reducer(night, tmp_path, number_of_processors=0)


def test_a_camera_without_stars_keeps_its_rows(night: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for path in night.glob("*.fit*"):
        os.link(path, data / path.name)
    dark = opticam.Scene(n_frames=4, shape=(131, 149), n_stars=0, cameras=(CameraSetup(filter="i"),), seed=4)
    opticam.simulate_night(dark, tmp_path / "dark")
    for path in (tmp_path / "dark").glob("*.fit*"):
        os.link(path, data / path.name)
    with reducer(data, tmp_path / "out") as r:
        r.create_catalogs()
        assert sorted(r.catalogs) == ["1:g", "2:r"]
        r.photometry(opticam.OptimalPhotometer())
    alignment = pd.read_parquet(tmp_path / "out/alignment.parquet")
    lost = alignment[alignment["camera"] == "3:i"]
    assert len(alignment) == 2 * 9 + 4
    assert set(lost["status"]) == {"failed"}
    assert lost["reason"].str.contains("no catalogue").all()
    assert lost["a11"].isna().all()
