"""What the times of one camera's frames tell of each other: gaps, overlaps, and stamps out of order."""

from __future__ import annotations

from bisect import bisect_right

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

GAP_IN_CADENCES = 1.5
"""Intervals longer than this many cadences are gaps, unless the cadence is so uneven."""

_SPREADS = 5.0
_WINDOW = 25
_DAY_S = 86400.0
_CLOCK_S = 1e-3
_UNSORTED = 0.1
_NORMAL_QUARTILE = 0.6745


def time_gaps(mjd: ArrayLike, exposure_s: ArrayLike, quantum_s: float = 0.0) -> NDArray[np.bool_]:
    """Frames before which others are missing.

    Parameters
    ----------
    mjd : array_like, shape (n,)
        Mid-exposure times [d], ascending.
    exposure_s : array_like, shape (n,)
        Exposure times [s].
    quantum_s : float
        Step to which the time stamps are cut [s]; 0 for none.

    Returns
    -------
    ndarray of bool, shape (n,)
        True on the first frame after a gap; never on the first frame, and not with fewer than four.

    Notes
    -----
    The dead time between two exposures is compared with the running median of 25 around it; so neither a
    change of the exposure time nor one of the dead time is a gap. A gap's dead time is longer than that by
    more than half a cadence (an interval above 1.5 cadences), by more than 5 standard deviations of the dead
    times, and by more than the quantum of the stamps (where they are whole seconds, one frame lost from a
    cadence of 1 s cannot be told). The standard deviation is that of a normal distribution whose upper
    quartile the dead times share: pauses that are a quarter of all intervals are the rhythm of the night, not
    gaps.
    """
    times, exposure = np.asarray(mjd, float), np.asarray(exposure_s, float)
    gap = np.zeros(len(times), dtype=bool)
    if len(times) < 4:
        return gap
    dead = _dead_times(times, exposure)
    usual = _running_median(dead)
    excess = dead - usual
    cadence = usual + 0.5 * (exposure[1:] + exposure[:-1])
    # What stamps cut to seconds add to the scatter is known, and counted once.
    upper = float(np.quantile(excess, 0.75, method="lower"))
    scatter = max(upper - quantum_s, 0.0) / _NORMAL_QUARTILE
    least = max(_SPREADS * scatter, quantum_s + _CLOCK_S)
    gap[1:] = excess > np.maximum((GAP_IN_CADENCES - 1.0) * cadence, least)
    return gap


def overlaps(mjd: ArrayLike, exposure_s: ArrayLike, quantum_s: float = 0.0) -> NDArray[np.bool_]:
    """Frames whose exposure began before that of the frame before had ended, by more than the clock's error.

    Parameters and result are those of `time_gaps`; a frame at the time of the one before is a duplicate, told
    elsewhere. The clock may err by a millisecond and a thousandth of the exposure.
    """
    times, exposure = np.asarray(mjd, float), np.asarray(exposure_s, float)
    overlap = np.zeros(len(times), dtype=bool)
    allowed = quantum_s + _CLOCK_S + 1e-3 * exposure[1:]
    overlap[1:] = (_dead_times(times, exposure) < -allowed) & (np.diff(times) > 0)
    return overlap


def out_of_order(mjd: ArrayLike) -> NDArray[np.bool_]:
    """Find times that break an order which nearly all the others keep.

    Parameters
    ----------
    mjd : array_like, shape (n,)
        Times in the order in which they should ascend, such as that of the file names.

    Returns
    -------
    ndarray of bool, shape (n,)
        True outside the longest ascending sequence; False everywhere if that leaves out more than a tenth,
        since then the order means nothing.
    """
    times = np.asarray(mjd, dtype=float)
    if not (np.diff(times) < 0).any():
        return np.zeros(len(times), dtype=bool)
    odd = ~_longest_ascending(times.tolist())
    return odd if odd.mean() <= _UNSORTED else np.zeros(len(times), dtype=bool)


def _dead_times(times: NDArray[np.float64], exposure: NDArray[np.float64]) -> NDArray[np.float64]:
    """Seconds from the end of each exposure to the start of the next, shape (n - 1,)."""
    return np.asarray(np.diff(times) * _DAY_S - 0.5 * (exposure[1:] + exposure[:-1]), dtype=float)


def _running_median(values: NDArray[np.float64]) -> NDArray[np.float64]:
    if len(values) < _WINDOW:
        return np.full(len(values), np.median(values))
    # not by scipy.ndimage, whose one-dimensional median crashed in some releases
    mirrored = pd.Series(np.pad(values, _WINDOW // 2, mode="reflect"))
    return mirrored.rolling(_WINDOW).median().to_numpy(float)[_WINDOW - 1 :]


def _longest_ascending(values: list[float]) -> NDArray[np.bool_]:
    """Members of the longest sequence that never descends (patience sorting)."""
    tops: list[float] = []
    last: list[int] = []
    before = np.full(len(values), -1)
    for i, value in enumerate(values):
        pile = bisect_right(tops, value)
        if pile:
            before[i] = last[pile - 1]
        tops[pile : pile + 1] = [value]
        last[pile : pile + 1] = [i]
    chosen = np.zeros(len(values), dtype=bool)
    i = last[-1] if last else -1
    while i >= 0:
        chosen[i] = True
        i = int(before[i])
    return chosen
