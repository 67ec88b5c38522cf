"""The noise budget: curves that theory gives, and a figure whose text is true."""

from __future__ import annotations

import numpy as np
import pytest

from opticam_dask.kernels.optimal import SourceSky
from opticam_dask.photometers import AperturePhotometer, OptimalPhotometer
from opticam_dask.photometers.noise_budget import NoiseBudget
from opticam_dask.photometers.noise_curve import noise_curve
from opticam_dask.plotting.noise import dominant, noise_figure
from opticam_dask.types import Exposure, PsfModel

PSF = PsfModel(4.0, 2.5, 37.0)
SKY = SourceSky(np.array([100.0]), np.array([10.0]), np.array([0.25]))
FLUX = np.geomspace(1e2, 1e7, 41)
BUDGET = NoiseBudget(scintillation=True, diameter_m=2.1, height_m=2790.0, scintillation_coefficient=1.67)
FRAME = Exposure(np.zeros((1, 1)), gain=2.0, exposure_s=1.0, airmass=1.0)


def test_the_curve_is_that_of_theory_at_both_ends() -> None:
    curve = noise_curve(OptimalPhotometer(forced=True, noise=BUDGET), FLUX, PSF, SKY, FRAME)
    assert curve["flux"] == pytest.approx(FLUX, rel=1e-3)
    assert curve["sky"][0] == pytest.approx(10.0 * np.sqrt(4 * np.pi * 4.0 * 2.5), rel=0.01)
    assert curve["source"][-1] == pytest.approx(np.sqrt(1e7 / 2.0), rel=0.01)
    assert curve["scintillation"] / curve["flux"] == pytest.approx(2.27e-3, rel=0.005)
    squares = sum(curve[name] ** 2 for name in ("source", "sky", "level", "flat", "scintillation"))
    assert curve["total"] == pytest.approx(np.sqrt(squares))


def test_flat_fields_error_follows_the_flux() -> None:
    flat = Exposure(np.zeros((1, 1)), flat_variance=np.full((9, 9), 1e-4, np.float32))
    curve = noise_curve(AperturePhotometer(forced=True), FLUX, PSF, SKY, flat)
    assert np.ptp(curve["flat"] / curve["flux"]) < 1e-9
    assert (curve["flat"] > 0).all()


def test_the_text_names_the_largest_term_in_each_range() -> None:
    curve = noise_curve(OptimalPhotometer(forced=True, noise=BUDGET), FLUX, PSF, SKY, FRAME)
    sky, source, scintillation = dominant(curve)
    assert sky.startswith("sky, read-out and dark: largest up to ")
    assert source.startswith("shot noise of the star: largest from ")
    assert scintillation.startswith("scintillation: largest from ")
    crossing = float(sky.split()[-2])
    faint, bright = curve[curve["flux"] < 0.9 * crossing], curve[curve["flux"] > 1.1 * crossing]
    assert (faint["sky"] > faint["source"]).all()
    assert (bright["source"] > bright["sky"]).all()


def test_a_panel_has_a_line_for_each_term_that_counts() -> None:
    curve = noise_curve(OptimalPhotometer(forced=True), FLUX, PSF, SKY, FRAME)
    measured = curve[::4].copy()
    measured["flux"][:2] = [np.nan, -5.0]
    (ax,) = noise_figure({"1:g": (measured, curve, "a note")}, unit="electron").axes
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["shot noise of the star", "sky, read-out and dark", "sky level", "total", "sources"]
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert ax.get_xlabel() == "flux [electron]"
    assert ax.texts[0].get_text().endswith("a note")
    (points,) = [line for line in ax.lines if line.get_marker() == "o"]
    assert len(points.get_xdata()) == len(measured) - 2


def test_unknown_scintillation_leaves_the_other_terms() -> None:
    """Without an airmass no total is known, and so no range to draw."""
    unknown = Exposure(np.zeros((1, 1)), exposure_s=10.0)
    curve = noise_curve(OptimalPhotometer(forced=True, noise=BUDGET), FLUX, PSF, SKY, unknown)
    assert np.isnan(curve["total"]).all()
    (ax,) = noise_figure({"1:g": (curve[::4], curve, "")}).axes
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["shot noise of the star", "sky, read-out and dark", "sky level", "total", "sources"]
