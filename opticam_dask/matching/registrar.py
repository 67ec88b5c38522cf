"""Registering catalogues: to which field each belongs, and which fields are one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from opticam_dask.kernels.transform import IDENTITY, apply, invert
from opticam_dask.matching.assign import assign, sighted
from opticam_dask.matching.field import FieldState, Star, merge, places
from opticam_dask.matching.model import Key, NightCatalog
from opticam_dask.matching.registration import Join, Registration
from opticam_dask.matching.solve import Solution, compose, solve

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

_Found = tuple[FieldState, Solution, list[Star]]


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
            sighted(state, chosen, seen, catalog.flux),
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
        stars = sighted(state, [None] * len(catalog.source), catalog.xy, catalog.flux)
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


def _why_pending(catalog: NightCatalog) -> str:
    n = len(catalog.source)
    return f"{n} sources match no field, and are too few to make one alone"
