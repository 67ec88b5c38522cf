"""Lomb-Scargle periodograms: those of astropy, with the truth in their peak."""

from __future__ import annotations

import astropy.units as u
import numpy as np
import pytest
from analysis_curves import FREQUENCY, curve, sine, uneven
from astropy.timeseries import LombScargle, LombScargleMultiband

from opticam_dask.analysis import lomb_scargle, lomb_scargle_multiband
from opticam_dask.errors import InputError


def test_it_is_the_one_of_astropy() -> None:
    one = sine(uneven(300))
    found = lomb_scargle(one)
    model = LombScargle(one.seconds, one.flux, one.flux_err)
    assert found.power == pytest.approx(model.power(found.freq, method="slow"), abs=2e-3)
    assert lomb_scargle(one, method="slow").power == pytest.approx(
        model.power(found.freq, method="slow"), abs=1e-12
    )
    for chance, level in found.false_alarm_levels.items():
        wanted = model.false_alarm_level(chance, maximum_frequency=found.freq[-1])
        assert level == pytest.approx(float(wanted), rel=1e-9)
    weak = lomb_scargle(sine(uneven(300), amplitude=0.003))
    assert 1e-12 < weak.false_alarm_probability < 1
    peak = LombScargle(one.seconds, sine(uneven(300), amplitude=0.003).flux, one.flux_err)
    chance = peak.false_alarm_probability(peak.power(weak.best_frequency), maximum_frequency=weak.freq[-1])
    assert weak.false_alarm_probability == pytest.approx(float(chance), rel=1e-6)


def test_the_grid_runs_from_one_cycle_to_half_the_sampling_rate() -> None:
    one = curve(np.arange(1001) * 0.5, np.sin(np.arange(1001)))
    freq = lomb_scargle(one, samples_per_peak=4).freq
    assert freq[0] == pytest.approx(1 / 500)
    assert freq[-1] == pytest.approx(1.0, abs=1 / 2000)
    assert np.diff(freq) == pytest.approx(1 / 2000)
    narrow = lomb_scargle(one, minimum_frequency=0.1 * u.Hz, maximum_frequency=12 * u.min**-1).freq
    assert (narrow[0], narrow[-1]) == pytest.approx((0.1, 0.2), abs=5e-4)


def test_frequencies_come_back_within_their_errors() -> None:
    off = []
    for seed in range(25):
        found = lomb_scargle(
            sine(uneven(300, seed), seed=seed), minimum_frequency=0.1, maximum_frequency=0.17
        )
        off.append((found.best_frequency - FREQUENCY) / found.best_frequency_err)
        assert found.false_alarm_probability < 1e-10
        assert found.best_period_err == pytest.approx(found.best_frequency_err * found.best_period**2)
    assert np.std(off) == pytest.approx(1, abs=0.4)
    assert abs(np.mean(off)) < 0.7


def test_false_alarms_are_as_frequent_as_said() -> None:
    times = uneven(120)
    chances = [
        lomb_scargle(sine(times, amplitude=0, seed=s), minimum_frequency=0.05).false_alarm_probability
        for s in range(60)
    ]
    assert 0.5 < np.mean(np.array(chances) < 0.5) / 0.5 < 1.4


@pytest.mark.parametrize("norm", ["frac", "abs"])
def test_densities_are_those_of_a_power_spectrum(norm: str) -> None:
    n, step = 256, 0.5
    one = sine(np.arange(n) * step, amplitude=0.1).with_flux(
        50 * sine(np.arange(n) * step, amplitude=0.1).flux, np.full(n, 0.5)
    )
    freq = np.fft.rfftfreq(n, step)[1:-1]
    found = lomb_scargle(one, frequency=freq, norm=norm, method="slow")
    transform = np.abs(np.fft.rfft(one.flux)[1:-1]) ** 2 * 2 * step / n
    mean = one.flux.mean() if norm == "frac" else 1.0
    assert found.power == pytest.approx(transform / mean**2, rel=1e-6)
    assert "Hz" in found.unit


def test_cameras_together_find_what_none_is_sure_of() -> None:
    curves = {
        str(k): sine(uneven(150, k), 1.57 * k, amplitude=0.005, seed=k + 10).since(60309.0) for k in range(3)
    }
    band = {"minimum_frequency": 0.05, "maximum_frequency": 0.25}
    both = lomb_scargle_multiband(curves, **band)
    assert both.best_frequency == pytest.approx(FREQUENCY, abs=4 * both.best_frequency_err)
    start = min(c.seconds[0] for c in curves.values())
    model = LombScargleMultiband(
        np.concatenate([c.seconds - start for c in curves.values()]),
        np.concatenate([c.flux for c in curves.values()]),
        np.repeat(list(curves), [len(c) for c in curves.values()]),
        np.concatenate([c.flux_err for c in curves.values()]),
    )
    assert both.power == pytest.approx(model.power(both.freq), abs=1e-8)
    fast = lomb_scargle_multiband(curves, method="fast", **band)
    assert fast.best_frequency == pytest.approx(FREQUENCY, abs=4 * fast.best_frequency_err)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"norm": "leahy"}, "norm must be"),
        ({"maximum_frequency": 1e-9}, "no frequencies"),
        ({"maximum_frequency": 1e9}, "rebin, take one night"),
        ({"maximum_frequency": 3 * u.s}, "maximum_frequency"),
    ],
)
def test_what_makes_no_sense_is_said(options, said: str) -> None:
    with pytest.raises(InputError, match=said):
        lomb_scargle(sine(uneven()), **options)
    with pytest.raises(InputError, match="four samples"):
        lomb_scargle(sine([0, 1, 2]))
