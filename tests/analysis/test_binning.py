"""Rebinned light curves."""

from __future__ import annotations

import astropy.units as u
import numpy as np
import pytest
from analysis_curves import curve
from hypothesis import given
from hypothesis import strategies as st

from opticam_dask.analysis import LightCurve, rebin
from opticam_dask.errors import InputError


def noisy(n: int = 100, seed: int = 0) -> LightCurve:
    rng = np.random.default_rng(seed)
    error = rng.uniform(0.5, 2.0, n)
    seconds = np.arange(n, dtype=float)
    return LightCurve(seconds=seconds, flux=rng.normal(10, error), flux_err=error, columns={"x": seconds})


def test_bins_are_means_with_their_errors() -> None:
    one = noisy(20)
    for method, weights in (("mean", np.ones(20)), ("weighted", one.flux_err**-2)):
        binned = rebin(one, 5 * u.s, method)
        w = weights.reshape(4, 5)
        assert binned.flux == pytest.approx(np.average(one.flux.reshape(4, 5), axis=1, weights=w))
        errors = np.sqrt((w**2 * one.flux_err.reshape(4, 5) ** 2).sum(axis=1)) / w.sum(axis=1)
        assert binned.flux_err == pytest.approx(errors)
        assert binned.seconds.tolist() == [2, 7, 12, 17]
        assert binned.columns["x"].tolist() == [2, 7, 12, 17]
        assert binned.columns["n_samples"].tolist() == [5] * 4
    assert rebin(one, 5, "sum").flux == pytest.approx(one.flux.reshape(4, 5).sum(axis=1))


def test_errors_are_the_scatter() -> None:
    binned = rebin(noisy(40_000), 10)
    assert ((binned.flux - 10) / binned.flux_err).std() == pytest.approx(1, abs=0.05)


def test_no_bin_reaches_across_a_gap() -> None:
    seconds = np.array([0, 1, 2, 6, 7, 8, 9.0])
    flux = np.array([1, 1, 1, 5, 5, 5, 5.0])
    binned = rebin(curve(seconds, flux), 8)
    assert binned.flux.tolist() == [1, 5]
    across = rebin(curve(seconds, flux), 8, across_gaps=True)
    assert across.flux.tolist() == pytest.approx([13 / 5, 5])
    assert rebin(curve(seconds, flux), 8, min_points=4).flux.tolist() == [5]


@given(
    st.lists(st.floats(0.5, 30), min_size=2, max_size=60),
    st.floats(40, 200),
    st.booleans(),
)
def test_every_sample_is_in_one_bin(steps: list[float], dt: float, across: bool) -> None:
    seconds = np.cumsum(steps)
    one = curve(seconds, np.arange(len(seconds)) + 1.0)
    binned = rebin(one, dt, "sum", across_gaps=across)
    assert binned.columns["n_samples"].sum() == len(seconds)
    assert binned.flux.sum() == pytest.approx(one.flux.sum())


def test_one_grid_whatever_the_rounding_of_times() -> None:
    days = 60310.3 + np.arange(1000) * 0.1 / 86_400
    one = curve((days - 60310) * 86_400, np.ones(1000))
    assert set(rebin(one, 1.0).columns["n_samples"]) == {10}


@pytest.mark.parametrize("dt", [0.5, -1, np.nan, 3 * u.m, "x"])
def test_widths_that_make_no_sense(dt) -> None:
    with pytest.raises(InputError):
        rebin(noisy(), dt)
