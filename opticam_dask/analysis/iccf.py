"""Interpolated cross-correlation function of light curves with uneven steps."""

from __future__ import annotations

import numpy as np

from opticam_dask.analysis.gti import MAX_GAP, stretches
from opticam_dask.analysis.light_curve import FloatArray, LightCurve

MIN_POINTS = 4


def interpolated_correlation(
    first: LightCurve,
    second: LightCurve,
    lags: FloatArray,
    bounds: tuple[FloatArray, FloatArray] | None = None,
) -> FloatArray:
    """Correlate one light curve with the other, interpolated at shifted times, both ways, and average.

    Parameters
    ----------
    first, second : LightCurve
        With the same epoch.
    lags : ndarray, shape (m,), float64 [s]
        Lags: time of the first less time of the second.
    bounds : pair of ndarray, shape (k, 2) [s], optional
        Stretches of the first and of the second within which to interpolate; by default those without a gap.

    Returns
    -------
    ndarray, shape (m,)
        Pearson's correlation coefficient; NaN where fewer than 4 samples overlap.

    References
    ----------
    Gaskell & Peterson 1987, ApJS 65, 1; White & Peterson 1994, PASP 106, 879.
    """
    own, other = bounds or (sample_bounds(first), sample_bounds(second))
    corr = [
        0.5 * (_one_way(first, second, -lag, other) + _one_way(second, first, lag, own))
        for lag in lags.tolist()
    ]
    return np.array(corr, dtype=np.float64)


def sample_bounds(curve: LightCurve, max_gap: float = MAX_GAP) -> FloatArray:
    """First and last time of each stretch without a gap, shape (k, 2) [s]."""
    rows = stretches(curve, max_gap)
    bounds = [(curve.seconds[s.start], curve.seconds[s.stop - 1]) for s in rows]
    return np.array(bounds, dtype=np.float64).reshape(-1, 2)


def _one_way(sampled: LightCurve, between: LightCurve, shift: float, bounds: FloatArray) -> float:
    """Correlate samples with the other light curve, interpolated at their times plus `shift`."""
    at = sampled.seconds + shift
    number = np.searchsorted(bounds[:, 0], at, side="right") - 1
    within = (number >= 0) & (at <= bounds[np.maximum(number, 0), 1])
    if within.sum() < MIN_POINTS:
        return float("nan")
    a, b = sampled.flux[within], np.interp(at[within], between.seconds, between.flux)
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 0 else float("nan")
