"""The transform of one catalogue into one field, and whether it can be chance."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opticam_dask.kernels.align import nearest_pairs
from opticam_dask.kernels.asterism import RADIUS_PX, log_false_alarms, vote_pairs, vote_shifts
from opticam_dask.kernels.transform import apply, inside, invert, scale_of
from opticam_dask.kernels.transform_fit import robust_fit
from opticam_dask.types import XY, Affine

MOST_FALSE_ALARMS = 1e-5
"""A match is believed if chance gives fewer as good ones."""
LEAST_SHARE = 0.25
"""A match needs this part of the sources, or of the objects, that lie where both could be."""
MATCH_PX = 2.0
"""Sources this near to an object can be that object [pixel of the catalogue]."""
N_VOTERS = 30
N_VOTERS_LIMITED = 60

Indices = NDArray[np.intp]


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
    def narrow(self) -> bool:
        """Whether rotations are limited, so that more stars can vote at the same cost."""
        return self.width_rad < 1.0


@dataclass(frozen=True)
class Prediction:
    """A transform known but for a shift of up to ``reach`` [pixel of the field]."""

    affine: Affine
    reach: float


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
        tests = trials * number
        for affine, tried, used in _coarse(sources, objects, shape, prior):
            solution = _refined(sources, objects, shape, affine, (used, tried * tests))
            if solution is not None:
                return solution
    return None


def _coarse(
    sources: XY, objects: XY, shape: tuple[int, int], prior: Prediction | Window
) -> Iterator[tuple[Affine, int, int]]:
    """Transforms worth a closer look, with the number of hypotheses and of stars these fit exactly."""
    if isinstance(prior, Prediction):
        few = sources[:N_VOTERS_LIMITED], objects
        affine, score, tried = vote_shifts(*few, shape, prior.affine, prior.reach)
        found = [(score, affine)]
        used = 1
    else:
        most = N_VOTERS_LIMITED if prior.narrow else N_VOTERS
        few, used, found, tried = (sources[:N_VOTERS], objects[:most]), 2, [], 0
        for mirrored in prior.mirrored:
            affine, score, more = vote_pairs(
                *few,
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
            yield affine, tried, used


def _refined(
    sources: XY, objects: XY, shape: tuple[int, int], affine: Affine, search: tuple[int, int]
) -> Solution | None:
    used, tests = search
    pairs = _near(sources, objects, affine, RADIUS_PX)
    for _ in range(10):
        if len(pairs[0]) <= used:
            return None
        affine = _fit(sources[pairs[0]], objects[pairs[1]], affine)
        again = _near(sources, objects, affine, MATCH_PX)
        if np.array_equal(again[0], pairs[0]) and np.array_equal(again[1], pairs[1]):
            break
        pairs = again
    return _judged(sources, objects, shape, affine, pairs, (used, tests))


def _judged(
    sources: XY,
    objects: XY,
    shape: tuple[int, int],
    affine: Affine,
    pairs: tuple[Indices, Indices],
    search: tuple[int, int],
) -> Solution | None:
    used, tests = search
    i, k = pairs
    here = inside(apply(invert(affine), objects), shape)
    if len(i) <= used or len(i) < LEAST_SHARE * min(len(sources), int(here.sum())):
        return None
    distance = np.hypot(*(apply(affine, sources[i]) - objects[k]).T)
    density = max(int(here.sum()), len(i)) / (shape[0] * shape[1])
    per_test, _ = log_false_alarms(np.sort(distance) / scale_of(affine), len(sources), used, density)
    log_nfa = per_test + math.log10(max(tests, 1))
    if log_nfa > math.log10(MOST_FALSE_ALARMS):
        return None
    return Solution(affine, i, k, float(np.sqrt(np.mean(distance**2))), log_nfa)


def _near(sources: XY, objects: XY, affine: Affine, radius_px: float) -> tuple[Indices, Indices]:
    return nearest_pairs(apply(affine, sources), objects, radius_px * scale_of(affine))


def _fit(sources: XY, objects: XY, start: Affine) -> Affine:
    """Fit the pairs; a mirrored catalogue is mirrored back first, since similarities do not mirror."""
    kind = "affine" if len(sources) > 2 else "translation"
    back = np.array([1.0, -1.0 if np.linalg.det(start[:, :2]) < 0 else 1.0])
    turned = np.column_stack([start[:, :2] * back, start[:, 2]])
    affine, _, _ = robust_fit(sources * back, objects, np.ones(len(sources)), turned, kind)
    return np.column_stack([affine[:, :2] * back, affine[:, 2]])


def compose(outer: Affine, inner: Affine) -> Affine:
    """Transform that applies ``inner``, then ``outer``."""
    return np.column_stack([outer[:, :2] @ inner[:, :2], outer[:, :2] @ inner[:, 2] + outer[:, 2]])


def best(solutions: Iterable[Solution | None]) -> Solution | None:
    """Solution least likely to be chance; the first of equals."""
    found = [solution for solution in solutions if solution is not None]
    return min(found, key=lambda solution: solution.log_nfa, default=None)
