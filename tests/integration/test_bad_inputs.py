"""Bad input: one clear line or a flagged row, the right exit code, and the good frames reduced."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import opticam_dask as opticam
from opticam_dask.cli import main
from opticam_dask.schema import NULL_FLUX_FLAGS


def _sibling(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


nights = _sibling("bad_nights")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: Any) -> int:
    monkeypatch.setattr(sys, "argv", ["opticam-dask", *map(str, arguments)])
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


@pytest.mark.parametrize("case", nights.CASES, ids=lambda case: case.name)
def test_bad_input_costs_only_itself(
    case: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    data = nights.good_night(tmp_path / "data")
    case.spoil(data)
    out = tmp_path / "out"
    code = run(monkeypatch, "reduce", data, out, "--cluster", "threads")
    said = "".join(capfd.readouterr())
    assert code == case.exit_code, said
    assert [words for words in case.says if words not in said] == [], said
    assert "Traceback" not in said
    if case.rows is not None:
        check_table(case, out)
    stray = {path.name for path in tmp_path.iterdir()} - {"data", "out"}
    assert not stray


def check_table(case: Any, out: Path) -> None:
    curve = opticam.light_curve(out, camera="1:g" if case.name != "one arm missing" else "3:i", source=1)
    assert len(curve) == case.rows
    lost = curve["flux"].isna()
    assert lost.sum() == case.lost
    assert (curve.loc[lost, "flags"] & int(NULL_FLUX_FLAGS)).all()
    good = curve[~lost & ((curve["flags"] & int(opticam.Flag.SATURATED)) == 0)]
    total = nights.STARS[0, 2]
    assert good["flux"].to_numpy() == pytest.approx(total, abs=6 * float(curve["flux_err"].max() or 0))
    if case.flag:
        everything = opticam.open_light_curves(out).compute()
        assert (everything["flags"] & int(opticam.Flag[case.flag])).any()


def test_unwritable_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    data = nights.good_night(tmp_path / "data", 2)
    (tmp_path / "file").write_text("")
    code = run(monkeypatch, "reduce", data, tmp_path / "file" / "out", "--cluster", "threads")
    assert code == 1
    assert "cannot be written (Not a directory); choose a folder" in capfd.readouterr().err


def test_frames_off_by_20_px_keep_their_flux_when_forced(tmp_path: Path) -> None:
    data = nights.good_night(tmp_path / "data")
    nights._far(data)
    with opticam.Reducer(tmp_path / "out", data, cluster="threads", verbose=False) as reducer:
        reducer.create_catalogs()
        reducer.photometry(opticam.OptimalPhotometer(forced=True))
    curve = opticam.light_curve(tmp_path / "out", camera="1:g", source=1)
    z = (curve["flux"] - nights.STARS[0, 2]) / curve["flux_err"]
    assert len(curve) == nights.N_FRAMES
    assert np.abs(z).max() < 5


def test_cloud_is_measured_when_forced(tmp_path: Path) -> None:
    data = nights.good_night(tmp_path / "data")
    nights._cloud(2)(data)
    with opticam.Reducer(tmp_path / "out", data, cluster="threads", verbose=False) as reducer:
        reducer.create_catalogs()
        reducer.photometry(opticam.OptimalPhotometer(forced=True))
    curve = opticam.light_curve(tmp_path / "out", camera="1:g", source=1).set_index("frame")
    assert np.isfinite(curve["flux"]).all()
    assert abs(curve["flux"][2]) < 5 * curve["flux_err"][2]
    assert curve["flags"][2] & opticam.Flag.NOT_ALIGNED


def test_a_star_leaving_the_frame_keeps_its_flux_and_is_flagged(tmp_path: Path) -> None:
    data = nights.good_night(tmp_path / "data")
    nights._edge_star(data)
    # The default finder leaves out stars so near the border.
    finder = opticam.DefaultFinder(5)
    with opticam.Reducer(tmp_path / "out", data, cluster="threads", verbose=False, finder=finder) as reducer:
        reducer.create_catalogs()
        reducer.photometry(opticam.OptimalPhotometer(forced=True))
    curve = opticam.light_curve(tmp_path / "out", camera="1:g", source=2)
    edge = (curve["flags"] & int(opticam.Flag.EDGE)) != 0
    assert not edge.iloc[0]
    assert edge.iloc[-1]
    assert np.abs((curve["flux"] - nights.STARS[1, 2]) / curve["flux_err"]).max() < 5
