"""Registering catalogues: to which field each belongs, and which star each source is."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opticam_dask.kernels.align import nearest_pairs
from opticam_dask.kernels.transform import IDENTITY, apply, invert, scale_of
from opticam_dask.matching.field import FieldState, Star, moved, places
from opticam_dask.matching.model import Key, NightCatalog
from opticam_dask.matching.solve import MATCH_PX, Solution, compose, solve
from opticam_dask.types import XY, Affine

LEAST_ALONE = 10
"""Sources from which a catalogue that matches no field makes one by itself."""
LEAST_WITH_CAMERA = 6
"""Sources from which it does if another camera of the night shows the same stars."""
LEAST_WITH_NIGHT = 4
"""Sources from which it does if a catalogue of another night shows the same stars."""
LEAST_WITH_SKY = 3
"""Sources from which it does if its frames have a WCS."""
_JOIN_LOG_NFA = -8.0
_JOIN_STARS = 4
_POOR = 6
APART_PX = 3.0
"""A source nearer than this to a star that is not seen beside it is not taken for a new one [pixel]."""
_SIGMAS, _LEAST_REACH_PX = 4.0, 1.0


@dataclass(eq=False)
class Registration:
    """What became of one catalogue.

    Parameters
    ----------
    catalog : NightCatalog
        The catalogue.
    field : FieldState, optional
        Its field; None while it is pending.
    status, reason : str
        As in the table of catalogues.
    affine : ndarray, shape (2, 3)
        From the catalogue into the field.
    n_matched, residual, log_nfa
        As in the table of catalogues.
    stars : list of Star or str
        For each source its star, or why there is none.
    """

    catalog: NightCatalog
    field: FieldState | None = None
    status: str = "pending"
    reason: str = ""
    affine: Affine = dataclasses.field(default_factory=lambda: np.full((2, 3), np.nan))
    n_matched: int = 0
    residual: float = math.nan
    log_nfa: float = math.nan
    stars: list[Star | str] = dataclasses.field(default_factory=list)


_Found = tuple[FieldState, Solution, list[Star]]


@dataclass(frozen=True, eq=False)
class Join:
    """One field that turned out to be part of another, and the transform into that."""

    gone: FieldState
    root: FieldState
    affine: Affine


class Registrar:
    """Match catalogues to fields, found fields, and find out which fields are one.

    Parameters
    ----------
    fields : list of FieldState
        Fields known so far, in order of their IDs.
    """

    def __init__(self, fields: Iterable[FieldState]) -> None:
        self.fields = list(fields)
        self.joins: list[Join] = []
        self.lost: list[Star] = []
        self._done: dict[Key, Registration] = {}
        self._tried: dict[Key, dict[int, int]] = {}

    def run(self, fresh: Sequence[NightCatalog], waiting: Sequence[NightCatalog] = ()) -> list[Registration]:
        """Register catalogues, in the canonical order of night and camera.

        All that match a field are matched to it, the rich ones first, until no more do. Only then does the
        richest of the rest found a field.

        Parameters
        ----------
        fresh : sequence of NightCatalog
            New catalogues.
        waiting : sequence of NightCatalog
            Catalogues that matched nothing so far; they are tried on what is new.
        """
        for state in self.fields if waiting else ():
            for catalog in waiting:
                self._tried.setdefault(catalog.key, {})[id(state)] = state.version
        todo = sorted([*fresh, *waiting], key=lambda c: (len(c.source) < _POOR, *c.key))
        while todo:
            todo = self._match_all(todo)
            founder = self._founder(todo)
            if founder is None:
                break
            self._found(founder)
            todo = [catalog for catalog in todo if catalog is not founder]
        for catalog in todo:
            self._done[catalog.key] = Registration(catalog, reason=_why_pending(catalog))
        return [self._done[key] for key in sorted(self._done)]

    def _match_all(self, todo: list[NightCatalog]) -> list[NightCatalog]:
        while True:
            left = [catalog for catalog in todo if not self._match(catalog)]
            if len(left) == len(todo):
                return left
            todo = left

    def _match(self, catalog: NightCatalog) -> bool:
        """Try a catalogue on every field that changed since it was tried; the best match counts.

        What is little known of a transform, which takes long to search, is only tried when what is well
        known leads nowhere.
        """
        tried = self._tried.setdefault(catalog.key, {})
        states = [state for state in self.fields if tried.get(id(state)) != state.version]
        for state in states:
            tried[id(state)] = state.version
        found = self._solutions(catalog, states, sure=True) or self._solutions(catalog, states, sure=False)
        if not found:
            return False
        found.sort(key=lambda item: item[1].log_nfa)
        self._attach(catalog, *found[0])
        for other, solution, _ in found[1:]:
            self._join(catalog, found[0], other, solution)
        return True

    def _solutions(self, catalog: NightCatalog, states: Sequence[FieldState], *, sure: bool) -> list[_Found]:
        found = []
        for state in states:
            known = [prior for prior in state.known(catalog) if prior.sure == sure]
            stars = state.voters()
            solution = solve(catalog.xy, places(stars), catalog.shape, known, 2 * len(self.fields))
            if solution is not None:
                found.append((state, solution, stars))
        return found

    def _attach(
        self, catalog: NightCatalog, state: FieldState, solution: Solution, stars: list[Star]
    ) -> None:
        chosen = assign(catalog, solution, stars)
        seen = apply(solution.affine, catalog.xy)
        self._done[catalog.key] = Registration(
            catalog,
            state,
            "matched",
            "",
            solution.affine,
            len(solution.source),
            solution.residual,
            solution.log_nfa,
            _sighted(state, chosen, seen, catalog.flux),
        )
        state.place(catalog, solution.affine, len(solution.source))

    def _founder(self, todo: Sequence[NightCatalog]) -> NightCatalog | None:
        """Richest catalogue that may found a field; of equals the first."""
        ranked = sorted(todo, key=lambda c: (-len(c.source), *c.key))
        for catalog in ranked:
            if may_found(catalog) or self._confirmed(catalog, ranked):
                return catalog
        return None

    def _confirmed(self, catalog: NightCatalog, others: Sequence[NightCatalog]) -> bool:
        if len(catalog.source) < LEAST_WITH_NIGHT:
            return False
        trial = FieldState.from_catalog(catalog)
        witnesses = [
            other
            for other in others
            if other is not catalog
            and len(other.source) >= LEAST_WITH_NIGHT
            and (other.night != catalog.night or len(catalog.source) >= LEAST_WITH_CAMERA)
        ]
        return any(
            solve(other.xy, catalog.xy, other.shape, trial.known(other)) is not None for other in witnesses
        )

    def _found(self, catalog: NightCatalog) -> None:
        state = FieldState.from_catalog(catalog)
        self.fields.append(state)
        stars = _sighted(state, [None] * len(catalog.source), catalog.xy, catalog.flux)
        self._done[catalog.key] = Registration(
            catalog, state, "reference", affine=IDENTITY, residual=0.0, stars=stars
        )
        state.place(catalog, IDENTITY, len(stars))

    def _join(
        self,
        catalog: NightCatalog,
        first: _Found,
        other: FieldState,
        solution: Solution,
    ) -> None:
        """Join two fields that one catalogue shows to be the same part of the sky."""
        state, own, _ = first
        pair = (own, solution)
        sure = all(s.log_nfa <= _JOIN_LOG_NFA and len(s.source) >= _JOIN_STARS for s in pair)
        if not sure or other not in self.fields or state not in self.fields:
            return
        root, gone = sorted((state, other), key=lambda s: (not s.name, s.name, self.fields.index(s)))
        into = compose(own.affine, invert(solution.affine))
        affine = into if gone is other else invert(into)
        self.lost += merge(root, gone, affine)
        for registration in self._done.values():
            if registration.field is gone:
                registration.field = root
                registration.affine = compose(affine, registration.affine)
        self.joins.append(Join(gone, root, affine))
        self.fields.remove(gone)


def may_found(catalog: NightCatalog) -> bool:
    """Whether a catalogue that matches no field may make one by itself."""
    known = int(np.isfinite(catalog.sky).all(axis=1).sum())
    return len(catalog.source) >= LEAST_ALONE or known >= LEAST_WITH_SKY


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


def _sighted(
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


def merge(root: FieldState, gone: FieldState, affine: Affine) -> list[Star]:
    """Put the stars of one field into another; returns those that are another star from now on."""
    losers = []
    old, new = moved(gone.stars, affine), places(root.stars)
    pairs = dict(zip(*(a.tolist() for a in nearest_pairs(old, new, MATCH_PX)), strict=True))
    for number, (star, place) in enumerate(zip(gone.stars, old, strict=True)):
        star.xy = place
        if number not in pairs:
            star.field = root
            root.stars.append(star)
            continue
        twin = root.stars[pairs[number]]
        keeper, lost = (twin, star) if twin.name or not star.name else (star, twin)
        lost.alias, keeper.n, keeper.field = keeper, keeper.n + lost.n, root
        root.stars[pairs[number]] = keeper
        losers.append(lost)
    for key, placed in gone.placed.items():
        root.placed[key] = type(placed)(
            key, placed.arm, placed.binning, compose(affine, placed.affine), placed.n_matched
        )
    root.version += 1
    return losers


def _why_pending(catalog: NightCatalog) -> str:
    n = len(catalog.source)
    return f"{n} sources match no field, and are too few to make one alone"
