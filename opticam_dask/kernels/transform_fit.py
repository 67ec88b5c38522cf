"""Least-squares transforms from pairs of stars; a transform is (2, 3), from the reference into the frame."""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from opticam_dask.kernels.transform import TransformType, apply
from opticam_dask.types import XY, Affine

_FLOOR = 0.3  # residuals below this are never rejected [pixel]
_MIN_FOR_SHEAR = 8  # stars
_SHEAR_GAIN = 0.7  # of chi-square per degree of freedom
_ROUNDS = 20
_IN_A_LINE = 1e-9  # determinant over squared trace of the places' covariance


@numba.njit(cache=True, nogil=True)
def _moments(source: Any, target: Any, weights: Any) -> Any:
    """Weighted means (x, y) of both lists, then sums of products of the centred places.

    The products are xx, xy, yy of the source, and xX, yX, xY, yY with capitals for the target.
    """
    out, total = np.zeros(11), 0.0
    for n in range(len(weights)):
        total += weights[n]
        for axis in range(2):
            out[axis] += weights[n] * source[n, axis]
            out[2 + axis] += weights[n] * target[n, axis]
    for n in range(4):
        out[n] /= total
    for n in range(len(weights)):
        x, y = source[n, 0] - out[0], source[n, 1] - out[1]
        tx, ty = weights[n] * (target[n, 0] - out[2]), weights[n] * (target[n, 1] - out[3])
        out[4] += weights[n] * x * x
        out[5] += weights[n] * x * y
        out[6] += weights[n] * y * y
        out[7] += x * tx
        out[8] += y * tx
        out[9] += x * ty
        out[10] += y * ty
    return out


@numba.njit(cache=True, nogil=True)
def _about(means: Any, a11: float, a12: float, a21: float, a22: float) -> Any:
    """Transform of a linear part that takes one mean into the other."""
    affine = np.empty((2, 3))
    affine[0, 0], affine[0, 1], affine[0, 2] = a11, a12, means[2] - a11 * means[0] - a12 * means[1]
    affine[1, 0], affine[1, 1], affine[1, 2] = a21, a22, means[3] - a21 * means[0] - a22 * means[1]
    return affine


@numba.njit(cache=True, nogil=True)
def fit_similarity(source: Any, target: Any, weights: Any) -> Any:
    """Weighted least-squares shift, rotation and scale from two or more pairs.

    In the complex plane the transform is ``w = a z + b``, linear in a and b.
    """
    m = _moments(source, target, weights)
    power = m[4] + m[6]
    if not power > 0.0:
        return np.full((2, 3), np.nan)
    real, imaginary = (m[7] + m[10]) / power, (m[9] - m[8]) / power
    return _about(m, real, -imaginary, imaginary, real)


@numba.njit(cache=True, nogil=True)
def fit_shift(source: Any, target: Any, weights: Any, start: Any) -> Any:
    """Weighted mean shift after the linear part of ``start``, which is kept."""
    m = _moments(source, target, weights)
    return _about(m, start[0, 0], start[0, 1], start[1, 0], start[1, 1])


@numba.njit(cache=True, nogil=True)
def fit_rotation(source: Any, target: Any, weights: Any) -> Any:
    """Weighted least-squares shift and rotation, of scale one, from two or more pairs."""
    m = _moments(source, target, weights)
    angle = math.atan2(m[9] - m[8], m[7] + m[10])
    return _about(m, math.cos(angle), -math.sin(angle), math.sin(angle), math.cos(angle))


@numba.njit(cache=True, nogil=True)
def fit_affine(source: Any, target: Any, weights: Any) -> Any:
    """Weighted least-squares transform with all six numbers free; NaN if all places lie in a line."""
    m = _moments(source, target, weights)
    det = m[4] * m[6] - m[5] * m[5]
    if not det > _IN_A_LINE * (m[4] + m[6]) ** 2:
        return np.full((2, 3), np.nan)
    return _about(
        m,
        (m[6] * m[7] - m[5] * m[8]) / det,
        (m[4] * m[8] - m[5] * m[7]) / det,
        (m[6] * m[9] - m[5] * m[10]) / det,
        (m[4] * m[10] - m[5] * m[9]) / det,
    )


@numba.njit(cache=True, nogil=True)
def _distances(affine: Any, source: Any, target: Any) -> Any:
    """How far the targets are from where the transform takes the sources [pixel]."""
    out = np.empty(len(source))
    for n in range(len(source)):
        x = affine[0, 0] * source[n, 0] + affine[0, 1] * source[n, 1] + affine[0, 2]
        y = affine[1, 0] * source[n, 0] + affine[1, 1] * source[n, 1] + affine[1, 2]
        out[n] = math.hypot(target[n, 0] - x, target[n, 1] - y)
    return out


def _rms(values: NDArray[np.float64]) -> float:
    return math.sqrt(float(np.mean(values**2)))


def _fit(source: XY, target: XY, weights: NDArray[np.float64], start: Affine, only_shift: bool) -> Affine:
    # the loop over rounds is plain Python: compiled, it would take seconds of every first run
    n = len(source)
    if only_shift or n < 3:
        shift: Affine = fit_shift(source, target, weights, start)
        if only_shift or n < 2 or _rms(_distances(shift, source, target)) <= _FLOOR:
            return shift
        turned: Affine = fit_rotation(source, target, weights)
        return turned if _rms(_distances(turned, source, target)) <= _FLOOR else shift
    similarity: Affine = fit_similarity(source, target, weights)
    if n < _MIN_FOR_SHEAR:
        return similarity
    # six numbers must explain the places clearly better than four, each per degree of freedom
    affine: Affine = fit_affine(source, target, weights)
    six = float((weights * _distances(affine, source, target) ** 2).sum()) / (2 * n - 6)
    four = float((weights * _distances(similarity, source, target) ** 2).sum()) / (2 * n - 4)
    return affine if six < _SHEAR_GAIN * four else similarity


def _near_the_median_offset(source: XY, target: XY, start: Affine) -> NDArray[np.bool_]:
    offset = target - apply(start, source)
    distance = np.hypot(*(offset - np.median(offset, axis=0)).T)
    return np.asarray(distance <= max(2.0, 3.0 * float(np.median(distance))))


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
    source, target = np.ascontiguousarray(source, np.float64), np.ascontiguousarray(target, np.float64)
    start, only_shift = np.ascontiguousarray(start, np.float64), kind == "translation"
    kept = _near_the_median_offset(source, target, start)
    affine, residual = start, math.nan
    for _ in range(_ROUNDS):
        affine = _fit(source[kept], target[kept], weights[kept], start, only_shift)
        distance = _distances(affine, source, target)
        residual = _rms(distance[kept])
        again = distance <= max(_FLOOR, 3.0 * 1.2 * float(np.median(distance[kept])))
        if np.array_equal(again, kept) or not again.any():
            break
        kept = again
    return affine, kept, residual
