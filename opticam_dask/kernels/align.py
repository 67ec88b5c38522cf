"""Similarity transforms between star lists: fits, and matching from nothing by voting.

Frames of one camera differ by shift, rotation and a scale close to one. With so strong a prior every pair of
reference stars can be tried on every pair of frame stars of the same length and the hypothesis that most
stars support wins: exhaustive, so it gives the same answer each time, which a random search does not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numba
import numpy as np
from numpy.typing import NDArray

from opticam_dask.types import XY, Affine

TransformType = Literal["affine", "translation"]

MATCH_RADIUS = 3.0
"""Stars this near to their predicted place support a hypothesis [pixel]."""
SCALE_RANGE = 0.05
"""Largest departure of the scale from one that is tried."""
N_VOTERS = 20
_FLOOR = 0.3  # residuals below this are never rejected [pixel]
_MIN_FOR_SHEAR = 8
_SHEAR_GAIN = 0.7
_LOG_FLUX_SPREAD = 0.5  # largest typical spread of ln(flux ratio) among true matches

IDENTITY: Affine = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


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


def apply(affine: Affine, xy: XY) -> XY:
    """Positions in the frame of positions in the reference, shape (n, 2) [pixel]."""
    return np.asarray(xy @ affine[:, :2].T + affine[:, 2])


def invert(affine: Affine) -> Affine:
    """Transform from the frame into the reference."""
    inverse = np.linalg.inv(affine[:, :2])
    return np.column_stack([inverse, -inverse @ affine[:, 2]])


def rotation_deg(affine: Affine) -> float:
    """Rotation of the frame against the reference [degrees], counter-clockwise, within (-180, 180]."""
    return math.degrees(math.atan2(affine[1, 0] - affine[0, 1], affine[0, 0] + affine[1, 1]))


def scale_of(affine: Affine) -> float:
    """Scale of the frame relative to the reference."""
    return math.sqrt(abs(float(np.linalg.det(affine[:, :2]))))


def centre_shift(affine: Affine, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Shift (x, y) of the reference's centre [pixel]; unlike the offset it does not mix with rotation."""
    centre = np.array([(shape[1] - 1) / 2.0, (shape[0] - 1) / 2.0])
    return np.asarray(apply(affine, centre[None])[0] - centre)


def inside(xy: XY, shape: tuple[int, int], margin: float = 0.0) -> NDArray[np.bool_]:
    """Which positions lie on a frame of this shape, ``margin`` pixels away from its edges."""
    limit = np.array([shape[1] - 1.0, shape[0] - 1.0]) - margin
    return np.asarray(((xy >= margin) & (xy <= limit)).all(axis=1))


def fit_similarity(source: XY, target: XY, weights: NDArray[np.float64]) -> Affine:
    """Weighted least-squares shift, rotation and scale from two or more pairs.

    In the complex plane the transform is ``w = a z + b``, linear in a and b.
    """
    z, w = source[:, 0] + 1j * source[:, 1], target[:, 0] + 1j * target[:, 1]
    total = weights.sum()
    z0, w0 = (weights * z).sum() / total, (weights * w).sum() / total
    a = (weights * np.conj(z - z0) * (w - w0)).sum() / (weights * np.abs(z - z0) ** 2).sum()
    b = w0 - a * z0
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def fit_shift(source: XY, target: XY, weights: NDArray[np.float64], linear: NDArray[np.float64]) -> Affine:
    """Weighted mean shift after the linear map ``linear`` (2, 2), which is kept."""
    shift = (weights[:, None] * (target - source @ linear.T)).sum(axis=0) / weights.sum()
    return np.column_stack([linear, shift])


def fit_affine(source: XY, target: XY, weights: NDArray[np.float64]) -> Affine:
    """Weighted least-squares transform with all six numbers free, from three or more pairs not in a line."""
    root = np.sqrt(weights)[:, None]
    centre = np.average(source, axis=0, weights=weights)  # keeps the system well conditioned
    design = np.column_stack([source - centre, np.ones(len(source))])
    solution = np.linalg.lstsq(design * root, target * root, rcond=None)[0]
    linear = solution[:2].T
    return np.column_stack([linear, solution[2] - linear @ centre])


def _fit(source: XY, target: XY, weights: NDArray[np.float64], start: Affine, kind: TransformType) -> Affine:
    if kind == "translation" or len(source) < 3:
        return fit_shift(source, target, weights, start[:, :2])
    similarity = fit_similarity(source, target, weights)
    if len(source) < _MIN_FOR_SHEAR:
        return similarity
    affine = fit_affine(source, target, weights)
    return affine if _is_better(affine, similarity, source, target, weights) else similarity


def _is_better(
    affine: Affine, similarity: Affine, source: XY, target: XY, weights: NDArray[np.float64]
) -> bool:
    """Whether six numbers explain the places clearly better than four, each per degree of freedom."""
    chi2 = [(weights * ((target - apply(a, source)) ** 2).sum(axis=1)).sum() for a in (affine, similarity)]
    n = 2 * len(source)
    return bool(chi2[0] / (n - 6) < _SHEAR_GAIN * chi2[1] / (n - 4))


def robust_fit(
    source: XY,
    target: XY,
    weights: NDArray[np.float64],
    start: Affine,
    kind: TransformType,
) -> tuple[Affine, NDArray[np.bool_], float]:
    """Fit with outliers rejected at 3 sigma until the set of pairs is stable.

    The fit is a similarity; with eight stars or more, and if these clearly ask for it, it is a full affine
    transform: refraction squeezes wide fields in altitude.
    The first set are the pairs whose offset from ``start`` is near the median offset. Fewer than three pairs,
    or ``kind='translation'``, fit a shift and keep the linear part of ``start``.

    Returns
    -------
    affine : ndarray, shape (2, 3)
    kept : ndarray of bool
    residual : float
        Root mean square distance of the kept pairs [pixel].
    """
    offset = target - apply(start, source)
    distance = np.hypot(*(offset - np.median(offset, axis=0)).T)
    kept = distance <= max(2.0, 3.0 * float(np.median(distance)))
    affine, residual = start, math.nan
    for _ in range(20):
        s, t, w = source[kept], target[kept], weights[kept]
        affine = _fit(s, t, w, start, kind)
        distance = np.hypot(*(target - apply(affine, source)).T)
        residual = float(np.sqrt(np.mean(distance[kept] ** 2)))
        again = distance <= max(_FLOOR, 3.0 * 1.2 * float(np.median(distance[kept])))
        if np.array_equal(again, kept) or not again.any():
            break
        kept = again
    return affine, kept, residual


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
