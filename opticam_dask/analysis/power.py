"""Power spectra and cross spectra of evenly sampled light curves, by stingray."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from opticam_dask.analysis.gti import (
    EVEN_TOLERANCE,
    MAX_GAP,
    cadence,
    good_time_intervals,
    stretches,
    unevenness,
)
from opticam_dask.analysis.light_curve import LightCurve
from opticam_dask.analysis.units import optional_package, to_seconds
from opticam_dask.errors import InputError

_PURPOSE = "a power spectrum, cross spectrum or stingray light curve"


def stingray() -> Any:
    """Package stingray.

    Raises
    ------
    MissingPackageError
        If it is not installed.
    """
    return optional_package("stingray", _PURPOSE)


@contextmanager
def poisson_only_notice_unsaid() -> Iterator[None]:
    """Hide the notice that stingray is made for Poisson errors; the normalisations here do not use them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="SIMON says: Stingray only uses poisson")
        yield


def even_stretches(
    curve: LightCurve, *, min_points: int = 2, max_gap: float = MAX_GAP, tolerance: float = EVEN_TOLERANCE
) -> list[LightCurve]:
    """Stretches without a gap, which are evenly sampled.

    Parameters
    ----------
    curve : LightCurve
        What to cut.
    min_points : int
        Shorter stretches are left out.
    max_gap : float
        What a gap is, see `opticam_dask.analysis.gti.stretches`.
    tolerance : float
        How far from an even grid samples may lie, in steps.

    Raises
    ------
    InputError
        If no stretch is long enough, or one is uneven. Nothing is resampled here.
    """
    pieces = [
        curve.select(rows) for rows in stretches(curve, max_gap) if rows.stop - rows.start >= min_points
    ]
    if not pieces:
        raise InputError(f"{curve}: no stretch of {min_points} samples without a gap; use lomb_scargle")
    worst = max(unevenness(piece.seconds) for piece in pieces)
    if worst > tolerance:
        raise InputError(
            f"{curve}: sampled unevenly, up to {worst:.2g} of a step off; rebin it, or use lomb_scargle"
        )
    return pieces


def to_stingray(curve: LightCurve, max_gap: float = MAX_GAP) -> Any:
    """Light curve as `stingray.Lightcurve`: seconds since its epoch, good-time intervals from gaps.

    Its ``dt`` is the median step.
    """
    light_curve = stingray().Lightcurve
    with poisson_only_notice_unsaid():
        made = light_curve(
            curve.seconds,
            curve.flux,
            err=curve.flux_err,
            err_dist="gauss",
            dt=cadence(curve),
            gti=good_time_intervals(curve, max_gap),
            mjdref=curve.epoch,
            skip_checks=True,
        )
    made.timesys = curve.scale
    made.unit, made.camera, made.source = curve.unit, curve.camera, curve.source
    return made


def power_spectra(curve: LightCurve, norm: str = "frac", *, min_points: int = 16) -> list[Any]:
    """Power spectrum of each stretch without a gap.

    Parameters
    ----------
    curve : LightCurve
        Evenly sampled but for gaps.
    norm : {'frac', 'abs', 'leahy', 'none'}
        Of stingray: ``frac`` is (rms / mean)^2 per Hz, ``abs`` rms^2 per Hz.
    min_points : int
        Shorter stretches are left out.

    Returns
    -------
    list of stingray.Powerspectrum
        In order of time; frequencies in Hz.

    Raises
    ------
    InputError
        If there is no such stretch, or one is uneven.
    MissingPackageError
        If stingray is not installed.
    """
    spectrum = stingray().Powerspectrum
    pieces = even_stretches(curve, min_points=min_points)
    with poisson_only_notice_unsaid():
        return [spectrum.from_lightcurve(_on_grid(piece), norm=norm, silent=True) for piece in pieces]


def averaged_power_spectrum(curve: LightCurve, segment_size: Any, norm: str = "frac") -> Any:
    """Average of the power spectra of segments, none of which reaches across a gap.

    Parameters
    ----------
    curve : LightCurve
        Evenly sampled but for gaps.
    segment_size : Quantity or float [s]
        Length of a segment.
    norm : str
        Of stingray, see `power_spectra`.

    Returns
    -------
    stingray.AveragedPowerspectrum
        ``m`` segments averaged.

    Raises
    ------
    InputError
        If no stretch is as long as a segment, or one is uneven.
    MissingPackageError
        If stingray is not installed.
    """
    size = to_seconds(segment_size, "segment_size")
    _long_enough(curve, size)
    averaged = stingray().AveragedPowerspectrum
    with poisson_only_notice_unsaid():
        return averaged.from_lightcurve(to_stingray(curve), size, norm=norm, silent=True)


def averaged_cross_spectrum(
    first: LightCurve, second: LightCurve, segment_size: Any, norm: str = "frac"
) -> Any:
    """Average cross spectrum of two cameras that sample at the same times.

    Parameters
    ----------
    first, second : LightCurve
        Evenly sampled but for gaps; only samples at times that both have are used.
    segment_size : Quantity or float [s]
        Length of a segment.
    norm : str
        Of stingray, see `power_spectra`.

    Returns
    -------
    stingray.AveragedCrossspectrum
        ``phase_lag()`` and ``time_lag()`` of it are positive where the first comes later. Its error bars are
        for counted photons: for errors of lags use `phase_lag` or `cross_correlation`.

    Raises
    ------
    InputError
        If the cameras have too few times in common, or sample unevenly.
    MissingPackageError
        If stingray is not installed.
    """
    size = to_seconds(segment_size, "segment_size")
    first, second = matched(first, second)
    _long_enough(first, size)
    averaged = stingray().AveragedCrossspectrum
    # its error bars are square roots of what is below zero where noise is not that of photons
    with poisson_only_notice_unsaid(), np.errstate(invalid="ignore"):
        return averaged.from_lightcurve(to_stingray(first), to_stingray(second), size, norm=norm, silent=True)


def matched(
    first: LightCurve, second: LightCurve, tolerance: float = EVEN_TOLERANCE
) -> tuple[LightCurve, LightCurve]:
    """Keep samples of two cameras at the same times; the second gets the times of the first.

    Parameters
    ----------
    first, second : LightCurve
        Cameras.
    tolerance : float
        How far apart times may lie to be the same, in steps.

    Raises
    ------
    InputError
        If fewer than two times are common.
    """
    second = second.since(first.epoch)
    nearest = np.searchsorted(second.seconds, first.seconds)
    before, after = np.maximum(nearest - 1, 0), np.minimum(nearest, len(second) - 1)
    off = np.abs(second.seconds[np.stack([before, after])] - first.seconds)
    partner = np.where(off[0] < off[1], before, after)
    close = off.min(axis=0) <= tolerance * cadence(first)
    if close.sum() < 2 or (np.diff(partner[close]) == 0).any():
        raise InputError(
            f"{first} and {second}: samples are not at the same times; use method='zdcf' or 'iccf'"
        )
    a, b = first.select(close), second.select(partner[close])
    return a, replace(b, seconds=a.seconds)


def _long_enough(curve: LightCurve, size: float) -> None:
    needed = max(2, round(size / cadence(curve)))
    even_stretches(curve, min_points=needed)


def _on_grid(piece: LightCurve) -> Any:
    """One stretch whose step is that of its own grid."""
    light_curve = to_stingray(piece)
    light_curve.dt = float(piece.seconds[-1] - piece.seconds[0]) / (len(piece) - 1)
    return light_curve
