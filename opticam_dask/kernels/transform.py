"""Transforms between frames: what they say, and least-squares fits to pairs of stars."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from opticam_dask.types import XY, Affine

TransformType = Literal["affine", "translation"]

_FLOOR = 0.3  # residuals below this are never rejected [pixel]
_MIN_FOR_SHEAR = 8  # stars
_SHEAR_GAIN = 0.7  # of chi-square per degree of freedom

IDENTITY: Affine = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


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


def fit_rotation(source: XY, target: XY, weights: NDArray[np.float64]) -> Affine:
    """Weighted least-squares shift and rotation, of scale one, from two or more pairs."""
    angle = math.radians(rotation_deg(fit_similarity(source, target, weights)))
    linear = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return fit_shift(source, target, weights, linear)


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
        shift = fit_shift(source, target, weights, start[:, :2])
        if kind == "translation" or len(source) < 2 or _rms(shift, source, target) <= _FLOOR:
            return shift
        turned = fit_rotation(source, target, weights)
        return turned if _rms(turned, source, target) <= _FLOOR else shift
    similarity = fit_similarity(source, target, weights)
    if len(source) < _MIN_FOR_SHEAR:
        return similarity
    affine = fit_affine(source, target, weights)
    return affine if _is_better(affine, similarity, source, target, weights) else similarity


def _rms(affine: Affine, source: XY, target: XY) -> float:
    return float(np.sqrt(np.mean(np.sum((target - apply(affine, source)) ** 2, axis=1))))


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
    or ``kind='translation'``, fit a shift and keep the linear part of ``start``; two pairs that no shift
    fits give a rotation as well.

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
        residual = _rms(affine, s, t)
        again = distance <= max(_FLOOR, 3.0 * 1.2 * float(np.median(distance[kept])))
        if np.array_equal(again, kept) or not again.any():
            break
        kept = again
    return affine, kept, residual
