"""Transits by box least squares, with astropy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from opticam_dask.analysis.gti import cadence
from opticam_dask.analysis.light_curve import FloatArray, LightCurve
from opticam_dask.analysis.units import SECONDS_PER_DAY, to_seconds
from opticam_dask.errors import InputError

MAX_WORK = 5e9
_DURATIONS = 6


@dataclass(frozen=True, eq=False, kw_only=True)
class Transit:
    """Best box in a light curve, and the periodogram it was found in.

    Parameters
    ----------
    period, duration : float [s]
        Period, and width of the box. The period of a single transit is a lower limit.
    transit_time : float [d]
        Middle of the first transit, in the system of the light curve's times.
    transit_time_err : float [d]
        Its 1-sigma error if ingress and egress are sharp; `fit_trapezoid` knows them.
    depth, depth_err : float
        Relative to the flux outside; the 1-sigma error is from those of the fluxes, times the square root of
        the reduced chi-square about the box where that is above 1. Noise that is correlated in time makes the
        true error larger.
    n_transits : int
        Transits that hold a sample.
    periods, power : ndarray, shape (m,) [s, dimensionless]
        Periodogram: log-likelihood of the best box at each period.
    """

    period: float
    duration: float
    transit_time: float
    transit_time_err: float
    depth: float
    depth_err: float
    n_transits: int
    periods: FloatArray
    power: FloatArray

    @property
    def snr(self) -> float:
        """Depth over its error."""
        return self.depth / self.depth_err


def box_least_squares(
    curve: LightCurve,
    *,
    durations: Sequence[Any] | None = None,
    minimum_period: Any = None,
    maximum_period: Any = None,
    minimum_n_transit: int = 1,
    frequency_factor: float = 1.0,
) -> Transit:
    """Find the box-shaped dip that repeats, by `astropy.timeseries.BoxLeastSquares`.

    Parameters
    ----------
    curve : LightCurve
        Without trends: a slope looks like a dip. Fluxes are divided by their median.
    durations : sequence of Quantity or float [s], optional
        Widths of the box; by default six from 5 steps of the light curve (a fiftieth of its span if that is
        more) to a quarter of the span, evenly spaced in the logarithm.
    minimum_period, maximum_period : Quantity or float [s], optional
        By default from twice the longest duration to the span over `minimum_n_transit`, and to twice the
        span where one transit will do.
    minimum_n_transit : int
        Transits asked for; 1 finds one alone, whose period then means nothing.
    frequency_factor : float
        Spacing of the periods; above 1 is coarser and faster.

    Raises
    ------
    InputError
        If there are too few samples, the durations do not fit the periods, no dip is found, or too much work
        is asked for.
    """
    from astropy.timeseries import BoxLeastSquares

    if len(curve) < 10:
        raise InputError(f"{curve}: box least squares needs 10 samples or more, not {len(curve)}")
    relative = _over_median(curve)
    since = relative.seconds - relative.seconds[0]
    widths = _durations(relative, durations)
    model = BoxLeastSquares(since, relative.flux, relative.flux_err)
    periods = _periods(
        model, relative, widths, minimum_period, maximum_period, minimum_n_transit, frequency_factor
    )
    result = model.power(periods, widths, objective="likelihood")
    best = int(np.argmax(result.power))
    if not (np.isfinite(result.depth[best]) and result.depth[best] > 0):
        raise InputError(f"{curve}: no dip found in boxes of {widths[0]:g} to {widths[-1]:g} s")
    return _transit(model, relative, result, _finer(model, result, best))


def _finer(model: Any, result: Any, best: int) -> Any:
    """Best box at the best period, of widths and at times between those looked at first."""
    period, width = float(result.period[best]), float(result.duration[best])
    widths = np.geomspace(0.5 * width, min(2.0 * width, 0.9 * period), 40)
    return model.power(np.array([period]), widths, objective="likelihood", oversample=40)


def _over_median(curve: LightCurve) -> LightCurve:
    median = float(np.median(curve.flux))
    if not median > 0:
        raise InputError(f"{curve}: the median flux is {median:g}; transits are dips of a positive flux")
    return curve.with_flux(curve.flux / median, curve.flux_err / median, unit="")


def _durations(curve: LightCurve, durations: Sequence[Any] | None) -> FloatArray:
    if durations is not None:
        return np.sort([to_seconds(value, "durations") for value in durations])
    span = float(curve.seconds[-1] - curve.seconds[0])
    shortest = max(5.0 * cadence(curve), span / 50.0)
    return np.geomspace(shortest, max(0.25 * span, shortest * 1.01), _DURATIONS)


def _periods(
    model: Any,
    curve: LightCurve,
    widths: FloatArray,
    minimum_period: Any,
    maximum_period: Any,
    minimum_n_transit: int,
    frequency_factor: float,
) -> FloatArray:
    span = float(curve.seconds[-1] - curve.seconds[0])
    low = 2.0 * widths[-1] if minimum_period is None else to_seconds(minimum_period, "minimum_period")
    high = 2.0 * span if minimum_n_transit == 1 else span / minimum_n_transit
    high = high if maximum_period is None else to_seconds(maximum_period, "maximum_period")
    if not widths[-1] < low < high:
        raise InputError(
            f"{curve}: no periods from {low:g} to {high:g} s for boxes up to {widths[-1]:g} s; "
            "give durations, minimum_period or maximum_period"
        )
    step = frequency_factor * widths[0] / span**2
    n = (1.0 / low - 1.0 / high) / step
    if n * len(widths) * len(curve) > MAX_WORK:
        raise InputError(f"{curve}: {n:.2g} periods of {len(curve)} samples are too many; rebin it first")
    periods = model.autoperiod(
        widths,
        minimum_period=low,
        maximum_period=high,
        minimum_n_transit=minimum_n_transit,
        frequency_factor=frequency_factor,
    )
    return np.asarray(periods, dtype=np.float64)


def _transit(model: Any, curve: LightCurve, result: Any, box_of: Any) -> Transit:
    period, duration, since = (float(box_of[k][0]) for k in ("period", "duration", "transit_time"))
    seconds = curve.seconds - curve.seconds[0]
    box = model.model(seconds, period, duration, since)
    chi2 = float((((curve.flux - box) / curve.flux_err) ** 2).sum()) / (len(curve) - 5)
    stretch = math.sqrt(max(1.0, chi2))
    off = (seconds - since + 0.5 * period) % period - 0.5 * period
    within = np.abs(off) < 0.5 * duration
    number = np.round((seconds[within] - since) / period)
    outside = float(box.max())
    depth, error = float(box_of.depth[0]), stretch * float(box_of.depth_err[0])
    first = since + period * float(number.min())
    return Transit(
        period=period,
        duration=duration,
        transit_time=curve.epoch + (curve.seconds[0] + first) / SECONDS_PER_DAY,
        transit_time_err=_time_error(within, duration, depth / error) / SECONDS_PER_DAY,
        depth=depth / outside,
        depth_err=error / outside,
        n_transits=len(np.unique(number)),
        periods=np.asarray(result.period),
        power=np.asarray(result.power),
    )


def _time_error(within: Any, duration: float, snr: float) -> float:
    """Error of the middle of a box [s]: its edges are known to a step, or more where samples are noisy."""
    n = int(within.sum())
    step = duration / max(n, 1)
    return step * max(1.0, n / snr**2) / math.sqrt(2.0)
