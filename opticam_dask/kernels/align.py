"""Match star lists with nothing known beforehand, by voting.

Frames of one camera differ by shift, rotation and a scale close to one. With so strong a prior every pair of
reference stars can be tried on every pair of frame stars of the same length and the hypothesis that most
stars support wins: exhaustive, so it gives the same answer each time, which a random search does not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from opticam_dask.kernels.transform import TransformType, apply, inside, invert
from opticam_dask.kernels.transform_fit import robust_fit
from opticam_dask.types import XY, Affine

MATCH_RADIUS = 3.0
"""Stars this near to their predicted place support a hypothesis [pixel]."""
SCALE_RANGE = 0.05
"""Largest departure of the scale from one that is tried."""
N_VOTERS = 20
_LOG_FLUX_SPREAD = 0.5  # largest typical spread of ln(flux ratio) among true matches


@dataclass(frozen=True)
class Match:
    """A transform and the stars that agree with it.

    Parameters
    ----------
    affine : ndarray, shape (2, 3)
        From the reference into the frame.
    reference, frame : ndarray of int
        Indices of the matched stars in either list.
    residual : float
        Root mean square distance of the matched stars from their predicted places [pixel].
    """

    affine: Affine
    reference: NDArray[np.intp]
    frame: NDArray[np.intp]
    residual: float


@numba.njit(cache=True, nogil=True)
def _support(ref: Any, cat: Any, a: complex, b: complex, radius: float) -> tuple[int, float]:
    """Count reference stars with a frame star within ``radius``, and add up their squared distances."""
    n, total = 0, 0.0
    for i in range(len(ref)):
        place = a * ref[i] + b
        best = radius * radius
        hit = False
        for k in range(len(cat)):
            d = cat[k] - place
            r2 = d.real * d.real + d.imag * d.imag
            if r2 < best:
                best, hit = r2, True
        if hit:
            n += 1
            total += best
    return n, total


@numba.njit(cache=True, nogil=True)
def _vote_pairs(ref: Any, cat: Any, radius: float, scale_range: float) -> tuple[complex, complex, int]:
    best_a, best_b, best_n, best_d = complex(1.0, 0.0), complex(0.0, 0.0), 0, np.inf
    for i in range(len(ref)):
        for j in range(i + 1, len(ref)):
            baseline = ref[j] - ref[i]
            length = abs(baseline)
            if length < 4.0 * radius:
                continue
            for k in range(len(cat)):
                for m in range(len(cat)):
                    if m == k or abs(abs(cat[m] - cat[k]) / length - 1.0) > scale_range:
                        continue
                    a = (cat[m] - cat[k]) / baseline
                    b = cat[k] - a * ref[i]
                    n, d = _support(ref, cat, a, b, radius)
                    if n > best_n or (n == best_n and d < best_d):
                        best_a, best_b, best_n, best_d = a, b, n, d
    return best_a, best_b, best_n


@numba.njit(cache=True, nogil=True)
def _vote_shifts(ref: Any, cat: Any, radius: float) -> tuple[complex, int]:
    """Shift with most support; of equals the one between the brightest stars."""
    best_b, best_n, best_rank = complex(0.0, 0.0), 0, 0
    for i in range(len(ref)):
        for k in range(len(cat)):
            b = cat[k] - ref[i]
            n, _ = _support(ref, cat, complex(1.0, 0.0), b, radius)
            if n > best_n or (n == best_n and i + k < best_rank):
                best_b, best_n, best_rank = b, n, i + k
    return best_b, best_n


def _complex(xy: XY) -> NDArray[np.complex128]:
    return np.ascontiguousarray(xy[:N_VOTERS, 0] + 1j * xy[:N_VOTERS, 1])


def _coarse(reference: XY, frame: XY, kind: TransformType) -> Affine:
    ref, cat = _complex(reference), _complex(frame)
    if kind == "translation" or min(len(ref), len(cat)) < 3:
        b, _ = _vote_shifts(ref, cat, MATCH_RADIUS)
        a = complex(1.0, 0.0)
    else:
        a, b, _ = _vote_pairs(ref, cat, MATCH_RADIUS, SCALE_RANGE)
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def nearest_pairs(predicted: XY, frame: XY, radius: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pair stars that are each other's nearest and no farther apart than ``radius``."""
    distance = np.hypot(predicted[:, None, 0] - frame[None, :, 0], predicted[:, None, 1] - frame[None, :, 1])
    there, back = distance.argmin(axis=1), distance.argmin(axis=0)
    own = np.arange(len(predicted))
    good = (back[there] == own) & (distance[own, there] <= radius)
    return own[good], there[good]


def match_stars(
    reference: XY,
    frame: XY,
    fluxes: tuple[NDArray[np.float64], NDArray[np.float64]],
    shape: tuple[int, int],
    kind: TransformType = "affine",
) -> Match | None:
    """Transform between two star lists with no prior knowledge of it, flips and drifts included.

    Parameters
    ----------
    reference, frame : ndarray, shapes (n, 2) and (m, 2) [pixel]
        Stars, brightest first; the 20 brightest of each vote, all refine.
    fluxes : tuple of ndarray
        Fluxes of either list; true matches have similar ratios.
    shape : tuple of int
        (rows, columns) of the frames.
    kind : {'affine', 'translation'}
        What to fit; fewer than three stars in either list leave only a shift.

    Returns
    -------
    Match or None
        None if too few stars agree: fewer than 40 % of those that could, or than three where both lists hold
        three, or their flux ratios are all over the place.
    """
    if len(reference) == 0 or len(frame) == 0:
        return None
    affine, pairs = _refine(reference, frame, _coarse(reference, frame, kind), kind)
    i, k = pairs
    if not _credible(reference, frame, affine, pairs, fluxes, shape):
        return None
    distance = np.hypot(*(frame[k] - apply(affine, reference[i])).T)
    return Match(affine, i, k, float(np.sqrt(np.mean(distance**2))))


def _refine(
    reference: XY, frame: XY, affine: Affine, kind: TransformType
) -> tuple[Affine, tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Pair nearest stars and fit, again and again until the pairs stay."""
    pairs = nearest_pairs(apply(affine, reference), frame, MATCH_RADIUS)
    for _ in range(10):
        i, k = pairs
        if len(i) == 0:
            break
        affine, kept, _ = robust_fit(reference[i], frame[k], np.ones(len(i)), affine, kind)
        i, k = nearest_pairs(apply(affine, reference), frame, MATCH_RADIUS / 2)
        if np.array_equal(i, pairs[0]) and np.array_equal(k, pairs[1]):
            pairs = i[kept], k[kept]
            break
        pairs = i, k
    return affine, pairs


def _credible(
    reference: XY,
    frame: XY,
    affine: Affine,
    pairs: tuple[NDArray[np.intp], NDArray[np.intp]],
    fluxes: tuple[NDArray[np.float64], NDArray[np.float64]],
    shape: tuple[int, int],
) -> bool:
    i, k = pairs
    visible = int(inside(apply(affine, reference), shape).sum())
    possible = min(visible, int(inside(apply(invert(affine), frame), shape).sum()))
    enough = max(min(3, len(reference), len(frame)), math.ceil(0.4 * possible))
    if len(i) < enough or (len(i) == 1 and len(reference) > 1):
        return False
    ratio = np.log(fluxes[1][k] / fluxes[0][i])
    return bool(np.median(np.abs(ratio - np.median(ratio))) < _LOG_FLUX_SPREAD)
