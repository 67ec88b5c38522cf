"""Outliers."""

from __future__ import annotations

import numpy as np
import pytest
from analysis_curves import curve, sine, uneven

from opticam_dask.analysis import find_outliers
from opticam_dask.errors import InputError


def test_injected_outliers_are_found_and_nothing_else() -> None:
    one = sine(uneven(2000), amplitude=0.005, err=0.01)
    wrong = np.array([3, 400, 401, 1500])
    flux = one.flux.copy()
    flux[wrong] += np.array([0.1, -0.09, 0.08, 0.2])
    found = find_outliers(one.with_flux(flux, one.flux_err))
    assert np.flatnonzero(found).tolist() == wrong.tolist()
    assert not find_outliers(one).any()


def test_noise_larger_than_the_errors_makes_no_outliers() -> None:
    flux = 1 + 0.05 * np.random.default_rng(0).standard_normal(1000)
    assert find_outliers(curve(np.arange(1000), flux, err=0.001), n_sigma=7).sum() == 0


def test_large_errors_excuse() -> None:
    flux, error = np.ones(100), np.full(100, 0.001)
    flux[50], error[50] = 2.0, 0.5
    one = curve(np.arange(100), flux).with_flux(flux, error)
    assert not find_outliers(one).any()
    assert find_outliers(one, n_sigma=1.5)[50]


def test_a_step_between_nights_is_no_outlier() -> None:
    seconds = np.concatenate([np.arange(30), 1000 + np.arange(30.0), [5000, 5001.0]])
    flux = np.concatenate([np.ones(30), np.full(30, 5.0), [9, 1]])
    assert not find_outliers(curve(seconds, flux, err=0.01), window=25).any()


@pytest.mark.parametrize("options", [{"window": 4}, {"window": 1}, {"n_sigma": 0}])
def test_values_that_make_no_sense(options) -> None:
    with pytest.raises(InputError):
        find_outliers(curve([0, 1], np.ones(2)), **options)
