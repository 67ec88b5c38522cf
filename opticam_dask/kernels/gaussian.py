"""Elliptical Gaussians on a pixel grid, with few exponentials."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

_LARGEST = 600.0  # exponent of a factor: exp(700) is too large a number
_STEEPEST = 10.0  # of a Gaussian's fall along a row through its centre, relative to that along its ridge


@njit(cache=True, nogil=True)
def quadratic_form(a2, b2, theta):
    """Coefficients of dx^2, dx dy and dy^2 in (u/a)^2 + (v/b)^2, u and v along the axes."""
    cos, sin = math.cos(theta), math.sin(theta)
    return (
        cos * cos / a2 + sin * sin / b2,
        2.0 * cos * sin * (1.0 / a2 - 1.0 / b2),
        sin * sin / a2 + cos * cos / b2,
    )


@njit(cache=True, nogil=True)
def form_at(form, dx, dy):
    """Quadratic form at a place."""
    return form[0] * dx * dx + form[1] * dx * dy + form[2] * dy * dy


@njit(cache=True, nogil=True)
def fill_gaussian(out, x, y, form):
    """Fill with exp(-form / 2) of the distance from (``x``, ``y``), right to about 1e-13.

    Each row is the one before times factors that change from row to row by one constant factor. Not so where
    a Gaussian is long and inclined: the row through its centre falls to nothing before its ridge does.
    """
    height, width = out.shape
    middle = min(max(math.floor(y + 0.5), 0), height - 1)
    dy, bend = middle - y, math.exp(-form[2])
    largest = abs(form[1]) * max(abs(x), abs(width - x)) + form[2] * (2.0 * abs(dy) + 1.0)
    fall = form[0] * form[2] / max(form[0] * form[2] - 0.25 * form[1] * form[1], 1e-300)
    if largest > _LARGEST or fall > _STEEPEST:
        for j in range(height):
            for i in range(width):
                out[j, i] = math.exp(-0.5 * form_at(form, i - x, j - y))
        return
    upward, downward = np.empty(width), np.empty(width)
    factor = math.exp(0.5 * (form[1] * x - form[2] * (2.0 * dy + 1.0)))
    slope = math.exp(-0.5 * form[1])
    for i in range(width):
        out[middle, i] = math.exp(-0.5 * form_at(form, i - x, dy))
        upward[i] = factor
        factor *= slope
    for i in range(width):
        downward[i] = bend / upward[i]
    for j in range(middle + 1, height):
        _next_row(out[j - 1], upward, bend, out[j])
    for j in range(middle - 1, -1, -1):
        _next_row(out[j + 1], downward, bend, out[j])


@njit(cache=True, nogil=True)
def _next_row(row, factor, bend, out):
    """Multiply a row by factors, and the factors by a constant."""
    for i in range(out.size):
        out[i] = row[i] * factor[i]
        factor[i] *= bend
