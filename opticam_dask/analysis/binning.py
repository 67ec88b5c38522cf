"""Rebin light curves in time; a bin never reaches across a gap unless told to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from opticam_dask.analysis.gti import MAX_GAP, cadence, stretches
from opticam_dask.analysis.light_curve import FloatArray, LightCurve
from opticam_dask.analysis.units import to_seconds
from opticam_dask.errors import InputError

BinMethod: TypeAlias = Literal["mean", "weighted", "sum"]


def rebin(
    curve: LightCurve,
    dt: Any,
    method: BinMethod = "mean",
    *,
    across_gaps: bool = False,
    min_points: int = 1,
    max_gap: float = MAX_GAP,
) -> LightCurve:
    """Rebin a light curve to a coarser step.

    Parameters
    ----------
    curve : LightCurve
        What to rebin.
    dt : Quantity or float [s]
        Width of a bin, not below the cadence.
    method : {'mean', 'weighted', 'sum'}
        Mean flux, mean weighted by inverse variance, or sum. Errors are propagated as independent.
    across_gaps : bool
        By default each stretch without a gap is binned by itself, from its first sample on. With this, one
        grid serves the whole light curve.
    min_points : int
        Bins with fewer samples are left out.
    max_gap : float
        What a gap is, see `opticam_dask.analysis.gti.stretches`.

    Returns
    -------
    LightCurve
        A row per bin that holds a sample: its time, and its other columns, are the means of those of its
        samples (a NaN stays a NaN). There is a column ``n_samples`` more. Bins without a sample are gaps, not
        rows.

    Raises
    ------
    InputError
        If `dt` is below the cadence, or a value makes no sense.
    """
    width = _check(curve, dt, method, min_points)
    groups = _starts(curve, width, across_gaps, max_gap)
    n = np.diff(np.append(groups, len(curve)))
    flux, error = bin_fluxes(curve.flux, curve.flux_err, groups, method)
    binned = replace(
        curve,
        seconds=_means(curve.seconds - curve.seconds[0], groups, n) + curve.seconds[0],
        flux=flux,
        flux_err=error,
        columns={name: _means(values, groups, n) for name, values in curve.columns.items()}
        | {"n_samples": n.astype(np.float64)},
    )
    return binned.select(n >= min_points) if min_points > 1 else binned


def bin_fluxes(
    flux: FloatArray, flux_err: FloatArray, starts: NDArray[np.int64], method: BinMethod
) -> tuple[FloatArray, FloatArray]:
    """Fluxes and errors of runs of samples that begin at `starts`, none of them empty."""
    n = np.diff(np.append(starts, len(flux)))
    if method == "weighted":
        weight = flux_err**-2.0
        total = np.add.reduceat(weight, starts)
        return np.add.reduceat(weight * flux, starts) / total, total**-0.5
    over = np.ones(len(n)) if method == "sum" else n.astype(np.float64)
    return np.add.reduceat(flux, starts) / over, np.sqrt(np.add.reduceat(flux_err**2, starts)) / over


def _check(curve: LightCurve, dt: Any, method: str, min_points: int) -> float:
    width = to_seconds(dt, "dt")
    if method not in get_args(BinMethod):
        raise InputError(f"method must be one of {', '.join(get_args(BinMethod))}, not {method!r}")
    if min_points < 1:
        raise InputError(f"min_points must be 1 or more, not {min_points}")
    step = cadence(curve)
    if width < step * (1 - 1e-6):
        raise InputError(f"{curve}: cannot rebin to {width:g} s, below the cadence of {step:g} s")
    return width


def _starts(curve: LightCurve, width: float, across_gaps: bool, max_gap: float) -> NDArray[np.int64]:
    """First row of each bin."""
    rows = [slice(0, len(curve))] if across_gaps else stretches(curve, max_gap)
    first = np.zeros(len(curve), dtype=bool)
    for stretch in rows:
        since = curve.seconds[stretch] - curve.seconds[stretch.start]
        # times carry rounding errors: a sample on an edge must not fall to either side of it at random
        number = np.floor(since / width + 1e-4).astype(np.int64)
        first[stretch] = np.diff(number, prepend=-1) > 0
    return np.flatnonzero(first).astype(np.int64)


def _means(values: FloatArray, starts: NDArray[np.int64], n: NDArray[np.int64]) -> FloatArray:
    return np.asarray(np.add.reduceat(values, starts) / n)
