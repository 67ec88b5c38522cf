"""Nights on one scale: through the comparison stars that they have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opticam_dask.differential.choose import stars_that_stay
from opticam_dask.differential.config import EnsembleConfig
from opticam_dask.differential.night import NightStars, StarSummary
from opticam_dask.differential.solve import Array, solve


@dataclass(frozen=True, eq=False)
class Joined:
    """Nights of one camera on one scale.

    Parameters
    ----------
    zero_point, zero_point_err : dict of str to float
        Night -> how much brighter than in the typical night its stars are; NaN for a night without a
        comparison star in common with the others.
    total : float
        Summed rate of all comparison stars in the typical night [counts / s].
    level : float
        Median of the target's relative flux: over one night's frames, or over the nights' medians.
    dropped : dict of str to str
        Comparison stars that are used in no night, and why.
    """

    zero_point: dict[str, float]
    zero_point_err: dict[str, float]
    total: float
    level: float
    dropped: dict[str, str]

    def used(self, night: NightStars) -> list[StarSummary]:
        """Comparison stars of a night."""
        return [star for star in night.stars if star.used and star.name not in self.dropped]


def join_nights(nights: Sequence[NightStars], config: EnsembleConfig, *, automatic: bool) -> Joined:
    """Tie nights of one camera together.

    The same two-way solution as within a night, over means of nights: a comparison star that changed between
    two nights gets little weight, and with an automatic choice is left out.

    Parameters
    ----------
    nights : sequence of NightStars
        All nights of the camera, in order.
    config : EnsembleConfig
        Limits of the choice.
    automatic : bool
        Whether stars may be dropped.
    """
    good = [night for night in nights if not night.reason and any(star.used for star in night.stars)]
    dropped = _often_variable(good, config) if automatic else {}
    names = sorted({s.name for night in good for s in night.stars if s.used and s.name not in dropped})
    if not names:
        return Joined({}, {}, float("nan"), float("nan"), dropped)
    mean, error = _matrices(good, names)
    if len(good) == 1:
        zero, zero_err, total = np.ones(1), np.zeros(1), float(mean[:, 0].sum())
    else:
        every = np.ones(len(names), bool)
        stay = stars_that_stay(mean, error, every, config) if automatic else every
        gone = [name for name, kept in zip(names, stay, strict=True) if not kept]
        dropped |= dict.fromkeys(gone, "variable from night to night")
        solution = solve(mean[stay], error[stay])
        zero, zero_err = solution.ensemble.transparency, np.sqrt(solution.ensemble.variance)
        total = float(np.nansum(solution.stars.mean))
    with np.errstate(invalid="ignore"):
        levels = np.array([night.rate for night in good]) / zero / total
    known = levels[np.isfinite(levels)]
    return Joined(
        {night.night: float(value) for night, value in zip(good, zero, strict=True)},
        {night.night: float(value) for night, value in zip(good, zero_err, strict=True)},
        total,
        float(np.median(known)) if len(known) else float("nan"),
        dropped,
    )


def _often_variable(nights: Sequence[NightStars], config: EnsembleConfig) -> dict[str, str]:
    """Stars that were found variable in too many of their nights."""
    seen, bad = dict[str, int](), dict[str, int]()
    for star in (star for night in nights for star in night.stars):
        seen[star.name] = seen.get(star.name, 0) + 1
        bad[star.name] = bad.get(star.name, 0) + star.reason.startswith("variable")
    return {
        name: f"variable in {bad[name]} of its {n} nights"
        for name, n in seen.items()
        if bad[name] > max(1.0, config.max_bad_nights * n)
    }


def _matrices(nights: Sequence[NightStars], names: Sequence[str]) -> tuple[Array, NDArray[np.float64]]:
    """Means and their errors, shape (n_star, n_night); NaN where a star was not used."""
    row = {name: i for i, name in enumerate(names)}
    mean, error = (np.full((len(names), len(nights)), np.nan) for _ in range(2))
    for j, night in enumerate(nights):
        for star in night.stars:
            if star.used and star.name in row:
                mean[row[star.name], j], error[row[star.name], j] = star.mean, star.mean_err
    return mean, error
