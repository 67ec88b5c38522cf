"""The PSF that photometers are given: of the run or of the frame, Gaussian or Moffat."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import opticam_dask as opticam
from opticam_dask.catalog import profile
from opticam_dask.errors import CatalogError
from opticam_dask.simulate import CameraSetup
from opticam_dask.stages import corrections

# wide: wings of a Moffat reach far into the default annulus
SKY = opticam.DefaultLocalBackground(r_in_scale=9.0, r_out_scale=12.0)


def night(folder: Path, **scene: Any) -> Path:
    settings: dict[str, Any] = {
        "n_frames": 8,
        "shape": (241, 263),
        "n_stars": 6,
        "flux_range": (2e4, 2e5),
        "min_separation_px": 60.0,
        "margin_px": 35.0,
        "semimajor_sigma": 2.6,
        "semiminor_sigma": 1.8,
        "orientation": 37.0,
        "jitter_px": 0.5,
        "cameras": (CameraSetup(filter="g"),),
        "pointing": (83.6, 22.0),
        "seed": 8,
    }
    opticam.simulate_night(opticam.Scene(**{**settings, **scene}), folder)
    return folder


def ratios(out: Path, data: Path, photometers: list[Any]) -> dict[str, pd.DataFrame]:
    """Rows of each photometer with the ratio of measured to true flux."""
    with opticam.Reducer(out, data, verbose=False, show_plots=False, cluster="threads") as reducer:
        reducer.create_catalogs()
        reducer.photometry(photometers, export_csv=False)
    truth = pd.read_parquet(data / "truth.parquet")[["frame", "star", "flux", "fwhm"]]
    found = {}
    for photometer in photometers:
        rows = opticam.open_light_curves(out, label=photometer.label).compute()
        both = rows.merge(truth, left_on=["frame", "source"], right_on=["frame", "star"])
        assert len(both) == len(rows) == 48
        found[photometer.label] = both.assign(ratio=both["flux_x"] / both["flux_y"])
    return found


def test_moffat_stars_keep_their_flux_with_the_fitted_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = night(tmp_path / "data", profile="moffat", moffat_beta=3.5)
    options: dict[str, Any] = {"forced": True, "local_background_estimator": SKY}
    moffat = [
        opticam.OptimalPhotometer(profile="moffat", **options),
        opticam.AperturePhotometer(profile="moffat", **options),
    ]
    gaussian = [opticam.OptimalPhotometer(**options), opticam.AperturePhotometer(**options)]
    found = ratios(tmp_path / "out", data, [*moffat, *gaussian])
    for right, wrong in zip(moffat, gaussian, strict=True):
        assert right.label == f"{wrong.label}_moffat"
        assert found[right.label]["ratio"].mean() == pytest.approx(1.0, abs=0.01)
        assert found[wrong.label]["ratio"].mean() < 0.97
    known = json.loads((tmp_path / "out/cat/moffat.json").read_text())["1:g"]["psf"]
    assert known["beta"] == pytest.approx(3.5, rel=0.1)
    monkeypatch.setattr(profile, "fit_moffat", None)  # it is read back, not fitted again
    part = next((tmp_path / "out").rglob("part-*.parquet"))
    whole = part.read_bytes()
    part.unlink()
    ratios(tmp_path / "out", data, moffat)
    ratios(tmp_path / "out", data, gaussian)
    assert part.read_bytes() == whole


def test_a_measured_correction_makes_up_for_a_profile_that_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = night(tmp_path / "data", profile="moffat", moffat_beta=4.0, shape=(341, 363), margin_px=70.0)
    options: dict[str, Any] = {"forced": True, "local_background_estimator": SKY}
    optimal = {"weighting": "profile", **options}
    corrected = [
        opticam.OptimalPhotometer(aperture_correction="measured", **optimal),
        opticam.AperturePhotometer(aperture_correction="measured", scale=0.8, **options),
    ]
    plain = [opticam.OptimalPhotometer(**optimal), opticam.AperturePhotometer(scale=0.8, **options)]
    found = ratios(tmp_path / "out", data, [*corrected, *plain])
    for right, wrong in zip(corrected, plain, strict=True):
        assert right.label == f"{wrong.label}_corrected"
        one, other = found[right.label], found[wrong.label]
        assert other["ratio"].mean() < 0.96
        assert one["ratio"].mean() == pytest.approx(1.0, abs=0.01)
        kept = json.loads((tmp_path / f"out/lcs/{right.label}/aperture_correction.json").read_text())
        factor, error = kept["1:g"]["factor"], kept["1:g"]["error"]
        assert one["flux_x"].to_numpy() == pytest.approx(factor * other["flux_x"].to_numpy(), rel=1e-12)
        assert one["flux_err"].to_numpy() == pytest.approx(factor * other["flux_err"].to_numpy(), rel=1e-12)
        assert 0 < error < 0.003
    part = next((tmp_path / f"out/lcs/{corrected[0].label}").rglob("part-*.parquet"))
    whole = part.read_bytes()
    part.unlink()
    monkeypatch.setattr(corrections, "measure_correction", None)  # read back, not measured again
    ratios(tmp_path / "out", data, corrected)
    assert part.read_bytes() == whole
    with opticam.Reducer(tmp_path / "out", data, verbose=False, show_plots=False, cluster="threads") as r:
        budget = r.noise_budget(corrected[0])
    rows = found[corrected[0].label]
    assert np.isin(budget["flux"].to_numpy(), rows["flux_x"].to_numpy()).all()


def test_no_star_for_a_correction_is_said(tmp_path: Path) -> None:
    data = night(tmp_path / "data", flux_range=(600.0, 900.0), n_frames=5)
    with opticam.Reducer(tmp_path / "out", data, verbose=False, show_plots=False, cluster="threads") as r:
        r.create_catalogs()
        with pytest.raises(CatalogError, match="use aperture_correction='profile'"):
            r.photometry(opticam.AperturePhotometer(aperture_correction="measured", forced=True))


def test_a_psf_per_frame_follows_the_seeing(tmp_path: Path) -> None:
    data = night(tmp_path / "data", seeing_change=0.6)
    photometers = [
        kind(psf=psf, forced=True, local_background_estimator=opticam.DefaultLocalBackground())
        for kind in (opticam.OptimalPhotometer, opticam.AperturePhotometer)
        for psf in ("run", "frame")
    ]
    found = ratios(tmp_path / "out", data, photometers)
    for label, rows in found.items():
        of_frame = rows.groupby("frame")["ratio"].mean()
        if label.endswith("psf_frame"):
            assert np.abs(of_frame - 1.0).max() < 0.01
        else:
            assert np.ptp(of_frame) > 0.05
        assert (rows["fwhm_x"] / rows["fwhm_y"]).between(0.99, 1.03).all()
