"""The transform of one catalogue into one field, and whether it can be chance."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from opticam_dask.kernels.align import nearest_pairs
from opticam_dask.kernels.asterism import RADIUS_PX, log_false_alarms, vote_pairs, vote_shifts
from opticam_dask.kernels.transform import TransformType, apply, inside, invert, scale_of
from opticam_dask.kernels.transform_fit import robust_fit
from opticam_dask.types import XY, Affine

MOST_FALSE_ALARMS = 1e-5
"""A match is believed if chance gives fewer as good ones."""
LEAST_SHARE = 0.25
"""A match needs this part of the sources, or of the objects, that lie where both could be."""
MATCH_PX = 2.0
"""Sources this near to an object can be that object [pixel of the catalogue]."""
LEAST_STARS = 2
LEAST_TO_FIT = 5
"""Fewer matched sources than this leave rotation and scale as they were foreseen, if they were."""
N_VOTERS = 24
N_VOTERS_LIMITED = 60
_ROUNDS = 10

Indices = NDArray[np.intp]
_NONE: Indices = np.empty(0, np.intp)


@dataclass(frozen=True)
class Window:
    """What is known of a transform before.

    Parameters
    ----------
    scale : tuple of float
        Smallest and largest scale.
    mirrored : tuple of bool
        Parities to try.
    turn_rad, width_rad : float
        Rotation, and how far it may be from that, modulo half a turn [rad].
    """

    scale: tuple[float, float]
    mirrored: tuple[bool, ...] = (False, True)
    turn_rad: float = 0.0
    width_rad: float = math.pi

    @property
    def sure(self) -> bool:
        """Whether parity and rotation are known, so that more stars can vote at the same cost."""
        return self.width_rad < 1.0 and len(self.mirrored) == 1


@dataclass(frozen=True)
class Prediction:
    """A transform known but for a shift of up to ``reach`` [pixel of the field]."""

    affine: Affine
    reach: float
    sure: ClassVar[bool] = True


@dataclass(frozen=True, eq=False)
class Solution:
    """A transform and the sources that agree with it.

    Parameters
    ----------
    affine : ndarray, shape (2, 3)
        From the catalogue into the field.
    source, target : ndarray of int
        Indices of the matched sources and objects.
    residual : float
        Root mean square distance of the matched [pixel of the field].
    log_nfa : float
        Log10 of the number of false alarms.
    """

    affine: Affine
    source: Indices
    target: Indices
    residual: float
    log_nfa: float


def solve(
    sources: XY,
    objects: XY,
    shape: tuple[int, int],
    known: Sequence[Prediction | Window],
    trials: int = 1,
) -> Solution | None:
    """Find the transform of a catalogue into a field.

    Parameters
    ----------
    sources : ndarray, shape (n, 2) [pixel]
        The catalogue, brightest first.
    objects : ndarray, shape (m, 2) [pixel of the field]
        The field, those first that are most often seen.
    shape : tuple of int
        (rows, columns) of the catalogue's image.
    known : sequence of Prediction or Window
        What is known beforehand, the most certain first; the first that leads to a match ends the search.
    trials : int
        Fields that are tried: so many times more matches by chance.

    Returns
    -------
    Solution or None
        None if nothing is found that chance would not give as well.
    """
    if min(len(sources), len(objects)) < 2:
        return None
    for number, prior in enumerate(known, start=1):
        for guess in _guesses(sources, objects, shape, prior):
            fitted = _fitted(sources, objects, guess)
            solution = None if fitted is None else _judged(sources, objects, shape, fitted, trials * number)
            if solution is not None:
                return solution
    return None


@dataclass(frozen=True, eq=False)
class _Guess:
    """A transform worth a closer look: of how many hypotheses, and how many stars any of them fits."""

    affine: Affine
    tests: int
    used: int
    pairs: tuple[Indices, Indices] = (_NONE, _NONE)


def _guesses(
    sources: XY, objects: XY, shape: tuple[int, int], prior: Prediction | Window
) -> Iterator[_Guess]:
    if isinstance(prior, Prediction):
        yield _Guess(prior.affine, 1, 0)
        few = sources[:N_VOTERS_LIMITED]
        affine, score, tried = vote_shifts(few, objects, shape, prior.affine, prior.reach)
        found, used = [(score, affine)], 1
    else:
        found, tried, used = [], 0, 2
        for mirrored in prior.mirrored:
            affine, score, more = vote_pairs(
                sources[:N_VOTERS],
                objects[: N_VOTERS_LIMITED if prior.sure else N_VOTERS],
                shape,
                mirrored=mirrored,
                scale=prior.scale,
                turn_rad=prior.turn_rad,
                width_rad=prior.width_rad,
            )
            found.append((score, affine))
            tried += more
    for score, affine in sorted(found, key=lambda item: item[0]):
        if score < 0.0:
            yield _Guess(affine, tried, used)


def _fitted(sources: XY, objects: XY, guess: _Guess) -> _Guess | None:
    """Fit as much as the guess leaves free, and pair the stars; None if too few agree."""
    affine = guess.affine
    pairs = _near(sources, objects, affine, RADIUS_PX)
    for _ in range(_ROUNDS if guess.used else 0):
        if len(pairs[0]) <= guess.used:
            return None
        affine = _fit(sources[pairs[0]], objects[pairs[1]], affine, free=guess.used > 1)
        again = _near(sources, objects, affine, MATCH_PX)
        if np.array_equal(again[0], pairs[0]) and np.array_equal(again[1], pairs[1]):
            break
        pairs = again
    return replace(guess, affine=affine, pairs=pairs) if len(pairs[0]) >= LEAST_STARS else None


def _judged(sources: XY, objects: XY, shape: tuple[int, int], guess: _Guess, trials: int) -> Solution | None:
    i, k = guess.pairs
    affine = guess.affine
    here = inside(apply(invert(affine), objects), shape)
    if len(i) < LEAST_SHARE * min(len(sources), int(here.sum())):
        return None
    distance = np.hypot(*(apply(affine, sources[i]) - objects[k]).T)
    density = max(int(here.sum()), len(i)) / (shape[0] * shape[1])
    sorted_px = np.sort(distance) / scale_of(affine)
    per_test, _ = log_false_alarms(sorted_px, len(sources), guess.used, density)
    log_nfa = per_test + math.log10(max(guess.tests, 1) * trials)
    if log_nfa > math.log10(MOST_FALSE_ALARMS):
        return None
    affine = _fit(sources[i], objects[k], affine, free=guess.used > 1 or len(i) >= LEAST_TO_FIT)
    i, k = _near(sources, objects, affine, MATCH_PX)
    distance = np.hypot(*(apply(affine, sources[i]) - objects[k]).T)
    return Solution(affine, i, k, float(np.sqrt(np.mean(distance**2))), log_nfa)


def _near(sources: XY, objects: XY, affine: Affine, radius_px: float) -> tuple[Indices, Indices]:
    return nearest_pairs(apply(affine, sources), objects, radius_px * scale_of(affine))


def _fit(sources: XY, objects: XY, start: Affine, *, free: bool) -> Affine:
    """Fit the pairs; a mirrored catalogue is mirrored back first, since similarities do not mirror."""
    kind: TransformType = "affine" if free and len(sources) > 2 else "translation"
    back = np.array([1.0, -1.0 if np.linalg.det(start[:, :2]) < 0 else 1.0])
    turned = np.column_stack([start[:, :2] * back, start[:, 2]])
    affine, _, _ = robust_fit(sources * back, objects, np.ones(len(sources)), turned, kind)
    return np.column_stack([affine[:, :2] * back, affine[:, 2]])


def compose(outer: Affine, inner: Affine) -> Affine:
    """Transform that applies ``inner``, then ``outer``."""
    return np.column_stack([outer[:, :2] @ inner[:, :2], outer[:, :2] @ inner[:, 2] + outer[:, 2]])
