"""Cross-correlation of two cameras, and the lag between them with its error."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from opticam_dask.analysis.gti import cadence
from opticam_dask.analysis.iccf import interpolated_correlation, sample_bounds
from opticam_dask.analysis.light_curve import FloatArray, LightCurve
from opticam_dask.analysis.pairs import stingray_correlation
from opticam_dask.analysis.power import matched
from opticam_dask.analysis.zdcf import discrete_correlation
from opticam_dask.errors import InputError

Method: TypeAlias = Literal["iccf", "zdcf", "stingray"]

MAX_WORK = 5e9
CENTROID_ABOVE = 0.8
FINER = 20


@dataclass(frozen=True, eq=False, kw_only=True)
class CrossCorrelation:
    """Cross-correlation of two light curves.

    The lag is positive where the features of the first come later: ``first(t + lag)`` is like ``second(t)``.
    That is the sign of `stingray.CrossCorrelation`, and of `opticam`.

    Parameters
    ----------
    first, second : str
        Names of the light curves.
    time_lags : ndarray, shape (m,) [s]
        Lags.
    corr : ndarray, shape (m,)
        Correlation; NaN where too few samples meet.
    corr_err : ndarray, shape (2, m), optional
        1-sigma errors down and up, by method ``zdcf`` alone.
    n : ndarray of int64, shape (m,), optional
        Independent pairs at each lag, by method ``zdcf`` alone.
    method : {'iccf', 'zdcf', 'stingray'}
        How it was made.
    lag, lag_err : float [s]
        Centroid of the peak, and its 1-sigma error by the bootstrap; the error is NaN without one.
    trials : ndarray, shape (n_bootstrap,) [s]
        Lags of the trials of the bootstrap.
    """

    first: str
    second: str
    time_lags: FloatArray
    corr: FloatArray
    method: Method
    lag: float
    lag_err: float = math.nan
    corr_err: FloatArray | None = None
    n: NDArray[np.int64] | None = None
    trials: FloatArray | None = None

    def phase(self, frequency_hz: float) -> tuple[float, float]:
        """Lag and its error as a phase at a frequency [rad]."""
        turn = 2 * math.pi * frequency_hz
        return turn * self.lag, turn * self.lag_err


def cross_correlation(
    first: LightCurve,
    second: LightCurve,
    *,
    method: Method = "iccf",
    lag_range: tuple[float, float] | None = None,
    dlag: float | None = None,
    n_bootstrap: int = 0,
    seed: int = 0,
) -> CrossCorrelation:
    """Cross-correlate two light curves.

    Parameters
    ----------
    first, second : LightCurve
        Two cameras, in one time system. Take trends out first: a common trend correlates at all lags.
    method : {'iccf', 'zdcf', 'stingray'}
        ``iccf``: interpolates between samples, never across a gap; cadences may differ. ``zdcf``: uses pairs
        of samples only, and has errors. ``stingray``: by `stingray.CrossCorrelation`, normalised by the
        variance, for cameras that sample together, evenly, without a gap. Noise in the light curves lowers
        all three.
    lag_range : pair of float [s], optional
        Lags looked at; by default a quarter of the shorter light curve to either side. Of a periodic signal
        take less than a period: its lag is known but for whole periods.
    dlag : float [s], optional
        Step in lag; by default the longer cadence, and half of it for ``iccf``. ``stingray`` has the cadence.
    n_bootstrap : int
        Trials that tell the error of the lag: fluxes are varied within their errors and, but for
        ``stingray``, samples are drawn anew.
    seed : int
        Of the bootstrap; the same seed gives the same error.

    Raises
    ------
    InputError
        If time systems differ, the lags make no sense, too much is asked for, or no lag has enough samples.
    MissingPackageError
        If stingray is wanted and is not installed.

    References
    ----------
    Peterson et al. 1998, PASP 110, 660 (flux randomisation, random subset selection, centroid above 0.8).
    """
    if method not in get_args(Method):
        raise InputError(f"method must be one of {', '.join(get_args(Method))}, not {method!r}")
    first, second = _common(first, second, method)
    lags = _lags(first, second, method, lag_range, dlag)
    result = _correlate(first, second, lags, method)
    if n_bootstrap:
        trials = _trials(first, second, lags, method, n_bootstrap, seed)
        return replace(result, lag_err=float(np.nanstd(trials)), trials=trials)
    return result


def centroid(lags: FloatArray, corr: FloatArray) -> float:
    """Lag of the highest peak: its centroid where it is above 0.8 of its height.

    Between lags a cubic spline is drawn, so that the answer does not jump from one set of lags to the next.

    Parameters
    ----------
    lags, corr : ndarray, shape (m,)
        Cross-correlation; beside the peak, NaN ends it.

    Returns
    -------
    float [s]
        NaN if all correlations are; the lag of the highest itself if it is not above zero, or stands alone.
    """
    if not np.isfinite(corr).any():
        return math.nan
    top = int(np.nanargmax(corr))
    start, stop = _around(np.isfinite(corr), top)
    if corr[top] <= 0 or stop - start < 4:
        return float(lags[top])
    fine, values = _splined(lags[start:stop], corr[start:stop])
    top = int(np.argmax(values))
    start, stop = _around(values >= CENTROID_ABOVE * values[top], top)
    return float(np.average(fine[start:stop], weights=values[start:stop]))


def _around(good: NDArray[np.bool_], top: int) -> tuple[int, int]:
    """First of the run of good values around one of them, and first after the run."""
    bad = np.flatnonzero(~good)
    return int(bad[bad < top].max(initial=-1)) + 1, int(bad[bad > top].min(initial=len(good)))


def _splined(lags: FloatArray, corr: FloatArray) -> tuple[FloatArray, FloatArray]:
    from scipy.interpolate import CubicSpline

    fine = np.linspace(lags[0], lags[-1], FINER * (len(lags) - 1) + 1)
    return fine, np.asarray(CubicSpline(lags, corr)(fine))


def _common(first: LightCurve, second: LightCurve, method: Method) -> tuple[LightCurve, LightCurve]:
    if first.time_column != second.time_column:
        raise InputError(f"{first} is in {first.time_column}, {second} in {second.time_column}")
    second = second.since(first.epoch)
    if min(len(first), len(second)) < 4:
        raise InputError(f"{first} and {second}: a cross-correlation needs four samples or more of each")
    if method != "stingray":
        return first, second
    return matched(first, second)


def _lags(
    first: LightCurve,
    second: LightCurve,
    method: Method,
    lag_range: tuple[float, float] | None,
    dlag: float | None,
) -> FloatArray:
    quarter = 0.25 * min(float(c.seconds[-1] - c.seconds[0]) for c in (first, second))
    low, high = lag_range or (-quarter, quarter)
    step = max(cadence(first), cadence(second)) * (0.5 if method == "iccf" else 1.0)
    step = step if dlag is None else dlag
    if not (low < high and 0 < step <= (high - low) / 2):
        raise InputError(f"lags from {low:g} to {high:g} s in steps of {step:g} s make no sense")
    m = math.floor((high - low) / step + 1e-6) + 1
    longer = max(len(first), len(second))
    work = m * longer if method == "iccf" else (high - low) / min(cadence(first), cadence(second)) * longer
    if work > MAX_WORK and method != "stingray":
        raise InputError(f"{m} lags of {longer} samples are too many; give a narrower lag_range, or rebin")
    # zero is a lag where the range has it, as the middle of a bin
    start = math.ceil(low / step - 1e-6) * step if low <= 0 <= high else low
    m = math.floor((high - start) / step + 1e-6) + 1
    return np.asarray(start + step * np.arange(m), dtype=np.float64)


def _correlate(
    first: LightCurve,
    second: LightCurve,
    lags: FloatArray,
    method: Method,
    bounds: tuple[FloatArray, FloatArray] | None = None,
) -> CrossCorrelation:
    error = n = None
    if method == "zdcf":
        lags, corr, error, n = discrete_correlation(first, second, lags)
    elif method == "iccf":
        corr = interpolated_correlation(first, second, lags, bounds)
    else:
        lags, corr = _by_stingray(first, second, lags)
    if bounds is None and not np.isfinite(corr).any():
        raise InputError(f"{first} and {second}: too few samples meet at lags {lags[0]:g} to {lags[-1]:g} s")
    return CrossCorrelation(
        first=first.camera,
        second=second.camera,
        time_lags=lags,
        corr=corr,
        method=method,
        lag=centroid(lags, corr),
        corr_err=error,
        n=n,
    )


def _by_stingray(first: LightCurve, second: LightCurve, lags: FloatArray) -> tuple[FloatArray, FloatArray]:
    found = stingray_correlation(first, second, match=False)
    wanted = (found.time_lags >= lags[0] - 0.5 * found.dt) & (found.time_lags <= lags[-1] + 0.5 * found.dt)
    return np.asarray(found.time_lags[wanted]), np.asarray(found.corr[wanted])


def _trials(
    first: LightCurve, second: LightCurve, lags: FloatArray, method: Method, n_bootstrap: int, seed: int
) -> FloatArray:
    rng = np.random.default_rng(seed)
    draw = method != "stingray"
    bounds = (sample_bounds(first), sample_bounds(second))
    found = []
    for _ in range(n_bootstrap):
        a, b = _varied(first, rng, draw), _varied(second, rng, draw)
        found.append(_correlate(a, b, lags, method, bounds).lag)
    return np.array(found)


def _varied(curve: LightCurve, rng: np.random.Generator, draw: bool) -> LightCurve:
    """Vary fluxes within their errors; samples drawn k times get errors / sqrt(k), those not drawn go."""
    n = len(curve)
    times = np.bincount(rng.integers(0, n, n), minlength=n) if draw else np.ones(n, np.int64)
    shifts = rng.standard_normal(n) * curve.flux_err / np.sqrt(np.maximum(times, 1))
    return curve.with_flux(curve.flux + shifts, curve.flux_err).select(times > 0)
