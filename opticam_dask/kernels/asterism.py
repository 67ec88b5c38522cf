"""Find the transform between two lists of stars by votes of pairs, judged by what chance would give.

Each pair of sources on each pair of objects is a hypothesis, unless scale, rotation or parity forbid it. It
is as good as the logarithm of the number of false alarms of its best k sources [1]_: how many hypotheses of
so many sources so near to objects would be met if the sources were spread at random. That weighs few close
matches against many loose ones without a radius to choose.

References
----------
.. [1] Moisan & Stival 2004, International Journal of Computer Vision 57, 201.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from opticam_dask.types import XY, Affine

FLOOR_PX = 0.3
"""Distances below this say no more than this one [pixel of the sources]."""
RADIUS_PX = 3.0
"""Sources farther from an object than this do not support a hypothesis [pixel of the sources]."""


@numba.njit(cache=True, nogil=True)
def log_false_alarms(distance: Any, n: int, used: int, density: float) -> tuple[float, int]:
    """Log10 of the number of false alarms per hypothesis of the best of sorted distances, and their number.

    ``distance`` holds the distances of the sources with an object near, rising [pixel]; ``n`` is the number
    of all sources, ``used`` how many of them any hypothesis fits; ``density`` is objects per square pixel.
    """
    best, best_k, combinations = 0.0, used, 0.0
    for k in range(used + 1, len(distance) + 1):
        drawn = k - used
        combinations += math.log10((n - used - drawn + 1) / drawn)
        r = max(distance[k - 1], FLOOR_PX)
        chance = min(1.0, density * math.pi * r * r)
        value = math.log10(n - used) + combinations + drawn * math.log10(chance)
        if value < best:
            best, best_k = value, k
    return best, best_k


@numba.njit(cache=True, nogil=True)
def _score(sources: Any, objects: Any, frame: Any, a: complex, b: complex, used: int) -> float:
    """Score a hypothesis; sources and the frame's corners are mirrored already where it mirrors."""
    scale, count, covered = abs(a), 0, 0
    near = np.empty(len(sources))
    for i in range(len(sources)):
        place = a * sources[i] + b
        least = (RADIUS_PX * scale) ** 2
        hit = False
        for k in range(len(objects)):
            dx, dy = objects[k].real - place.real, objects[k].imag - place.imag
            r2 = dx * dx + dy * dy
            if r2 <= least:
                least, hit = r2, True
        if hit:
            near[count] = math.sqrt(least) / scale
            count += 1
    if count <= used:
        return 0.0
    for k in range(len(objects)):
        back = (objects[k] - b) / a
        inside_x = frame[0].real <= back.real <= frame[1].real
        covered += inside_x and frame[0].imag <= back.imag <= frame[1].imag
    size = frame[1] - frame[0]
    density = max(covered, count) / (size.real * size.imag)
    return log_false_alarms(np.sort(near[:count]), len(sources), used, density)[0]


@numba.njit(cache=True, nogil=True)
def _allowed(a: complex, turn: float, width: float) -> bool:
    """Whether a rotation is within limits; a meridian flip, half a turn, always is."""
    off = math.atan2(a.imag, a.real) - turn
    return abs(off - math.pi * round(off / math.pi)) <= width


@numba.njit(cache=True, nogil=True)
def _vote_pairs(
    sources: Any, objects: Any, frame: Any, scale: Any, turn: float, width: float, shortest: float
) -> tuple[complex, complex, float, int]:
    best_a, best_b, best, tried = complex(1.0, 0.0), complex(0.0, 0.0), 0.0, 0
    for i in range(len(sources)):
        for j in range(i + 1, len(sources)):
            baseline = sources[j] - sources[i]
            length = abs(baseline)
            if length < shortest:
                continue
            least, most = (scale[0] * length) ** 2, (scale[1] * length) ** 2
            for k in range(len(objects)):
                for m in range(len(objects)):
                    apart = objects[m] - objects[k]
                    squared = apart.real * apart.real + apart.imag * apart.imag
                    if m == k or not least <= squared <= most:
                        continue
                    a = apart / baseline
                    if not _allowed(a, turn, width):
                        continue
                    tried += 1
                    b = objects[k] - a * sources[i]
                    score = _score(sources, objects, frame, a, b, 2)
                    if score < best:
                        best_a, best_b, best = a, b, score
    return best_a, best_b, best, tried


