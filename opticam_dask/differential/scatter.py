"""Which stars scatter more, or drift more, than stars of their brightness do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opticam_dask.differential.solve import Array, Ensemble, Stars, leave_one_out

_BINS = 24
"""Stretches of a night whose means tell a slow drift."""
_LEAST_BINS, _LEAST_PER_BIN = 6, 8
_LEAST_FRAMES = 10
_CLIP = 8.0  # sigma: a flare counts, a cosmic ray no more than a flare
_SCALES = np.exp(np.linspace(np.log(0.3), np.log(25.0), 89))  # of the variances that errors give
_FLOORS = np.concatenate([[0.0], np.exp(np.linspace(np.log(1e-5), np.log(0.2), 60))])
_TOLERANCE = 0.1  # of a variance: how well the two terms are hoped to describe stars that are constant
_INDIFFERENT = 5.0  # sigma from which a star no longer bends the law it departs from


@dataclass(frozen=True, eq=False)
class Scatter:
    """Leave-one-out statistics of stars, each of shape (n_star,); NaN where there are too few frames.

    Parameters
    ----------
    rms : ndarray
        Relative scatter about the other stars.
    expected : ndarray
        What errors, and the scatter of the others, account for.
    typical : ndarray
        What is usual for stars of this brightness in this night.
    fast : ndarray
        Excess of the variance over the usual, in units of its standard error.
    drift : ndarray
        Relative scatter of the means of stretches of the night.
    slow : ndarray
        Excess of its variance over noise and what is usual, in units of its standard error.
    """

    rms: Array
    expected: Array
    typical: Array
    fast: Array
    drift: Array
    slow: Array

    @property
    def significance(self) -> Array:
        """The larger of the two, shape (n_star,); 0 where neither is known."""
        return np.asarray(np.nan_to_num(np.fmax(self.fast, self.slow), nan=0.0, posinf=1e9))


def scatter_of(
    flux: Array, error: Array, stars: Stars, ensemble: Ensemble, peers: NDArray[np.bool_] | None = None
) -> Scatter:
    """Compare each star with the ensemble without it, and its scatter with that of the others.

    Parameters
    ----------
    flux, error : ndarray, shape (n_star, n_frame)
        Rates and errors; NaN where not to be used.
    stars, ensemble : Stars, Ensemble
        The stars, and the frames; a star that is not in the ensemble has a share of 0 in it.
    peers : ndarray of bool, shape (n_star,), optional
        Stars that tell what is usual; by default all.

    Notes
    -----
    What is usual: ``scale * error**2 + others**2 + floor**2``, one scale for errors that are too small or
    too large, and one floor for what limits bright stars, both by the least sum of departures of all stars,
    in which a star far off counts as one far off, however far. A drift is compared with the star's own
    noise, as its consecutive differences show it, and with a floor of the same kind.
    """
    difference, own, others = leave_one_out(flux, error, stars, ensemble)
    variance = own + others
    good = np.isfinite(difference) & np.isfinite(variance)
    weight = np.where(good, 1.0 / np.where(good, variance, 1.0), 0.0)
    squared = np.minimum(np.where(good, difference, 0.0) ** 2, _CLIP**2 * np.where(good, variance, 0.0))
    n = good.sum(axis=1).astype(np.float64)
    enough = n >= _LEAST_FRAMES
    usual = enough if peers is None else enough & peers
    total = np.where(enough, weight.sum(axis=1), np.nan)
    # each measurement's share of its star's variance is weighed by what it is worth
    observed = (weight * squared).sum(axis=1) / total
    by_own = (weight * np.where(good, own, 0.0)).sum(axis=1) / total
    expected = n / total
    effective = total**2 / np.where(enough, (weight**2).sum(axis=1), np.nan)
    typical = _law(observed, by_own, expected - by_own, effective, usual)
    drift, noise, bins = _drifts(difference, weight)
    slow_typical = _law(drift, noise, np.zeros_like(noise), bins, usual & np.isfinite(drift), np.ones(1))
    return Scatter(
        rms=np.sqrt(observed),
        expected=np.sqrt(expected),
        typical=np.sqrt(typical),
        fast=_sigmas(observed, typical, effective),
        drift=np.sqrt(np.clip(drift - noise, 0.0, None)),
        slow=_sigmas(drift, slow_typical, bins),
    )


def _sigmas(observed: Array, usual: Array, n: Array) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((observed / usual - 1.0) / np.sqrt(2.0 / np.maximum(n - 1.0, 1.0)))


def _law(
    observed: Array, own: Array, others: Array, n: Array, use: NDArray[np.bool_], scales: Array = _SCALES
) -> Array:
    """Variance usual for each star: a multiple of the expected one and a floor, by a search of both."""
    use = use & np.isfinite(observed) & (observed > 0) & (own > 0)
    if use.sum() < 3:
        return own + others
    # errors that are too small have made the others' scatters larger already; too large ones cannot
    of_others = np.minimum(scales, 1.0)
    model = scales[:, None] * own[use] + of_others[:, None] * others[use]
    model = model[:, None, :] + (_FLOORS**2)[None, :, None]
    error = np.sqrt(2.0 / np.maximum(n[use] - 1.0, 1.0) + _TOLERANCE**2)
    loss = np.minimum(np.abs(np.log(observed[use] / model)) / error, _INDIFFERENT).sum(axis=2)
    # where the stars do not tell, errors are right and nothing limits
    loss += np.abs(np.log(scales))[:, None] + (_FLOORS / 0.02)[None, :]
    scale, floor = np.unravel_index(int(np.argmin(loss)), loss.shape)
    return np.asarray(scales[scale] * own + of_others[scale] * others + _FLOORS[floor] ** 2)


def _drifts(difference: Array, weight: Array) -> tuple[Array, Array, Array]:
    """Variance of the means of stretches of the night, what the noise makes of it, and their number.

    Stretches hold equally many frames, so that gaps do not matter; those with few measurements are left out.
    """
    n_star, n_frame = difference.shape
    bins = min(_BINS, n_frame // _LEAST_PER_BIN)
    if bins < _LEAST_BINS:
        nothing = np.full(n_star, np.nan)
        return nothing, nothing, nothing
    starts = np.linspace(0, n_frame, bins, endpoint=False).astype(np.intp)
    value = np.where(weight > 0, difference, 0.0)
    total = np.add.reduceat(weight, starts, axis=1)
    count = np.add.reduceat((weight > 0).astype(np.float64), starts, axis=1)
    filled = count >= _LEAST_PER_BIN / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.add.reduceat(weight * value, starts, axis=1) / total
        noise = _white(value, weight)[:, None] / total
    number = filled.sum(axis=1).astype(np.float64)
    number = np.where(number >= _LEAST_BINS, number, np.nan)
    about = np.where(filled, means, 0.0)
    inverse = np.where(filled, total, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        middle = (about * inverse).sum(axis=1, keepdims=True) / inverse.sum(axis=1, keepdims=True)
        scatter = (inverse * np.where(filled, means - middle, 0.0) ** 2).sum(axis=1) / inverse.sum(axis=1)
        expected = (inverse * np.where(filled, noise, 0.0)).sum(axis=1) / inverse.sum(axis=1)
    return scatter * number / (number - 1.0), expected, number


def _white(value: Array, weight: Array) -> Array:
    """Noise in units of what the weights promise, from differences between consecutive frames."""
    pair = np.where((weight[:, 1:] > 0) & (weight[:, :-1] > 0), 1.0, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = 1.0 / weight[:, 1:] + 1.0 / weight[:, :-1]
        squared = np.where(pair > 0, (value[:, 1:] - value[:, :-1]) ** 2 / variance, 0.0)
        return np.asarray(np.minimum(squared, _CLIP**2).sum(axis=1) / pair.sum(axis=1))
