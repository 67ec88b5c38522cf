"""A Gaussian star under a Gaussian weight; covariances are (xx, xy, yy) [pixel^2]."""

from __future__ import annotations

import math
from typing import Any

import numba

_LEAST_WEIGHT = 1.0
"""Least variance of a weight [pixel^2]: star times weight must not be narrower than pixels can sample."""


@numba.njit(cache=True, nogil=True)
def next_covariance(c: Any, weight: Any, m: Any) -> None:
    """Covariance of a Gaussian which, weighted by one of covariance ``weight``, has covariance ``c``.

    It goes into ``m``. The exact answer is ``inv(inv(c) - inv(weight))``; where noise makes that absurd the
    slower ``2 c`` serves, which has the same fixed point where the weight is like the star.
    """
    dc, dw = c[0] * c[2] - c[1] * c[1], weight[0] * weight[2] - weight[1] * weight[1]
    if dc <= 0.0:
        m *= 0.5
        return
    a, b, d = c[2] / dc - weight[2] / dw, -c[1] / dc + weight[1] / dw, c[0] / dc - weight[0] / dw
    det = a * d - b * b
    trace = weight[0] + weight[2]
    if a > 0.0 and d > 0.0 and det > 0.0 and 0.25 * trace < (a + d) / det < 4.0 * trace:
        m[0], m[1], m[2] = d / det, -b / det, a / det
    else:
        m[:] = 2.0 * c


@numba.njit(cache=True, nogil=True)
def widen(m: Any, weight: Any) -> None:
    """Covariance of the weight for a star of covariance ``m``: the same, unless that is too narrow."""
    narrow = 0.5 * (m[0] + m[2]) - math.hypot(0.5 * (m[0] - m[2]), m[1])
    more = max(_LEAST_WEIGHT - narrow, 0.0)
    weight[0], weight[1], weight[2] = m[0] + more, m[1], m[2] + more


@numba.njit(cache=True, nogil=True)
def held(m: Any, weight: Any) -> float:
    """Part of the flux of a Gaussian of covariance ``m`` that a weight holds; half if they are alike."""
    both = (m[0] + weight[0]) * (m[2] + weight[2]) - (m[1] + weight[1]) ** 2
    return math.sqrt((weight[0] * weight[2] - weight[1] ** 2) / both)