@numba.njit(cache=True, nogil=True)
def _vote_shifts(
    sources: Any, objects: Any, frame: Any, a: complex, b: complex, reach: float
) -> tuple[complex, float, int]:
    best_b, best, tried = b, 0.0, 0
    for i in range(len(sources)):
        for k in range(len(objects)):
            shifted = objects[k] - a * sources[i]
            if abs(shifted - b) > reach:
                continue
            tried += 1
            score = _score(sources, objects, frame, a, shifted, 1)
            if score < best:
                best_b, best = shifted, score
    return best_b, best, tried


def _complex(xy: XY, mirrored: bool = False) -> NDArray[np.complex128]:
    return np.ascontiguousarray(xy[:, 0] + 1j * (-xy[:, 1] if mirrored else xy[:, 1]))


def _frame(shape: tuple[int, int], mirrored: bool) -> NDArray[np.complex128]:
    ny, nx = shape
    return np.array([complex(0, -ny if mirrored else 0), complex(nx, 0 if mirrored else ny)])


def as_affine(a: complex, b: complex, mirrored: bool) -> Affine:
    """Transform, shape (2, 3), of ``w = a z + b``, or with the conjugate of z if mirrored."""
    sign = -1.0 if mirrored else 1.0
    return np.array([[a.real, -a.imag * sign, b.real], [a.imag, a.real * sign, b.imag]])


def as_complex(affine: Affine) -> tuple[complex, complex, bool]:
    """Give the nearest ``w = a z + b`` and whether it takes the conjugate of z: undo `as_affine`."""
    mirrored = bool(np.linalg.det(affine[:, :2]) < 0)
    sign = -1.0 if mirrored else 1.0
    a = complex(affine[0, 0] + sign * affine[1, 1], affine[1, 0] - sign * affine[0, 1]) / 2.0
    return a, complex(affine[0, 2], affine[1, 2]), mirrored


def vote_pairs(
    sources: XY,
    objects: XY,
    shape: tuple[int, int],
    *,
    mirrored: bool,
    scale: tuple[float, float],
    turn_rad: float = 0.0,
    width_rad: float = math.pi,
) -> tuple[Affine, float, int]:
    """Best transform of sources to objects among those that pairs suggest.

    Parameters
    ----------
    sources, objects : ndarray, shapes (n, 2) and (m, 2) [pixel]
        The two lists.
    shape : tuple of int
        (rows, columns) of the frame of the sources.
    mirrored : bool
        Whether the transform mirrors.
    scale : tuple of float
        Smallest and largest length in the objects' pixels of a pixel of the sources.
    turn_rad, width_rad : float
        Rotation and how far it may be from that, modulo half a turn [rad].

    Returns
    -------
    affine : ndarray, shape (2, 3)
        From sources to objects.
    score : float
        Log10 of the number of false alarms per hypothesis; 0 if none is any good.
    tried : int
        Hypotheses.
    """
    z, frame = _complex(sources, mirrored), _frame(shape, mirrored)
    shortest = 0.1 * min(shape)
    a, b, score, tried = _vote_pairs(z, _complex(objects), frame, scale, turn_rad, width_rad, shortest)
    return as_affine(a, b, mirrored), score, tried


def vote_shifts(
    sources: XY, objects: XY, shape: tuple[int, int], start: Affine, reach: float
) -> tuple[Affine, float, int]:
    """Best transform of sources to objects among shifts of a known one, no farther than ``reach`` [pixel]."""
    a, b, mirrored = as_complex(start)
    z, frame = _complex(sources, mirrored), _frame(shape, mirrored)
    shift, score, tried = _vote_shifts(z, _complex(objects), frame, a, b, reach)
    return as_affine(a, shift, mirrored), score, tried
