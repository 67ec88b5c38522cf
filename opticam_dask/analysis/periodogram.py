"""Lomb-Scargle periodograms with false-alarm levels, by astropy, of one camera or of several together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from opticam_dask.analysis.folding import fit_sine
from opticam_dask.analysis.gti import cadence
from opticam_dask.analysis.light_curve import FloatArray, LightCurve
from opticam_dask.analysis.units import to_hertz
from opticam_dask.errors import InputError

Norm: TypeAlias = Literal["standard", "frac", "abs"]

FALSE_ALARMS = (0.1, 0.01, 0.001)
MAX_FREQUENCIES = 50_000_000


@dataclass(frozen=True, eq=False)
class Periodogram:
    """Lomb-Scargle periodogram.

    Parameters
    ----------
    freq : ndarray, shape (m,) [Hz]
        Frequencies, evenly spaced.
    power : ndarray, shape (m,)
        Power, see `norm`.
    norm : {'standard', 'frac', 'abs'}
        ``standard``: part of the variance that a sine explains, 0 to 1. ``frac``: (rms / mean)^2 per Hz.
        ``abs``: rms^2 per Hz.
    best_frequency, best_frequency_err : float [Hz]
        Highest peak, refined beyond the grid, and its 1-sigma error.
    false_alarm_probability : float
        Chance that noise alone makes a peak as high anywhere in the band; NaN if unknown.
    false_alarm_levels : dict of float to float
        Power that noise alone reaches with this chance.
    """

    freq: FloatArray
    power: FloatArray
    norm: str
    best_frequency: float
    best_frequency_err: float
    false_alarm_probability: float = math.nan
    false_alarm_levels: dict[float, float] = field(default_factory=dict)

    @property
    def best_period(self) -> float:
        """Period of the highest peak [s]."""
        return 1.0 / self.best_frequency

    @property
    def best_period_err(self) -> float:
        """1-sigma error of the period [s]."""
        return self.best_frequency_err / self.best_frequency**2

    @property
    def unit(self) -> str:
        """Unit of the power; empty for none."""
        return {"frac": "(rms/mean)$^2$ Hz$^{-1}$", "abs": "rms$^2$ Hz$^{-1}$"}.get(self.norm, "")


def frequency_grid(
    curves: Sequence[LightCurve],
    minimum_frequency: Any = None,
    maximum_frequency: Any = None,
    samples_per_peak: float = 5.0,
) -> FloatArray:
    """Frequencies [Hz] for a periodogram: one cycle in the span up to half the sampling rate.

    Parameters
    ----------
    curves : sequence of LightCurve
        All light curves that go in.
    minimum_frequency, maximum_frequency : Quantity or float [Hz], optional
        By default one cycle in the span, and one in two median steps of the densest light curve. Uneven
        samples have no Nyquist frequency of their own; give `maximum_frequency` to look higher.
    samples_per_peak : float
        Frequencies in the width of a peak, 1 / span.

    Raises
    ------
    InputError
        If there are fewer than four samples, or more than 50 million frequencies.
    """
    if not curves or min(len(curve) for curve in curves) < 4:
        raise InputError("a periodogram needs four samples or more in every light curve")
    ends = [(c.since(curves[0].epoch).seconds[0], c.since(curves[0].epoch).seconds[-1]) for c in curves]
    span = max(stop for _, stop in ends) - min(start for start, _ in ends)
    low = 1.0 / span if minimum_frequency is None else to_hertz(minimum_frequency, "minimum_frequency")
    high = 0.5 / min(cadence(curve) for curve in curves)
    if maximum_frequency is not None:
        high = to_hertz(maximum_frequency, "maximum_frequency")
    step = 1.0 / (span * samples_per_peak)
    n = math.floor((high - low) / step + 1e-6) + 1
    if n < 2:
        raise InputError(f"no frequencies between {low:g} and {high:g} Hz")
    if n > MAX_FREQUENCIES:
        raise InputError(
            f"{n:.2g} frequencies up to {high:g} Hz over {span:g} s; "
            "rebin, take one night, or give a lower maximum_frequency"
        )
    return np.asarray(low + step * np.arange(n), dtype=np.float64)


def lomb_scargle(
    curve: LightCurve,
    *,
    frequency: FloatArray | None = None,
    minimum_frequency: Any = None,
    maximum_frequency: Any = None,
    samples_per_peak: float = 5.0,
    n_terms: int = 1,
    norm: Norm = "standard",
    method: str = "auto",
) -> Periodogram:
    """Lomb-Scargle periodogram with floating mean, by `astropy.timeseries.LombScargle`.

    Parameters
    ----------
    curve : LightCurve
        Gaps and uneven steps do no harm.
    frequency : ndarray, optional [Hz]
        Frequencies, evenly spaced; by default those of `frequency_grid`.
    minimum_frequency, maximum_frequency, samples_per_peak
        See `frequency_grid`.
    n_terms : int
        Harmonics; false-alarm probabilities are known for one only.
    norm : {'standard', 'frac', 'abs'}
        See `Periodogram`. ``frac`` and ``abs`` weight all samples equally, as power spectra do, and agree
        with those at their frequencies.
    method : str
        Of astropy; ``auto`` takes a fast Fourier transform for more than 200 frequencies.

    Returns
    -------
    Periodogram
        False-alarm probabilities by the method of Baluev (2008, MNRAS 385, 1279): for white noise of the
        given errors. The error of the frequency is that of Montgomery & O'Donoghue (1999, DSSN 13, 28).

    Raises
    ------
    InputError
        If the light curve is too short, or the grid too long.
    """
    from astropy.timeseries import LombScargle

    if norm not in get_args(Norm):
        raise InputError(f"norm must be one of {', '.join(get_args(Norm))}, not {norm!r}")
    grid = (
        frequency_grid([curve], minimum_frequency, maximum_frequency, samples_per_peak)
        if frequency is None
        else np.asarray(frequency, dtype=np.float64)
    )
    since = curve.seconds - curve.seconds[0]
    errors = curve.flux_err if norm == "standard" else None
    model = LombScargle(since, curve.flux, errors, nterms=n_terms)
    power = model.power(grid, method=method, assume_regular_frequency=frequency is None)
    scale = _density(curve, norm)
    best = _refined(model, grid, power)
    chance, levels = _false_alarms(model, best, grid[-1]) if n_terms == 1 else (math.nan, {})
    return Periodogram(
        freq=grid,
        power=power * scale,
        norm=norm,
        best_frequency=best,
        best_frequency_err=_frequency_error(curve, best),
        false_alarm_probability=chance,
        false_alarm_levels={p: level * scale for p, level in levels.items()},
    )


def lomb_scargle_multiband(
    curves: Mapping[str, LightCurve],
    *,
    minimum_frequency: Any = None,
    maximum_frequency: Any = None,
    samples_per_peak: float = 5.0,
    method: Literal["flexible", "fast"] = "flexible",
) -> Periodogram:
    """One periodogram of several cameras: a period in common, a phase, amplitude and mean for each.

    Parameters
    ----------
    curves : mapping of str to LightCurve
        By camera.
    minimum_frequency, maximum_frequency, samples_per_peak
        See `frequency_grid`.
    method : {'flexible', 'fast'}
        Of `astropy.timeseries.LombScargleMultiband`: one model of all bands (slow, a matrix per frequency),
        or the periodograms of the bands weighted by what each has to explain.

    Returns
    -------
    Periodogram
        Without false-alarm probabilities: there is no theory of them for several bands.

    Raises
    ------
    InputError
        If a light curve is too short, or the grid too long.
    """
    from astropy.timeseries import LombScargleMultiband

    members = list(curves.values())
    grid = frequency_grid(members, minimum_frequency, maximum_frequency, samples_per_peak)
    start = members[0].epoch + members[0].seconds[0] / 86_400.0
    since = [curve.since(start).seconds for curve in members]
    model = LombScargleMultiband(
        np.concatenate(since),
        np.concatenate([curve.flux for curve in members]),
        np.repeat(list(curves), [len(curve) for curve in members]),
        np.concatenate([curve.flux_err for curve in members]),
    )
    power = np.asarray(model.power(grid, method=method, sb_method="fast"))
    best = float(grid[int(np.argmax(power))])
    weights = [_frequency_error(curve, best) ** -2.0 for curve in members]
    return Periodogram(grid, power, "standard", best, sum(weights) ** -0.5)


def _density(curve: LightCurve, norm: str) -> float:
    """Factor from explained variance to power density: that of an evenly sampled Fourier transform."""
    if norm == "standard":
        return 1.0
    mean = float(curve.flux.mean()) if norm == "frac" else 1.0
    return cadence(curve) * float(((curve.flux - curve.flux.mean()) ** 2).sum()) / mean**2


def _refined(model: Any, grid: FloatArray, power: FloatArray) -> float:
    """Highest peak on finer and finer grids; within the grid's ends."""
    best, step = float(grid[int(np.argmax(power))]), float(grid[1] - grid[0])
    for _ in range(4):
        near = np.clip(np.linspace(best - step, best + step, 21), grid[0], grid[-1])
        best = float(near[int(np.argmax(model.power(near, method="chi2" if model.nterms > 1 else "cython")))])
        step /= 10.0
    return best


def _false_alarms(model: Any, best: float, highest: float) -> tuple[float, dict[float, float]]:
    peak = float(model.power(np.array([best]), method="cython")[0])
    chance = float(model.false_alarm_probability(min(peak, 1.0 - 1e-15), maximum_frequency=highest))
    levels = model.false_alarm_level(list(FALSE_ALARMS), maximum_frequency=highest)
    return chance, dict(zip(FALSE_ALARMS, (float(level) for level in levels), strict=True))


def _frequency_error(curve: LightCurve, frequency: float) -> float:
    """Error of the frequency of a sine in white noise; noise is what is left, or the errors if larger."""
    fit = fit_sine(curve, frequency)
    noise = math.sqrt(max(1.0, fit.reduced_chi2) * float((curve.flux_err**2).mean()))
    span = float(curve.seconds[-1] - curve.seconds[0])
    amplitude = max(fit.amplitude, np.finfo(float).tiny)
    return math.sqrt(6.0 / len(curve)) * noise / (math.pi * span * amplitude)
