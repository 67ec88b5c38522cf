"""Sigma clipping on sorted values: one sort, then both ends move in."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba import njit

from opticam_dask.kernels.sums import moments_about

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAD_TO_STD = 1.482602218505602
"""Standard deviation of a normal distribution over its median absolute deviation."""

_COUNTING_SPAN = 8  # counting beats comparing while the range is below this many times the number of values


class ClipRule(NamedTuple):
    """Sigma clipping with the meaning of `astropy.stats.SigmaClip`.

    Parameters
    ----------
    sigma_lower, sigma_upper : float
        Limits below and above the centre, in standard deviations.
    maxiters : int
        Most iterations; -1 clips until nothing more goes.
    median_centre : bool
        Clip about the median, else about the mean.
    mad_width : bool
        Measure the width with the median absolute deviation, else with the standard deviation.
    """

    sigma_lower: float = 3.0
    sigma_upper: float = 3.0
    maxiters: int = 10
    median_centre: bool = True
    mad_width: bool = False


NO_CLIP = ClipRule(sigma_lower=np.finfo(float).max, sigma_upper=np.finfo(float).max)


def clip_rule(sigma_clip: Any) -> ClipRule | None:
    """Rule of an astropy ``SigmaClip`` object.

    Parameters
    ----------
    sigma_clip : SigmaClip or None
        None asks for no clipping.

    Returns
    -------
    ClipRule or None
        None if the object does what the kernels do not: growing, or functions of the user's own.
    """
    if sigma_clip is None:
        return NO_CLIP
    if sigma_clip.grow or sigma_clip.cenfunc not in ("median", "mean"):
        return None
    if sigma_clip.stdfunc not in ("std", "mad_std"):
        return None
    iterations = -1 if math.isinf(sigma_clip.maxiters) else int(sigma_clip.maxiters)
    return ClipRule(
        float(sigma_clip.sigma_lower),
        float(sigma_clip.sigma_upper),
        iterations,
        sigma_clip.cenfunc == "median",
        sigma_clip.stdfunc == "mad_std",
    )


def sort_rows(rows: NDArray[np.floating[Any]], counts: NDArray[np.int64], whole: bool) -> None:
    """Sort rows in place.

    Parameters
    ----------
    rows : ndarray, shape (n, m)
        The first ``counts[k]`` values of row k, then NaN.
    counts : ndarray, shape (n,)
        Number of values in each row.
    whole : bool
        All values are whole numbers, which are counted rather than compared.
    """
    if not whole:
        rows[:, : counts.max(initial=0)].sort(axis=1)  # NaN goes last
        return
    for k in np.flatnonzero(_sort_by_counting(rows, counts)):
        rows[k, : counts[k]].sort()


@njit(cache=True, nogil=True)
def _sort_by_counting(rows, counts):
    """Sort the rows whose values lie close together; return which rows are left."""
    left = np.zeros(len(counts), dtype=np.bool_)
    for k in range(len(counts)):
        values = rows[k, : counts[k]]
        if values.size > 1:
            low, high = _extremes(values)
            left[k] = high - low >= _COUNTING_SPAN * values.size
            if not left[k]:
                _counting_sort(values, low, int(high - low) + 1)
    return left


@njit(cache=True, nogil=True)
def _extremes(values):
    low, high = values[0], values[0]
    for i in range(values.size):
        low = values[i] if values[i] < low else low
        high = values[i] if values[i] > high else high
    return low, high


@njit(cache=True, nogil=True)
def _counting_sort(values, low, span):
    counts = np.zeros(span, dtype=np.int64)
    for i in range(values.size):
        counts[int(values[i] - low)] += 1
    k = 0
    for step in range(span):
        for _ in range(counts[step]):
            values[k] = low + step
            k += 1


@njit(cache=True, nogil=True)
def clip_sorted(values, n, rule):
    """Range ``[start, stop)`` of the sorted ``values[:n]`` that survives clipping.

    As in astropy, the last limits are applied to all values: one clipped early comes back if they
    take it in again.
    """
    # A literal 0 would have every function below compiled twice.
    start, stop, iteration = np.int64(0), n, 0
    if n == 0:
        return start, stop
    while True:
        low, high = _limits(values, start, stop, rule)
        first = first_from(values, start, stop, low)
        last = first_above(values, start, stop, high)
        if (first == start and last == stop) or first >= last:
            break
        start, stop = first, last
        iteration += 1
        if rule.maxiters >= 0 and iteration >= rule.maxiters:
            break
    start = np.int64(0)
    return first_from(values, start, n, low), first_above(values, start, n, high)


@njit(cache=True, nogil=True)
def first_from(values, start, stop, limit):
    """Index of the first of the sorted ``values[start:stop]`` that is not below a limit."""
    while start < stop:
        middle = (start + stop) // 2
        if values[middle] < limit:
            start = middle + 1
        else:
            stop = middle
    return start


@njit(cache=True, nogil=True)
def first_above(values, start, stop, limit):
    """Index of the first of the sorted ``values[start:stop]`` that is above a limit."""
    while start < stop:
        middle = (start + stop) // 2
        if values[middle] <= limit:
            start = middle + 1
        else:
            stop = middle
    return start


@njit(cache=True, nogil=True)
def _limits(values, start, stop, rule):
    median = median_of_sorted(values, start, stop)
    mean, std = mean_and_std(values, start, stop)
    centre = median if rule.median_centre else mean
    width = MAD_TO_STD * _median_deviation(values, start, stop, median) if rule.mad_width else std
    return centre - rule.sigma_lower * width, centre + rule.sigma_upper * width


@njit(cache=True, nogil=True)
def statistics_of_sorted(values, start, stop):
    """Mean, median, standard deviation, scaled MAD and number of ``values[start:stop]``, which are sorted."""
    if stop <= start:
        return np.nan, np.nan, np.nan, np.nan, 0
    mean, std = mean_and_std(values, start, stop)
    median = median_of_sorted(values, start, stop)
    mad_std = MAD_TO_STD * _median_deviation(values, start, stop, median)
    return mean, median, std, mad_std, stop - start


@njit(cache=True, nogil=True)
def mean_and_std(values, start, stop):
    """Mean and population standard deviation of ``values[start:stop]``."""
    some, n = values[start:stop], stop - start
    mean = moments_about(some, 0.0)[0] / n
    return mean, math.sqrt(moments_about(some, mean)[1] / n)


@njit(cache=True, nogil=True)
def median_of_sorted(values, start, stop):
    """Median of ``values[start:stop]``, which are sorted."""
    middle = (start + stop) // 2
    if (stop - start) % 2:
        return values[middle]
    return 0.5 * values[middle - 1] + 0.5 * values[middle]  # in double precision whatever the values are


@njit(cache=True, nogil=True)
def _median_deviation(values, start, stop, median):
    """Median absolute deviation: the deviations on both sides of the median are already in order."""
    n, right = stop - start, first_from(values, start, stop, median)
    upper = _deviation(values, start, stop, right, median, n // 2)
    return upper if n % 2 else 0.5 * (_deviation(values, start, stop, right, median, n // 2 - 1) + upper)


@njit(cache=True, nogil=True)
def _deviation(values, start, stop, right, median, rank):
    """Deviation of a rank, from 0, in two sorted sequences: leftwards and rightwards from ``right``."""
    least, most = max(0, rank + 1 - (stop - right)), min(rank + 1, right - start)
    while least < most:  # how many of the first rank + 1 lie on the left
        middle = (least + most) // 2
        if median - values[right - 1 - middle] < values[right + rank - middle] - median:
            least = middle + 1
        else:
            most = middle
    left = median - values[right - least] if least > 0 else 0.0
    return max(left, values[right + rank - least] - median) if least <= rank else left
