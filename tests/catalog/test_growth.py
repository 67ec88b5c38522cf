"""Growth curves of stars whose light is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from astropy.table import QTable
from scipy.integrate import dblquad

from opticam_dask.catalog.growth import enclosed, growth_curves
from opticam_dask.catalog.model import CameraCatalog
from opticam_dask.errors import InputError
from opticam_dask.types import FWHM_PER_SIGMA, PsfModel

PSF = PsfModel(3.1, 2.0, 37.0)
STARS = ((41.3, 60.2, 9000.0), (110.8, 35.7, 2000.0), (3.0, 90.0, 4000.0))


def catalog_of(sky: float = 5.0) -> CameraCatalog:
    image = np.full((120, 151), sky)
    row, column = np.indices(image.shape)
    for x, y, total in STARS:
        along = (column - x) * np.cos(PSF.orientation_rad) + (row - y) * np.sin(PSF.orientation_rad)
        across = (row - y) * np.cos(PSF.orientation_rad) - (column - x) * np.sin(PSF.orientation_rad)
        a, b = PSF.semimajor_sigma, PSF.semiminor_sigma
        image += total / (2 * np.pi * a * b) * np.exp(-0.5 * ((along / a) ** 2 + (across / b) ** 2))
    table = QTable({"source": [1, 2, 3], "x": [s[0] for s in STARS], "y": [s[1] for s in STARS]})
    return CameraCatalog("1:g", table, PSF, image, pd.DataFrame(), ("2024-01-01", "1:g", 0))


def test_a_gaussian_star_grows_as_the_psf_does_over_any_sky() -> None:
    for sky in (0.0, 5.0):
        curves = growth_curves(catalog_of(sky))
        good = curves[curves["source"] < 3]
        # light is taken to be even within a pixel, which widens a star of 2 px a little
        assert np.abs(good["fraction"] - good["model"]).max() < 8e-3
        assert np.abs(good["fraction"] - good["model"])[good["scale"] >= 1.4].max() < 1e-3
        last = good[good["scale"] == good["scale"].max()]
        assert last["flux"].to_numpy() == pytest.approx([9000.0, 2000.0], rel=2e-3)


def test_an_aperture_beyond_the_edge_gives_nan() -> None:
    curves = growth_curves(catalog_of())
    edge = curves[curves["source"] == 3]
    assert edge["fraction"].isna().all()
    assert edge["flux"].notna().iloc[0]


@pytest.mark.parametrize("beta", [None, 2.5, 4.0])
def test_the_models_fraction_is_the_integral_of_the_profile(beta: float | None) -> None:
    psf = PsfModel(2.0, 2.0, 0.0, beta)
    for scale in (0.5, 1.5):
        radius = scale * FWHM_PER_SIGMA * 2.0

        def light(r: float, _: float) -> float:
            q = (r / 2.0) ** 2
            k = 0.0 if beta is None else (2 ** (1 / beta) - 1) / (2 * np.log(2))
            return float(r * (np.exp(-q / 2) if beta is None else (1 + k * q) ** -beta))

        inside = dblquad(light, 0, 2 * np.pi, 0, radius)[0]
        whole = inside + dblquad(light, 0, 2 * np.pi, radius, np.inf)[0]
        assert enclosed(psf, np.array([scale]))[0] == pytest.approx(inside / whole, rel=1e-6)


@pytest.mark.parametrize("scales", [(), (0.0, 1.0), (2.0, 1.0), (np.nan,)])
def test_scales_that_do_not_increase_are_refused(scales: Any) -> None:
    with pytest.raises(InputError, match="increase"):
        growth_curves(catalog_of(), scales)
