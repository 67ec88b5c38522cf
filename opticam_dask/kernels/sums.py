"""Sums whose parts need not wait for each other; always in the same order."""

from __future__ import annotations

from numba import njit


@njit(cache=True, nogil=True)
def dot(one, other):
    """Sum of the products of two arrays of one length."""
    fourths = one.size // 4
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    for i in range(fourths):
        a += one[4 * i] * other[4 * i]
        b += one[4 * i + 1] * other[4 * i + 1]
        c += one[4 * i + 2] * other[4 * i + 2]
        d += one[4 * i + 3] * other[4 * i + 3]
    for i in range(4 * fourths, one.size):
        a += one[i] * other[i]
    return (a + b) + (c + d)


@njit(cache=True, nogil=True)
def moments_about(values, origin):
    """Sum, and sum of squares, of values less an origin."""
    fourths = values.size // 4
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    e, f, g, h = 0.0, 0.0, 0.0, 0.0
    for i in range(fourths):
        p, q = values[4 * i] - origin, values[4 * i + 1] - origin
        r, s = values[4 * i + 2] - origin, values[4 * i + 3] - origin
        a, b, c, d = a + p, b + q, c + r, d + s
        e, f, g, h = e + p * p, f + q * q, g + r * r, h + s * s
    for i in range(4 * fourths, values.size):
        p = values[i] - origin
        a, e = a + p, e + p * p
    return (a + b) + (c + d), (e + f) + (g + h)
