"""``reduce`` with calibration frames, several apertures and the rest: what is asked for is what is done."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import opticam_dask as opticam
from opticam_dask.cli import main
from opticam_dask.simulate import CameraSetup

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: Any) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["opticam-dask", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        return code, capfd.readouterr().err

    return run


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("night")
    scene = opticam.Scene(
        n_frames=6,
        shape=(150, 172),
        n_stars=5,
        flux_range=(2e4, 1e5),
        min_separation_px=30.0,
        margin_px=25.0,
        semimajor_sigma=2.4,
        semiminor_sigma=1.9,
        orientation=30.0,
        bias=300.0,
        bias_structure=3.0,
        dark_current=2.0,
        prnu=0.02,
        vignetting=0.3,
        hot_pixels=20,
        cosmic_rays=2.0,
        gain=0.5,
        cameras=(CameraSetup(filter="g"),),
        pointing=(83.6, 22.0),
        seed=6,
    )
    opticam.simulate_night(scene, folder / "data")
    opticam.simulate_calibration(scene, folder / "cal", n_bias=12, n_dark=12, n_flat=12)
    return folder


def test_calibrated_fluxes_in_electrons_of_several_apertures(
    command: Run, night: Path, tmp_path: Path
) -> None:
    folders = [word for kind in ("bias", "dark", "flat") for word in (f"--{kind}", night / "cal" / kind)]
    code, said = command(
        "reduce", night / "data", tmp_path, "--cluster", "threads", "--forced", "--cosmic-rays",
        "--electrons", "--photometer", "aperture", "--scale", 1, "--scale", "1.5",
        "--scintillation", "--figures", *folders,
    )  # fmt: skip
    assert code == 0, said
    assert sorted(path.name for path in (tmp_path / "cal").glob("*.fits"))
    truth = pd.read_parquet(night / "data/truth.parquet")[["frame", "star", "flux"]]
    for label in ("forced_aperture_annulus", "forced_aperture_annulus_x1.5"):
        rows = opticam.open_light_curves(tmp_path, label=label).compute()
        both = rows.merge(truth, left_on=["frame", "source"], right_on=["frame", "star"])
        assert len(both) == 30
        ratio = both["flux_x"] / both["flux_y"] / 0.5  # of which the shadows took a tenth on average
        assert ratio.between(0.8, 1.0).all()
        assert ratio.std() < 0.02
        part = next((tmp_path / "lcs" / label).rglob("part-*.parquet"))
        assert pq.read_schema(part).field("flux").metadata[b"unit"] == b"electron"
        assert (tmp_path / f"diag/{label}_noise_budget.pdf").is_file()
    settings = json.loads((tmp_path / "lcs/forced_aperture_annulus/settings.json").read_text())
    assert settings["photometer"]["noise"]["scintillation"] is True
    assert settings["photometer"]["noise"]["diameter_m"] == 2.1
    assert settings["calibration"]["1:g"]["remove_cosmic_rays"] is True
    code, said = command("reduce", night / "data", tmp_path, "--cluster", "threads", "--rebin", 2)
    assert code == 1
    assert "calibration.1:g" in said
    assert "overwrite" in said


def test_a_region_and_a_moffat_profile(command: Run, night: Path, tmp_path: Path) -> None:
    code, said = command(
        "reduce", night / "data", tmp_path, "--cluster", "threads", "--region", "20:150,10:172",
        "--rebin", 2, "--profile", "moffat", "--psf", "frame", "--background", "plane", "--no-csv",
    )  # fmt: skip
    assert code == 0, said
    rows = opticam.open_light_curves(tmp_path, label="optimal_annulus_moffat_psf_frame").compute()
    truth = pd.read_parquet(night / "data/truth.parquet")[["frame", "star", "x", "y"]]
    both = rows.merge(truth, left_on=["frame", "source"], right_on=["frame", "star"])
    inside = both[(both["y_y"] > 30) & np.isfinite(both["x_x"])]
    assert len(inside) >= 18
    assert np.abs(2 * inside["x_x"] + 10.5 - inside["x_y"]).max() < 0.5
    assert np.abs(2 * inside["y_x"] + 20.5 - inside["y_y"]).max() < 0.5


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--region", "5:2"), "Y0:Y1,X0:X1"),
        (("--region", "0:9999,0:10"), "region_of_interest"),
        (("--scale", "1.5"), "--photometer aperture"),
        (("--scale", "0", "--photometer", "aperture"), "0"),
        (("--rebin", "0"), "rebin"),
        (("--bias", "/nowhere"), "does not exist"),
    ],
)
def test_what_makes_no_sense_is_said_in_a_line(
    command: Run, night: Path, tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    code, said = command("reduce", night / "data", tmp_path / "out", "--cluster", "threads", *options)
    assert code in (1, 2)
    assert words in said
    assert "Traceback" not in said


def test_flats_of_no_camera_are_said_with_what_there_is(command: Run, night: Path, tmp_path: Path) -> None:
    code, said = command(
        "reduce", night / "data", tmp_path / "out", "--cluster", "threads", "--flat", night / "cal/bias"
    )
    assert code == 1
    assert "flat" in said.splitlines()[-1]
