"""The tutorial's variable star in three cameras: frequency, amplitude and lags, and their errors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from astropy.timeseries import LombScargle
from scipy.optimize import curve_fit
from scipy.stats import chi2

from opticam_dask.photometers import DefaultLocalBackground, OptimalPhotometer
from opticam_dask.reducer import Reducer
from opticam_dask.simulate import simulate_night, tutorial_scene
from opticam_dask.tables.store import light_curve
from opticam_dask.validation.theory import sinusoid_errors

VARIABLE = 2
LAGS = (0.0, np.pi / 2, np.pi)


def wave(t, level, amplitude, frequency, phase):
    return level * (1.0 + amplitude * np.sin(2.0 * np.pi * frequency * t + phase))


def fit(curve, middle):
    """Least-squares sinusoid: amplitude, frequency [Hz] and phase at ``middle``, and their errors."""
    t = (curve["MJD"].to_numpy() - middle) * 86400.0
    flux, error = curve["flux"].to_numpy(), curve["flux_err"].to_numpy()
    grid = np.linspace(0.02, 0.45, 4000)
    frequency = grid[np.argmax(LombScargle(t, flux, error).power(grid))]
    best, at = -np.inf, 0.0
    for phase in np.arange(0.0, 2.0 * np.pi, np.pi / 8):
        match = np.corrcoef(flux, np.sin(2.0 * np.pi * frequency * t + phase))[0, 1]
        best, at = max((best, at), (match, phase))
    start = (np.median(flux), 0.03, frequency, at)
    found, covariance = curve_fit(wave, t, flux, start, error, absolute_sigma=True)
    return found[1:], np.sqrt(np.diag(covariance))[1:], np.mean(error) / found[0], np.ptp(t) + 1.0


def reduce_night(folder, scene):
    simulate_night(scene, folder / "data")
    photometer = OptimalPhotometer(forced=True, local_background_estimator=DefaultLocalBackground())
    with Reducer(
        folder / "out",
        folder / "data",
        cluster="threads",
        number_of_processors=2,
        show_plots=False,
        verbose=False,
    ) as reducer:
        reducer.create_catalogs()
        reducer.photometry(photometer, export_csv=False)
        cameras = list(reducer.catalogs)
    curves = {
        c: light_curve(folder / "out", camera=c, source=VARIABLE, label=photometer.label) for c in cameras
    }
    return curves


def check_variable(folder, scene):
    curves = reduce_night(folder, scene)
    assert list(curves) == ["1:g", "2:r", "3:i"]
    middle = float(np.mean([curve["MJD"].mean() for curve in curves.values()]))
    (variable,) = scene.variables
    seconds = (middle * 86400.0 * 1000.0 - scene.start_ms) / 1000.0
    misses, phases = [], []
    for curve, true_phase in zip(curves.values(), variable.phase_rad, strict=True):
        assert len(curve) == scene.n_frames
        found, errors, sigma, span = fit(curve, middle)
        theory = sinusoid_errors(scene.n_frames, sigma, found[0], span)
        assert errors == pytest.approx([theory.amplitude, theory.frequency, theory.phase_rad], rel=0.05)
        expected = 2.0 * np.pi * variable.frequency_hz * seconds + true_phase
        misses.append((found[0] - variable.amplitude) / errors[0])
        misses.append((found[1] - variable.frequency_hz) / errors[1])
        misses.append(angle(found[2] - expected) / errors[2])
        phases.append((found[2], errors[2]))
    assert np.sum(np.square(misses)) < chi2.ppf(0.999, len(misses)), misses
    for (phase, error), lag in zip(phases[1:], LAGS[1:], strict=True):
        assert abs(angle(phase - phases[0][0] - lag)) < 3.0 * np.hypot(error, phases[0][1])


def angle(radians):
    """Angle within (-pi, pi]."""
    return np.angle(np.exp(1j * radians))


def test_a_short_night_of_small_frames(tmp_path):
    places = ((40, 31), (120, 45), (75, 81), (139, 118), (31, 105), (95, 20))
    tutorial = tutorial_scene(60, circular_aperture=False)
    stars = tuple((*place, star[2]) for place, star in zip(places, tutorial.stars, strict=True))
    check_variable(tmp_path, replace(tutorial, shape=(149, 171), stars=stars))


@pytest.mark.slow
def test_the_tutorials_night_of_300_frames(tmp_path):
    check_variable(tmp_path, tutorial_scene(300, circular_aperture=False))


def test_the_fit_is_as_good_as_theory_says():
    rng = np.random.default_rng(8)
    t = np.arange(300.0)
    found = []
    for _ in range(40):
        flux = wave(t - 150.0, 1000.0, 0.03, 0.135, 1.0) + rng.normal(0, 10.0, t.size)
        curve = pd.DataFrame({"MJD": 60310.0 + t / 86400.0, "flux": flux, "flux_err": 10.0})
        found.append(fit(curve, 60310.0 + 150.0 / 86400.0)[0])
    amplitude, frequency, phase = np.std(found, axis=0)
    theory = sinusoid_errors(300, 0.01, 0.03, 300.0)
    assert amplitude == pytest.approx(theory.amplitude, rel=0.4)
    assert frequency == pytest.approx(theory.frequency, rel=0.4)
    assert phase == pytest.approx(theory.phase_rad, rel=0.4)
