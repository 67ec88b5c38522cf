"""Which star each source is, once the transform of its catalogue is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from opticam_dask.kernels.align import nearest_pairs
from opticam_dask.kernels.transform import apply, scale_of
from opticam_dask.matching.field import FieldState, Star, places
from opticam_dask.matching.model import NightCatalog
from opticam_dask.matching.solve import MATCH_PX, Solution
from opticam_dask.types import XY

APART_PX = 3.0
"""A source nearer than this to a star that is not seen beside it is not taken for a new one [pixel]."""
_SIGMAS, _LEAST_REACH_PX = 4.0, 1.0


def assign(catalog: NightCatalog, solution: Solution, stars: Sequence[Star]) -> list[Star | str | None]:
    """Which star each source of a matched catalogue is: one to one.

    Returns
    -------
    list
        For each source its star; None if it is a new one; or text, why neither can be said.
    """
    seen, known = apply(solution.affine, catalog.xy), places(list(stars))
    scale = scale_of(solution.affine)
    reach = float(np.clip(_SIGMAS * solution.residual, _LEAST_REACH_PX * scale, MATCH_PX * scale))
    reaches = reach, APART_PX * scale
    chosen: list[Star | str | None] = [None] * len(seen)
    first, second = nearest_pairs(seen, known, reach)
    pairs = dict(zip(first.tolist(), second.tolist(), strict=True))
    taken = set(pairs.values())
    for source, place in enumerate(seen):
        chosen[source] = _choice(place, known, stars, pairs.get(source), taken, reaches)
    return chosen


def _choice(
    place: NDArray[np.float64],
    known: XY,
    stars: Sequence[Star],
    paired: int | None,
    taken: set[int],
    reaches: tuple[float, float],
) -> Star | str | None:
    distance = np.hypot(*(known - place).T)
    near = [int(k) for k in np.argsort(distance, kind="stable")[:2] if distance[k] <= reaches[1]]
    if paired is not None:
        rivals = [k for k in near if k not in taken and distance[k] < distance[paired] + reaches[0] / 2.0]
        return f"{_name(stars[rivals[0]])} is as near" if rivals else stars[paired]
    free = [k for k in near if k not in taken]
    # a place between none and a known star: a star of its own only if that star is seen beside it
    return f"too near to {_name(stars[free[0]])} to be told from it" if free else None


def _name(star: Star) -> str:
    return star.resolved().name or "another star"


def sighted(
    state: FieldState, chosen: Sequence[Star | str | None], seen: XY, flux: NDArray[np.float64]
) -> list[Star | str]:
    """Stars of the sources, new ones made where there is none; all at their new mean places."""
    out: list[Star | str] = []
    for choice, place, counts in zip(chosen, seen, flux, strict=True):
        if choice is None:
            choice = Star(state, place, float(counts))
            state.stars.append(choice)
        if isinstance(choice, Star):
            choice.see(place)
        out.append(choice)
    return out
