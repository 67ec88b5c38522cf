"""Choose comparison stars: those fit for it, less those that vary."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from opticam_dask.differential.config import EnsembleConfig
from opticam_dask.differential.scatter import Scatter, scatter_of
from opticam_dask.differential.solve import Array, Ensemble, Solution, Stars, common_mode, solve
from opticam_dask.schema import Flag

BoolArray: TypeAlias = NDArray[np.bool_]

UNFIT = (
    Flag.EDGE
    | Flag.SATURATED
    | Flag.NON_FINITE
    | Flag.FEW_SKY_PIXELS
    | Flag.NOT_MATCHED
    | Flag.NOT_ALIGNED
    | Flag.FIT_FAILED
    | Flag.COSMIC_RAY
    | Flag.UNREADABLE
)
"""A comparison star is left out of the frames in which its row carries one of these."""

_OFTEN_SATURATED = 0.05  # of the frames: then the others are close to it
_AT_ONCE = 0.5  # stars this near to the worst, in sigma, go with it


@dataclass(frozen=True, eq=False)
class Choice:
    """What became of the candidates.

    Parameters
    ----------
    used : ndarray of bool, shape (n_star,)
        Comparison stars.
    reason : list of str
        Why each of the others is not used; empty for those that are.
    solution : Solution
        Of the stars used, in their order.
    stars : Stars
        Mean, error and scatter of every candidate on the same scale; NaN where unknown.
    scatter : Scatter
        Leave-one-out statistics of every candidate.
    """

    used: BoolArray
    reason: list[str]
    solution: Solution
    stars: Stars
    scatter: Scatter


def usable(flux: Array, error: Array, flags: NDArray[np.int32]) -> BoolArray:
    """Which measurements may serve in an ensemble, of any shape."""
    return np.asarray(np.isfinite(flux) & np.isfinite(error) & (error > 0) & ((flags & int(UNFIT)) == 0))


def unfit(
    flux: Array, error: Array, flags: NDArray[np.int32], exposed: BoolArray, config: EnsembleConfig
) -> list[str]:
    """Why stars are unfit for comparison whether they vary or not; empty where they are fit.

    Parameters
    ----------
    flux, error, flags : ndarray, shape (n_star, n_frame)
        Rates, errors and quality bits as measured.
    exposed : ndarray of bool, shape (n_frame,)
        Frames in which any star was measured.
    config : EnsembleConfig
        Limits.
    """
    good = usable(flux, error, flags)
    n_exposed = max(int(exposed.sum()), 1)
    reasons = []
    for i in range(len(flux)):
        n = int(good[i].sum())
        snr = float(np.median(flux[i, good[i]] / error[i, good[i]])) if n else 0.0
        reasons.append(_unfit_star(flags[i, exposed], n / n_exposed, snr, config))
    return _all_but_the_best(reasons, flux, good, config.max_comparisons)


def _unfit_star(flags: NDArray[np.int32], fraction: float, snr: float, config: EnsembleConfig) -> str:
    def share(flag: Flag) -> float:
        return float(((flags & int(flag)) != 0).mean()) if len(flags) else 0.0

    if share(Flag.BLENDED) > 0.5:
        return "blended with another source"
    if share(Flag.SATURATED) > _OFTEN_SATURATED:
        return f"saturated in {share(Flag.SATURATED):.0%} of the frames"
    if fraction == 0 or fraction < config.min_fraction:
        return f"measured without fault in {fraction:.0%} of the frames only"
    if snr < config.min_snr:
        return f"faint: signal-to-noise ratio {snr:.1f} in one frame"
    return ""


def _all_but_the_best(reasons: list[str], flux: Array, good: BoolArray, most: int) -> list[str]:
    fit = [i for i, reason in enumerate(reasons) if not reason]
    brightness = {i: -float(np.median(flux[i, good[i]])) for i in fit}
    for i in sorted(fit, key=lambda i: (brightness[i], i))[most:]:
        reasons[i] = f"not among the {most} brightest that are fit"
    return reasons


def choose(
    flux: Array,
    error: Array,
    flags: NDArray[np.int32],
    clear: BoolArray,
    config: EnsembleConfig,
) -> Choice | None:
    """Choose comparison stars among candidates, by turns: solve, and reject those that vary most.

    Parameters
    ----------
    flux, error, flags : ndarray, shape (n_star, n_frame)
        Rates, 1-sigma errors and quality bits, as measured.
    clear : ndarray of bool, shape (n_frame,)
        Frames without clouds, on which the choice rests, where there are any.
    config : EnsembleConfig
        Limits.

    Returns
    -------
    Choice or None
        None if no star is fit. It ends when no star varies, or `config.min_comparisons` are left; then those
        rejected are tried once more against the others, since a bright variable star makes all look bad.
    """
    exposed = _exposed(flux, clear)
    reasons = unfit(flux, error, flags, exposed, config)
    good = usable(flux, error, flags) & exposed
    flux, error = np.where(good, flux, np.nan), np.where(good, error, np.nan)
    fit = np.array([not reason for reason in reasons], bool)
    if not fit.any():
        return None
    used = stars_that_stay(flux, error, fit, config)
    choice = _judged(flux, error, used, fit, reasons)
    again = fit & ~used & (choice.scatter.significance <= config.n_sigma)
    if again.any():
        used = stars_that_stay(flux, error, used | again, config)
        choice = _judged(flux, error, used, fit, reasons)
    return choice


def _exposed(flux: Array, clear: BoolArray) -> BoolArray:
    """Frames in which any star was measured, the cloudless ones if there are any."""
    seen = np.isfinite(flux).any(axis=0)
    return np.asarray(seen & clear if (seen & clear).any() else seen)


def stars_that_stay(flux: Array, error: Array, fit: BoolArray, config: EnsembleConfig) -> BoolArray:
    """Which of the stars that are fit do not vary; at least `config.min_comparisons` stay.

    Parameters
    ----------
    flux, error : ndarray, shape (n_star, n_frame)
        Rates, or their means over nights, and 1-sigma errors; NaN where not to be used.
    fit : ndarray of bool, shape (n_star,)
        Stars to begin with.
    config : EnsembleConfig
        Limits.
    """
    used = fit.copy()
    while used.sum() > max(config.min_comparisons, 2):
        rows = np.flatnonzero(used)
        solution = solve(flux[rows], error[rows])
        sigma = scatter_of(flux[rows], error[rows], solution.stars, solution.ensemble).significance
        worst = float(sigma.max())
        if worst <= config.n_sigma:
            break
        # strictly the worst first, as far as enough remain
        order = np.argsort(-sigma, kind="stable")
        bad = [rows[i] for i in order if sigma[i] > max(config.n_sigma, _AT_ONCE * worst)]
        used[bad[: int(used.sum()) - config.min_comparisons]] = False
    return used


def given(flux: Array, error: Array, flags: NDArray[np.int32], clear: BoolArray) -> Choice | None:
    """Take every star as a comparison, as the user chose them; None if none was ever measured."""
    good = usable(flux, error, flags) & _exposed(flux, clear)
    seen = np.asarray(good.any(axis=1))
    if not seen.any():
        return None
    flux, error = np.where(good, flux, np.nan), np.where(good, error, np.nan)
    reasons = ["" if one else "never measured without fault" for one in seen]
    return _judged(flux, error, seen, seen, reasons)


def _judged(flux: Array, error: Array, used: BoolArray, fit: BoolArray, reasons: list[str]) -> Choice:
    """Solve with the stars used and measure every star that is fit against them."""
    solution = solve(flux[used], error[used])
    tied = np.isfinite(solution.stars.mean)
    if not tied.all():
        apart = np.flatnonzero(used)[~tied]
        reasons = ["in no frame with the others" if i in apart else one for i, one in enumerate(reasons)]
        used, fit = used.copy(), fit.copy()
        used[apart] = fit[apart] = False
        solution = solve(flux[used], error[used])
    every = _on_one_scale(flux, error, used, fit, solution)
    scatter = scatter_of(flux, error, every, _spread(solution.ensemble, used), peers=used)
    reasons = list(reasons)
    for i in np.flatnonzero(fit & ~used):
        reasons[i] = _variable(scatter, int(i))
    return Choice(used, reasons, solution, every, scatter)


def _on_one_scale(flux: Array, error: Array, used: BoolArray, fit: BoolArray, solution: Solution) -> Stars:
    """Every star relative to the transparencies that the used ones tell."""
    value = solution.ensemble.transparency
    mean, typical, excess = (np.full(len(flux), np.nan) for _ in range(3))
    own = solution.stars
    mean[used], typical[used], excess[used] = own.mean, own.error, own.excess
    for i in np.flatnonzero(fit & ~used):
        both = np.isfinite(flux[i]) & np.isfinite(value)
        if both.any():
            mean[i] = flux[i, both].sum() / value[both].sum()
            typical[i] = np.median(error[i, both])
            excess[i] = 0.0
    return Stars(mean, typical, excess)


def _spread(ensemble: Ensemble, used: BoolArray) -> Ensemble:
    """Widen an ensemble by stars that have no share in it."""
    share = np.zeros((len(used), ensemble.share.shape[1]))
    share[used] = ensemble.share
    return replace(ensemble, share=share)


def _variable(scatter: Scatter, i: int) -> str:
    fast, slow = (float(np.nan_to_num(values[i])) for values in (scatter.fast, scatter.slow))
    if slow > fast:
        return f"variable: drifts by {scatter.drift[i]:.2%} rms, {slow:.3g} sigma"
    return f"variable: scatter {scatter.rms[i]:.2%} where {scatter.typical[i]:.2%} is usual, {fast:.3g} sigma"


def at_frames(flux: Array, error: Array, flags: NDArray[np.int32], stars: Stars) -> Ensemble:
    """Transparency of frames by stars that were chosen and solved for before."""
    good = usable(flux, error, flags)
    return common_mode(np.where(good, flux, np.nan), np.where(good, error, np.nan), stars)
