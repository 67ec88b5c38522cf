"""Discrete correlation function of unevenly sampled light curves, with errors by Fisher's z."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from opticam_dask.analysis.light_curve import FloatArray, LightCurve

MIN_PAIRS = 11
"""Independent pairs from which Fisher's z is close to normal (Alexander 1997)."""

_BATCH = 1 << 21


def discrete_correlation(
    first: LightCurve, second: LightCurve, lags: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray, NDArray[np.int64]]:
    """Correlate all pairs of samples by their difference in time; nothing is interpolated.

    Parameters
    ----------
    first, second : LightCurve
        With the same epoch.
    lags : ndarray, shape (m,), float64 [s]
        Middles of the lag bins, evenly spaced: time of the first less time of the second.

    Returns
    -------
    lags : ndarray, shape (m,) [s]
        Mean lag of the pairs in each bin, which need not be its middle; the middle if there is none.
    corr : ndarray, shape (m,)
        Pearson's correlation of the pairs in each bin, with mean and scatter of those pairs; NaN for fewer
        than 11 independent pairs.
    corr_err : ndarray, shape (2, m)
        1-sigma errors downwards and upwards.
    n : ndarray of int64, shape (m,)
        Independent pairs: distinct samples of the light curve that gives fewer.

    References
    ----------
    Edelson & Krolik 1988, ApJ 333, 646; Alexander 1997, in Astronomical Time Series, 163 (z-transform, his
    equations 5 to 9). Bins are equally wide here, not equally populated.
    """
    a, b = first.flux - first.flux.mean(), second.flux - second.flux.mean()
    m = len(lags)
    sums = np.zeros((7, m))
    n_first, n_second = np.zeros(m, np.int64), np.zeros(m, np.int64)
    for i, j, k in _pairs(first.seconds, second.seconds, lags):
        off = first.seconds[i] - second.seconds[j] - lags[k]
        for row, values in enumerate((None, a[i], b[j], a[i] ** 2, b[j] ** 2, a[i] * b[j], off)):
            sums[row] += np.bincount(k, values, m)
        n_first += _distinct(i, k, m)
    for i, _, k in _pairs(second.seconds, first.seconds, -lags[::-1], reverse=True):
        n_second += _distinct(i, k, m)
    n = np.minimum(n_first, n_second)
    corr = _pearson(sums[:6])
    corr[n < MIN_PAIRS] = np.nan
    return lags + sums[6] / np.maximum(sums[0], 1.0), corr, z_errors(corr, n), n


def _pairs(
    ta: FloatArray, tb: FloatArray, lags: FloatArray, *, reverse: bool = False
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
    """Batches of (sample of a, sample of b, lag bin), all pairs of one sample of a in one batch."""
    step = (lags[-1] - lags[0]) / (len(lags) - 1)
    begin = np.searchsorted(tb, ta - lags[-1] - step, side="left")
    end = np.searchsorted(tb, ta - lags[0] + step, side="right")
    total = np.concatenate([[0], np.cumsum(end - begin)])
    start = 0
    while start < len(ta):
        stop = max(start + 1, int(np.searchsorted(total, total[start] + _BATCH, side="right")) - 1)
        sizes = (end - begin)[start:stop]
        i = np.repeat(np.arange(start, stop), sizes)
        j = np.arange(total[stop] - total[start]) + np.repeat(
            begin[start:stop] - total[start:stop] + total[start], sizes
        )
        # one rounding rule for both directions, so that a pair counts in the same bin of both
        lag = tb[j] - ta[i] if reverse else ta[i] - tb[j]
        low = -lags[-1] if reverse else lags[0]
        k = np.floor((lag - low) / step + 0.5).astype(np.int64)
        good = (k >= 0) & (k < len(lags))
        yield i[good], j[good], k[good]
        start = stop


def _distinct(i: NDArray[np.int64], k: NDArray[np.int64], m: int) -> NDArray[np.int64]:
    """How many different samples each bin has; the bins of one sample are in order."""
    if len(i) == 0:
        return np.zeros(m, np.int64)
    new = np.concatenate([[True], (np.diff(i) != 0) | (np.diff(k) != 0)])
    return np.bincount(k[new], minlength=m).astype(np.int64)


def _pearson(sums: FloatArray) -> FloatArray:
    n, a, b, aa, bb, ab = sums
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = np.sqrt((aa - a * a / n) * (bb - b * b / n))
        return np.asarray(np.clip((ab - a * b / n) / spread, -1.0, 1.0))


def z_errors(corr: FloatArray, n: NDArray[np.int64]) -> FloatArray:
    """1-sigma errors of correlations of `n` pairs, downwards and upwards; NaN where they are NaN."""
    r, v = np.clip(corr, -1 + 1e-12, 1 - 1e-12), np.maximum(n - 1.0, 1.0)
    bias = r / (2 * v) * (1 + (5 + r**2) / (4 * v) + (11 + 2 * r**2 + 3 * r**4) / (8 * v**2))
    middle = np.arctanh(r) + bias
    spread = np.sqrt((1 + (4 - r**2) / (2 * v) + (22 - 6 * r**2 - 3 * r**4) / (6 * v**2)) / v)
    return np.abs(np.stack([np.tanh(middle - spread), np.tanh(middle + spread)]) - r)
