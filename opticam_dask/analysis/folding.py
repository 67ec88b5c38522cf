"""Fold light curves on a period, bin them by phase, and fit sines to them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from opticam_dask.analysis.light_curve import FloatArray, LightCurve
from opticam_dask.analysis.units import SECONDS_PER_DAY, to_hertz, to_seconds
from opticam_dask.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


def phases(curve: LightCurve, period: Any, t0: float | None = None) -> FloatArray:
    """Phase of each sample, from 0 up to but not 1.

    Parameters
    ----------
    curve : LightCurve
        What to fold.
    period : Quantity or float [s]
        Period.
    t0 : float [d], optional
        Time of phase zero, in the light curve's own system; by default the first sample. Give all cameras one
        `t0` to compare them.
    """
    seconds = _since(curve, t0)
    cycles = seconds / to_seconds(period, "period")
    phase = cycles - np.floor(cycles)
    return np.where(phase < 1.0, phase, 0.0)  # a tiny negative number of cycles rounds up to 1


def _since(curve: LightCurve, t0: float | None) -> FloatArray:
    start = curve.seconds[0] if t0 is None else (t0 - curve.epoch) * SECONDS_PER_DAY
    return curve.seconds - start


def phase_bin(
    curve: LightCurve,
    period: Any,
    *,
    n_bins: int = 10,
    t0: float | None = None,
    weighted: bool = False,
) -> pd.DataFrame:
    """Profile of a light curve over its phase.

    Parameters
    ----------
    curve : LightCurve
        What to fold.
    period : Quantity or float [s]
        Period.
    n_bins : int
        Bins of equal width, the first from phase 0 on.
    t0 : float [d], optional
        Time of phase zero; by default the first sample.
    weighted : bool
        Weight by inverse variance instead of equally.

    Returns
    -------
    DataFrame
        ``phase`` (middle of the bin), ``flux``, ``flux_err`` (propagated), ``n`` samples; NaN where ``n`` is
        0.

    Raises
    ------
    InputError
        If `n_bins` is below 1.
    """
    import pandas as pd

    if n_bins < 1:
        raise InputError(f"n_bins must be 1 or more, not {n_bins}")
    number = np.minimum((phases(curve, period, t0) * n_bins).astype(np.int64), n_bins - 1)
    weight = curve.flux_err**-2.0 if weighted else np.ones(len(curve))
    total = np.bincount(number, weight, n_bins)
    with np.errstate(invalid="ignore"):
        flux = np.bincount(number, weight * curve.flux, n_bins) / total
        error = np.sqrt(np.bincount(number, (weight * curve.flux_err) ** 2, n_bins)) / total
    middles = (np.arange(n_bins) + 0.5) / n_bins
    n = np.bincount(number, minlength=n_bins)
    return pd.DataFrame({"phase": middles, "flux": flux, "flux_err": error, "n": n})


@dataclass(frozen=True)
class SineFit:
    """``mean + amplitude * sin(2 pi frequency (t - t0) + phase)``, by weighted least squares.

    Parameters
    ----------
    mean, amplitude : float
        In the unit of the flux.
    phase : float [rad]
        From -pi to pi.
    mean_err, amplitude_err, phase_err : float
        1-sigma errors from those of the fluxes, times the square root of the reduced chi-square where that is
        above 1.
    reduced_chi2 : float
        Chi-square per degree of freedom.
    """

    mean: float
    amplitude: float
    phase: float
    mean_err: float
    amplitude_err: float
    phase_err: float
    reduced_chi2: float


def fit_sine(curve: LightCurve, frequency: Any, t0: float | None = None) -> SineFit:
    """Fit a sine of known frequency.

    Parameters
    ----------
    curve : LightCurve
        Four samples or more.
    frequency : Quantity or float [Hz]
        Frequency.
    t0 : float [d], optional
        Time the phase refers to; by default the first sample.

    Raises
    ------
    InputError
        If the samples do not tell mean, sine and cosine apart.
    """
    angle = 2 * math.pi * to_hertz(frequency, "frequency") * _since(curve, t0)
    design = np.column_stack([np.ones(len(curve)), np.sin(angle), np.cos(angle)]) / curve.flux_err[:, None]
    normal = design.T @ design
    if len(curve) < 4 or np.linalg.matrix_rank(design) < 3:
        raise InputError(f"{curve}: too few samples, or too few phases, to fit a sine")
    covariance = np.linalg.inv(normal)
    mean, a, b = (float(v) for v in covariance @ (design.T @ (curve.flux / curve.flux_err)))
    residual = curve.flux / curve.flux_err - design @ np.array([mean, a, b])
    chi2 = float(residual @ residual) / (len(curve) - 3)
    covariance = covariance * max(1.0, chi2)
    size = math.hypot(a, b)
    unit = max(size, np.finfo(float).tiny)
    along = np.array([0.0, a, b]) / unit
    across = np.array([0.0, -b, a]) / unit / unit
    mean_err, size_err, phase_err = (
        math.sqrt(float(v @ covariance @ v)) for v in (np.array([1.0, 0, 0]), along, across)
    )
    return SineFit(mean, size, math.atan2(b, a), mean_err, size_err, phase_err, chi2)


def phase_lag(first: LightCurve, second: LightCurve, frequency: Any) -> tuple[float, float]:
    """Phase by which the first light curve lags the second at a frequency, and its error [rad].

    From -pi to pi; positive where the first comes later, the sign of `cross_correlation`.
    """
    second = second.since(first.epoch)
    t0 = first.epoch + first.seconds[0] / SECONDS_PER_DAY
    a, b = fit_sine(first, frequency, t0), fit_sine(second, frequency, t0)
    lag = math.remainder(b.phase - a.phase, 2 * math.pi)
    return lag, math.hypot(a.phase_err, b.phase_err)
