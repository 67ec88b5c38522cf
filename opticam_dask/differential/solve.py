"""Two-way solution: how bright each star is, and how transparent each frame was.

The model of the rate of star i in frame j is ``mean_i * transparency_j``, with a scatter of its own for each
star on top of its errors. Stars may be missing from any frame: each is compared with its own mean, so the
transparency does not jump when one drops out.

References
----------
Honeycutt (1992, PASP 104, 435): inhomogeneous ensemble photometry, of which this is the form for fluxes.
Broeg, Fernandez & Neuhaeuser (2005, AN 326, 134): weights from the scatter of the comparison stars.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FIRST_EXCESS = 0.02
"""Relative scatter granted to every star before it is measured: no star outweighs all others at first."""
_OUTLIER = 4.0  # sigma from which a measurement loses weight, as the inverse square of its distance
_ROUNDS = 4  # of reweighting within a frame
_MOST_STEPS = 40
_SETTLED = 1e-6  # relative change of means and scatters at which the iteration stops
_CLIP = 5.0  # sigma beyond which a residual does not add to a star's scatter
_WILD = 8.0  # sigma beyond which a measurement has no say in its star's mean


@dataclass(frozen=True, eq=False)
class Stars:
    """What is known of the comparison stars.

    Parameters
    ----------
    mean : ndarray, shape (n_star,)
        Rate at the night's median transparency [counts / s].
    error : ndarray, shape (n_star,)
        Typical 1-sigma error of one measurement [counts / s].
    excess : ndarray, shape (n_star,)
        Scatter beyond the errors, as a fraction of `mean`.
    plain : bool
        Whether to add the stars up as they are (`opticam`'s way), instead of by inverse variance.
    """

    mean: Array
    error: Array
    excess: Array
    plain: bool = False


@dataclass(frozen=True, eq=False)
class Ensemble:
    """The common mode of the frames.

    Parameters
    ----------
    transparency : ndarray, shape (n_frame,)
        Relative to the night's median; NaN where no star was measured.
    variance : ndarray, shape (n_frame,)
        Its variance: errors of the stars and their excess scatter, both propagated.
    n_stars : ndarray of int, shape (n_frame,)
        Stars it comes from.
    share : ndarray, shape (n_star, n_frame)
        ``d transparency / d (flux / mean)`` of each star, which add up to one; 0 where it was not used.
    """

    transparency: Array
    variance: Array
    n_stars: NDArray[np.int32]
    share: Array


@dataclass(frozen=True, eq=False)
class Solution:
    """Stars and frames that agree best; frames tied to the others by no star have a NaN transparency.

    Parameters
    ----------
    stars : Stars
        Means and scatters; the mean of a star that is in no frame with the others is NaN.
    mean_err : ndarray, shape (n_star,)
        1-sigma errors of the means.
    ensemble : Ensemble
        The frames.
    joined : ndarray of bool, shape (n_frame,)
        Which frames hang together by stars in common.
    """

    stars: Stars
    mean_err: Array
    ensemble: Ensemble
    joined: NDArray[np.bool_]


def common_mode(flux: Array, error: Array, stars: Stars) -> Ensemble:
    """Transparency of each frame from stars of known mean; a frame's does not depend on the others.

    Parameters
    ----------
    flux, error : ndarray, shape (n_star, n_frame)
        Rates and their 1-sigma errors; NaN, in both, where a star is not to be used.
    stars : Stars
        The stars.

    Notes
    -----
    Weights come from each star's typical error, scaled by what all stars of a frame have in common, and not
    from the error of the very measurement: that follows its own noise, and would favour low values. The
    variance is propagated from the errors as they are.
    """
    good = np.isfinite(flux)
    ratio = np.where(good, flux / stars.mean[:, None], 0.0)
    own = np.where(good, (error / stars.mean[:, None]) ** 2, 0.0)
    count = good.sum(axis=0)
    if stars.plain:
        weight = np.where(good, stars.mean[:, None], 0.0)
        value = _mean(weight, ratio)
    else:
        weight, value = _robust_weights(good, ratio, own, stars, count)
    total = weight.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = weight / total
        variance = (share**2 * (own + _scatter(stars, value))).sum(axis=0)
    seen = (count > 0) & (total > 0)
    return Ensemble(
        np.where(seen, value, np.nan),
        np.where(seen, variance, np.nan),
        np.where(seen, count, 0).astype(np.int32),
        np.where(seen, share, 0.0),
    )


def _robust_weights(
    good: NDArray[np.bool_], ratio: Array, own: Array, stars: Stars, count: NDArray[np.intp]
) -> tuple[Array, Array]:
    """Inverse-variance weights, less for what disagrees with the other stars, and the mean with these."""
    typical = (stars.error / stars.mean)[:, None] ** 2
    level = np.where(good, own / typical, 0.0).sum(axis=0) / np.maximum(count, 1)
    value = np.ones(ratio.shape[1])
    trust = good.astype(np.float64)
    for turn in range(_ROUNDS):
        base = 1.0 / (typical * level + _scatter(stars, value) + 1e-300)
        weight = trust * base
        value = _mean(weight, ratio)
        if turn + 1 < _ROUNDS:
            trust = good * _agreement(base * good, weight, ratio, value)
    return weight, value


def _agreement(base: Array, weight: Array, ratio: Array, value: Array) -> Array:
    """Factor on each weight: 1, or less for measurements far from what the other stars say."""
    total = weight.sum(axis=0)
    rest = total - weight
    with np.errstate(invalid="ignore", divide="ignore"):
        others = (total * value - weight * ratio) / rest
        z2 = (ratio - others) ** 2 / (1.0 / base + 1.0 / rest)
        factor = np.minimum(1.0, _OUTLIER**2 / z2)
    # a star without others to be compared with is believed
    return np.where((rest > 1e-9 * total) & np.isfinite(factor), factor, 1.0)


def _scatter(stars: Stars, value: Array) -> Array:
    """Variance by each star's own scatter in each frame, of the ratio to its mean."""
    return (stars.excess[:, None] * np.clip(np.nan_to_num(value), 0.0, None)) ** 2


def _mean(weight: Array, ratio: Array) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((weight * ratio).sum(axis=0) / weight.sum(axis=0))


def leave_one_out(flux: Array, error: Array, stars: Stars, ensemble: Ensemble) -> tuple[Array, Array, Array]:
    """Each star against all others.

    Parameters
    ----------
    flux, error : ndarray, shape (n_star, n_frame)
        As for `common_mode`.
    stars, ensemble : Stars, Ensemble
        The stars, and the frames as `common_mode` found them.

    Returns
    -------
    difference : ndarray, shape (n_star, n_frame)
        ``flux / (mean * transparency) - 1`` with the transparency by all other stars; NaN where the star
        or all others are missing.
    own, others : ndarray, shape (n_star, n_frame)
        What is expected of its square: by the error of the star, and by errors and scatters of the others.
    """
    share, value = ensemble.share, ensemble.transparency
    rest = 1.0 - share
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio, own = flux / stars.mean[:, None], (error / stars.mean[:, None]) ** 2
        others = np.where(rest > 1e-9, (value - share * np.nan_to_num(ratio)) / rest, np.nan)
        others = np.where(others > 0, others, np.nan)
        mine = share**2 * np.nan_to_num(own + _scatter(stars, value))
        theirs = (ensemble.variance - mine) / rest**2
        return ratio / others - 1.0, own / others**2, theirs / others**2


def solve(flux: Array, error: Array, clear: NDArray[np.bool_] | None = None) -> Solution:
    """Means and scatters of stars and transparencies of frames, by turns until they stay.

    Parameters
    ----------
    flux, error : ndarray, shape (n_star, n_frame)
        Rates and their 1-sigma errors; NaN, in both, where a star is not to be used. At least one star, each
        with at least one measurement and a positive median.
    clear : ndarray of bool, shape (n_frame,), optional
        Frames whose median transparency is 1; by default all.

    Returns
    -------
    Solution
        The same for the same numbers, however often it is asked for.
    """
    joined = connected(np.isfinite(flux))
    flux, error = np.where(joined, flux, np.nan), np.where(joined, error, np.nan)
    chosen = joined if clear is None or not (joined & clear).any() else joined & clear
    stars = _first_guess(flux, error)
    for _ in range(_MOST_STEPS):
        ensemble = common_mode(flux, error, stars)
        after = _next(flux, error, stars, ensemble, chosen)
        change = np.abs(np.log(after.mean / stars.mean)).max() + np.abs(after.excess - stars.excess).max()
        stars = after
        if change < _SETTLED:
            break
    ensemble = common_mode(flux, error, stars)
    errors = _mean_errors(flux, error, stars, ensemble)
    return Solution(
        replace(stars, mean=np.where(np.isfinite(errors), stars.mean, np.nan)), errors, ensemble, joined
    )


def connected(seen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Frames of the largest set in which each is tied to the others by stars in common, shape (n_frame,)."""
    from scipy.sparse.csgraph import connected_components

    number = seen.astype(np.float32)
    _, group = connected_components(number @ number.T > 0, directed=False)
    sizes = [int(seen[group == one].any(axis=0).sum()) for one in range(int(group.max()) + 1)]
    return np.asarray(seen[group == int(np.argmax(sizes))].any(axis=0))


def _first_guess(flux: Array, error: Array) -> Stars:
    mean, typical = _row_medians(flux), _row_medians(error)
    mean = np.where(mean > 0, mean, typical)
    # a star that is tied to the others nowhere has weight nowhere
    mean, typical = (np.where(np.isfinite(values), values, 1.0) for values in (mean, typical))
    return Stars(mean, typical, np.full(len(flux), FIRST_EXCESS if len(flux) > 1 else 0.0))


def _row_medians(values: Array) -> Array:
    return np.array(
        [np.median(row[np.isfinite(row)]) if np.isfinite(row).any() else np.nan for row in values]
    )


def _next(flux: Array, error: Array, stars: Stars, ensemble: Ensemble, chosen: NDArray[np.bool_]) -> Stars:
    value = ensemble.transparency
    difference, own, others = leave_one_out(flux, error, stars, ensemble)
    known = own + others
    whole = known + stars.excess[:, None] ** 2
    wild = difference**2 > _WILD**2 * whole
    good = np.isfinite(flux) & np.isfinite(value) & ~wild
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(good, flux, 0.0).sum(axis=1) / np.where(good, value, 0.0).sum(axis=1)
    scale = float(np.median(value[chosen & np.isfinite(value)]))
    mean = np.where(mean > 0, mean, stars.mean) * scale
    if len(flux) < 2:
        return replace(stars, mean=mean)
    # half way: two stars alone cannot tell whose scatter it is, and would swing
    return replace(stars, mean=mean, excess=0.5 * (stars.excess + _excess(difference, known, whole)))


def _excess(difference: Array, known: Array, whole: Array) -> Array:
    """Scatter of each star against the others beyond what is known of it and of them."""
    good = np.isfinite(difference) & np.isfinite(whole)
    weight = np.where(good, 1.0 / np.where(good, whole, 1.0) ** 2, 0.0)
    squared = np.minimum(np.where(good, difference, 0.0) ** 2, _CLIP**2 * np.where(good, whole, 0.0))
    beyond = (weight * (squared - np.where(good, known, 0.0))).sum(axis=1)
    total = weight.sum(axis=1)
    mean = np.divide(beyond, total, out=np.zeros_like(total), where=total > 0)
    return np.asarray(np.sqrt(np.clip(mean, 0.0, None)))


def _mean_errors(flux: Array, error: Array, stars: Stars, ensemble: Ensemble) -> Array:
    good = np.isfinite(flux) & np.isfinite(ensemble.transparency)
    scatter = _scatter(stars, ensemble.transparency) * stars.mean[:, None] ** 2
    variance = np.where(good, error**2 + scatter, 0.0).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.sqrt(variance) / np.where(good, ensemble.transparency, 0.0).sum(axis=1))
