"""Good-time intervals: stretches of a light curve without a gap."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from opticam_dask.errors import InputError

if TYPE_CHECKING:
    from opticam_dask.analysis.light_curve import FloatArray, LightCurve

MAX_GAP = 1.5
"""Steps longer than this many times those around them are gaps; one missing frame is one."""

EVEN_TOLERANCE = 0.05
"""Samples this fraction of a step or less off a grid count as even: jitter that costs sinc^2 below 1 %."""

_WINDOW = 21


def local_cadence(seconds: FloatArray) -> FloatArray:
    """Typical step around each step [s], shape (n - 1,): the running median, so that nights may differ."""
    from scipy.ndimage import median_filter

    steps = np.diff(seconds)
    if len(steps) <= _WINDOW:
        return np.full(len(steps), np.median(steps) if len(steps) else 0.0)
    typical: FloatArray = median_filter(steps, _WINDOW, mode="nearest")
    return typical


def cadence(curve: LightCurve) -> float:
    """Median time between samples [s]; NaN for fewer than two."""
    return float(np.median(np.diff(curve.seconds))) if len(curve) > 1 else float("nan")


def stretches(curve: LightCurve, max_gap: float = MAX_GAP) -> list[slice]:
    """Rows of each stretch without a gap.

    Parameters
    ----------
    curve : LightCurve
        Rows that flags left out are gaps too.
    max_gap : float
        Steps longer than `max_gap` times the typical step around them are gaps.

    Raises
    ------
    InputError
        If `max_gap` is not above 1.
    """
    if not max_gap > 1:
        raise InputError(f"max_gap must be above 1, not {max_gap}")
    steps = np.diff(curve.seconds)
    after = np.flatnonzero(steps > max_gap * local_cadence(curve.seconds)) + 1
    edges = [0, *after.tolist(), len(curve)] if len(curve) else []
    return [slice(a, b) for a, b in pairwise(edges)]


def good_time_intervals(curve: LightCurve, max_gap: float = MAX_GAP) -> FloatArray:
    """Good-time intervals, shape (k, 2) [s since the epoch], each half a step wider than its samples."""
    if len(curve) < 2:
        raise InputError(f"{curve}: good-time intervals need two samples or more")
    typical = local_cadence(curve.seconds)
    rows = stretches(curve, max_gap)
    half = [0.5 * typical[min(s.start, len(typical) - 1)] for s in rows]
    bounds = [
        (curve.seconds[s.start] - h, curve.seconds[s.stop - 1] + h) for s, h in zip(rows, half, strict=True)
    ]
    return np.array(bounds, dtype=np.float64).reshape(-1, 2)


def check_intervals(gti: ArrayLike) -> FloatArray:
    """Good-time intervals as an array, sorted and apart.

    Raises
    ------
    InputError
        If they are no pairs, are empty intervals, or overlap.
    """
    intervals = np.asarray(gti, dtype=np.float64)
    if intervals.ndim != 2 or intervals.shape[1] != 2 or not (intervals[:, 1] > intervals[:, 0]).all():
        raise InputError("good-time intervals must be pairs of a start and a later stop [s]")
    if (intervals[1:, 0] < intervals[:-1, 1]).any():
        raise InputError("good-time intervals must be sorted and must not overlap")
    return intervals


def inside(seconds: FloatArray, gti: ArrayLike) -> NDArray[np.bool_]:
    """Whether each time lies in one of the intervals; a start belongs to it, a stop does not."""
    intervals = check_intervals(gti)
    number = np.searchsorted(intervals[:, 0], seconds, side="right") - 1
    within: NDArray[np.bool_] = (number >= 0) & (seconds < intervals[np.maximum(number, 0), 1])
    return within


def overlap(first: ArrayLike, second: ArrayLike) -> FloatArray:
    """Intervals that two sets of good-time intervals have in common, shape (k, 2) [s]."""
    a, b = check_intervals(first), check_intervals(second)
    common, i, j = [], 0, 0
    while i < len(a) and j < len(b):
        start, stop = max(a[i, 0], b[j, 0]), min(a[i, 1], b[j, 1])
        if start < stop:
            common.append((start, stop))
        i, j = (i + 1, j) if a[i, 1] < b[j, 1] else (i, j + 1)
    return np.array(common, dtype=np.float64).reshape(-1, 2)


def unevenness(seconds: FloatArray) -> float:
    """Largest distance of the samples from the best even grid, in steps; 0 for fewer than three."""
    n = len(seconds)
    if n < 3:
        return 0.0
    offset = np.arange(n) - 0.5 * (n - 1)
    centred = seconds - seconds.mean()
    step = float(offset @ centred) / float(offset @ offset)
    off = centred - step * offset
    return float(np.abs(off).max() / step) if step > 0 else float("inf")
