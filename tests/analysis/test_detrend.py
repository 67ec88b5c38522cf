"""Trends found and taken out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from analysis_curves import EPOCH, FREQUENCY, curve, sine

from opticam_dask.analysis import detrend, fit_sine
from opticam_dask.errors import InputError


def observed(seed: int = 0, n: int = 400):
    """Star at 500 counts with airmass and position trends."""
    rng = np.random.default_rng(seed)
    seconds = np.arange(n) * 20.0
    airmass = 1 + 0.5 * (seconds / seconds[-1] - 0.3) ** 2
    x = rng.normal(100, 2, n)
    truth = 500 * 10 ** (-0.4 * 0.2 * (airmass - np.median(airmass))) * (1 + 0.004 * (x - np.median(x)))
    one = curve(seconds, truth + rng.normal(0, 2, n), err=2.0)
    return replace(one, unit="adu", columns={"airmass": airmass, "x": x})


def test_coefficients_come_back_within_their_errors() -> None:
    off = []
    for seed in range(30):
        found = detrend(observed(seed), ["airmass", "x"], space="magnitude")
        table = found.coefficients
        truth = np.array([0.2, -2.5 * np.log10(1.004)])
        off.append((table["value"] - truth) / table["error"])
    assert np.abs(np.mean(off, axis=0)).max() < 0.6
    assert np.std(off, axis=0) == pytest.approx(1, abs=0.35)
    assert table["centre"]["x"] == pytest.approx(np.median(observed(29).columns["x"]))


def test_the_trend_is_gone_and_the_level_stays() -> None:
    one = observed()
    found = detrend(one, ["airmass", "x"], degree=2)
    assert found.curve.flux.std() == pytest.approx(2, rel=0.1)
    assert found.curve.flux == pytest.approx(one.flux / found.model)
    assert found.curve.flux_err == pytest.approx(one.flux_err / found.model)
    assert found.curve.unit == "adu"
    assert np.median(found.curve.flux) == pytest.approx(np.median(one.flux), rel=0.01)
    assert found.removed == pytest.approx(found.model.std())
    assert list(found.coefficients.index) == ["airmass", "airmass^2", "x", "x^2"]


def test_an_outlier_does_not_bend_the_trend() -> None:
    one = observed()
    flux = one.flux.copy()
    flux[[5, 390]] *= 2
    clean, dirty = detrend(one, ["airmass"]), detrend(one.with_flux(flux, one.flux_err), ["airmass"])
    assert np.flatnonzero(~dirty.used).tolist() == [5, 390]
    assert dirty.model == pytest.approx(clean.model, abs=0.002)
    assert len(dirty.curve) == len(one)


def test_a_protected_period_keeps_its_amplitude() -> None:
    seconds = np.arange(0, 60, 0.5)
    one = sine(seconds, amplitude=0.03, err=0.002)
    seeing = np.sin(2 * np.pi * FREQUENCY * seconds) + 0.5 * np.random.default_rng(1).standard_normal(120)
    one = replace(one, columns={"fwhm": 3 + seeing})
    eaten = fit_sine(detrend(one, ["fwhm"]).curve, FREQUENCY, EPOCH)
    kept = fit_sine(detrend(one, ["fwhm"], protect=[FREQUENCY]).curve, FREQUENCY, EPOCH)
    assert eaten.amplitude < 0.02
    assert kept.amplitude == pytest.approx(0.03, abs=0.0025)


def test_samples_without_a_regressor_are_counted_out() -> None:
    one = observed()
    airmass = one.columns["airmass"].copy()
    airmass[:7] = np.nan
    found = detrend(replace(one, columns={"airmass": airmass}), ["airmass"])
    assert (found.n_left_out, len(found.curve), len(found.model)) == (7, 393, 393)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (["airmass", "seeing"], "no column 'seeing'"),
        (["flat"], "does not vary"),
        (["airmass", "twin"], "cannot be told apart"),
        ("airmass", "give a list"),
        (["none"], "too few"),
    ],
)
def test_regressors_that_cannot_be_used(columns, said: str) -> None:
    one = observed()
    extra = {
        "flat": np.full(400, 3.5),
        "twin": 2 * one.columns["airmass"] - 1,
        "none": np.full(400, np.nan),
    }
    with pytest.raises(InputError, match=said):
        detrend(replace(one, columns={**one.columns, **extra}), columns)
