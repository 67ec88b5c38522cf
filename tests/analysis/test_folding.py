"""Phases, profiles, and sines."""

from __future__ import annotations

import astropy.units as u
import numpy as np
import pytest
from analysis_curves import EPOCH, FREQUENCY, PERIOD, curve, sine, uneven
from astropy.timeseries import TimeSeries
from hypothesis import given
from hypothesis import strategies as st

from opticam_dask.analysis import fit_sine, phase_bin, phase_lag, phases, to_timeseries
from opticam_dask.errors import InputError


def test_phases_are_those_of_astropy() -> None:
    one = sine(uneven())
    t0 = one.astropy_time[7]
    series = TimeSeries(to_timeseries(one)).fold(
        period=PERIOD * u.s, epoch_time=t0, wrap_phase=1, normalize_phase=True
    )
    mine = phases(one, PERIOD * u.s, float(one.time[7]))
    apart = np.abs(mine - series["time"].value)
    assert np.minimum(apart, 1 - apart).max() < 1e-5


@given(st.floats(1e-3, 1e5), st.floats(-10, 10))
def test_phases_are_from_0_up_to_but_not_1(period: float, off: float) -> None:
    found = phases(curve(np.arange(50) * 0.37, np.ones(50)), period, EPOCH + off)
    assert (found >= 0).all()
    assert (found < 1).all()


def test_a_profile_has_the_injected_shape_and_errors() -> None:
    one = sine(uneven(5000, gap=None), amplitude=0.03, err=0.01)
    profile = phase_bin(one, PERIOD, n_bins=20, t0=EPOCH)
    width = np.sinc(1 / 20)
    truth = 1 + 0.03 * width * np.sin(2 * np.pi * profile["phase"])
    pull = (profile["flux"] - truth) / profile["flux_err"]
    assert np.abs(pull).max() < 4
    assert 0.5 < pull.std() < 1.5
    assert profile["n"].sum() == 5000
    assert phase_bin(one, PERIOD, n_bins=20, t0=EPOCH, weighted=True)["flux"].to_numpy() == pytest.approx(
        profile["flux"].to_numpy()
    )


def test_empty_bins_are_nan() -> None:
    profile = phase_bin(curve([0, 1, 10, 11], np.ones(4)), 10, n_bins=5)
    assert profile["n"].tolist() == [4, 0, 0, 0, 0]
    assert np.isnan(profile["flux"].to_numpy()[1:]).all()
    assert np.isnan(profile["flux_err"].to_numpy()[1:]).all()
    with pytest.raises(InputError, match="n_bins"):
        phase_bin(curve([0, 1], np.ones(2)), 10, n_bins=0)


def test_sines_come_back_within_their_errors() -> None:
    off = []
    for seed in range(40):
        fit = fit_sine(sine(uneven(300, seed), 0.7, seed=seed), FREQUENCY, EPOCH)
        off.append(
            [
                (fit.amplitude - 0.03) / fit.amplitude_err,
                (fit.phase - 0.7) / fit.phase_err,
                (fit.mean - 1) / fit.mean_err,
            ]
        )
    assert np.std(off, axis=0) == pytest.approx(1, abs=0.35)
    assert np.abs(np.mean(off, axis=0)).max() < 0.6


def test_a_lag_in_phase_is_positive_where_the_first_comes_later() -> None:
    a, b = sine(uneven(seed=1), lag=1.0, seed=1), sine(uneven(seed=2), seed=2)
    lag, error = phase_lag(a, b, FREQUENCY * u.Hz)
    assert lag == pytest.approx(2 * np.pi * FREQUENCY, abs=4 * error)
    assert error < 0.05
    with pytest.raises(InputError, match="too few"):
        fit_sine(curve([0, 1, 2], np.ones(3)), FREQUENCY)
