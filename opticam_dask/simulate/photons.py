"""Poisson deviates of a whole image, exact and without holding the interpreter lock."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from opticam_dask.compiled import keep_compiled_code

keep_compiled_code()

LARGE_MEAN = 1000.0
"""Above this mean a rounded normal deviate stands for a Poisson one: their skewness differs by < 0.032."""

SMALL_MEAN = 10.0
"""Below this mean the deviates come from multiplying uniform ones."""

GUIDES = 1024
_ROTATE_23, _ROTATE_45 = np.uint64(23), np.uint64(45)
_BITS, _SHIFT_17, _SHIFT_11 = np.uint64(64), np.uint64(17), np.uint64(11)
_TO_UNIT = 2.0**-53


@njit(cache=True, nogil=True)
def _rotate(value: np.uint64, by: np.uint64) -> np.uint64:
    return (value << by) | (value >> (_BITS - by))


@njit(cache=True, nogil=True)
def _uniform(state: NDArray[np.uint64]) -> float:
    """Uniform deviate in [0, 1) by xoshiro256++ (Blackman and Vigna 2021)."""
    result = _rotate(state[0] + state[3], _ROTATE_23) + state[0]
    kept = state[1] << _SHIFT_17
    state[2] ^= state[0]
    state[3] ^= state[1]
    state[1] ^= state[2]
    state[0] ^= state[3]
    state[2] ^= kept
    state[3] = _rotate(state[3], _ROTATE_45)
    return float(result >> _SHIFT_11) * _TO_UNIT


@njit(cache=True, nogil=True)
def _normal(state: NDArray[np.uint64]) -> float:
    """Draw a normal deviate (Box and Muller)."""
    radius = math.sqrt(-2.0 * math.log(1.0 - _uniform(state)))
    return radius * math.cos(2.0 * math.pi * _uniform(state))


@njit(cache=True, nogil=True)
def _small(mean: float, state: NDArray[np.uint64]) -> float:
    limit, product, count = math.exp(-mean), _uniform(state), 0
    while product > limit:
        product *= _uniform(state)
        count += 1
    return float(count)


@njit(cache=True, nogil=True)
def _medium(mean: float, state: NDArray[np.uint64]) -> float:
    """Draw by transformed rejection with squeeze (algorithm PTRS of Hoermann 1993)."""
    b = 0.931 + 2.53 * math.sqrt(mean)
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    squeeze = 0.9277 - 3.6224 / (b - 2.0)
    while True:
        u, v = _uniform(state) - 0.5, _uniform(state)
        us = 0.5 - abs(u)
        if us <= 0.0:
            continue
        k = math.floor((2.0 * a / us + b) * u + mean + 0.43)
        if us >= 0.07 and v <= squeeze:
            return float(k)
        if k < 0.0 or v <= 0.0 or (us < 0.013 and v > us):
            continue
        left = math.log(v * inverse_alpha / (a / (us * us) + b))
        if left <= k * math.log(mean) - mean - math.lgamma(k + 1.0):
            return float(k)


@njit(cache=True, nogil=True)
def _deviate(mean: float, state: NDArray[np.uint64]) -> float:
    if not mean > 0.0:
        return 0.0
    if mean < SMALL_MEAN:
        return _small(mean, state)
    if mean <= LARGE_MEAN:
        return _medium(mean, state)
    return float(np.rint(mean + math.sqrt(mean) * _normal(state)))


@njit(cache=True, nogil=True)
def _table(mean: float) -> tuple[int, NDArray[np.float64], NDArray[np.int64]]:
    """First count, cumulative distribution, and where to begin looking in it, for one mean."""
    reach = 10.0 * math.sqrt(mean) + 20.0
    first = int(max(0.0, math.floor(mean - reach)))
    size = math.ceil(mean + reach) - first + 1
    cumulative = np.empty(size)
    total = 0.0
    for k in range(size):
        count = float(first + k)
        total += math.exp(count * math.log(mean) - mean - math.lgamma(count + 1.0))
        cumulative[k] = total
    cumulative /= total
    guides = np.empty(GUIDES, np.int64)
    k = 0
    for g in range(GUIDES):
        while cumulative[k] <= g / GUIDES:
            k += 1
        guides[g] = k
    return first, cumulative, guides


@njit(cache=True, nogil=True)
def poisson_inplace(image: NDArray[np.float64], common: float, state: NDArray[np.uint64]) -> None:
    """Replace every mean of an image by a Poisson deviate.

    Parameters
    ----------
    image : ndarray, shape (ny, nx), float64
        Means; replaced by deviates. Zero or less gives 0.
    common : float
        A mean that most pixels have (the empty sky): its deviates come from a table by inversion.
        Any value gives a right answer.
    state : ndarray, shape (4,), uint64
        State of the random stream, not all zero; changed in place.
    """
    tabled = 0.0 < common <= LARGE_MEAN
    first, cumulative, guides = _table(common if tabled else 1.0)
    for j in range(image.shape[0]):
        for i in range(image.shape[1]):
            mean = image[j, i]
            if tabled and mean == common:
                u = _uniform(state)
                k = guides[int(u * GUIDES)]
                while cumulative[k] <= u and k < cumulative.size - 1:
                    k += 1
                image[j, i] = float(first + k)
            else:
                image[j, i] = _deviate(mean, state)
