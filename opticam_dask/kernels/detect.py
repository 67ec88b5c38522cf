"""Stars of one frame: peaks at several scales, measured by adaptive moments."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from opticam_dask.kernels.moments import STAR, axes_of, measure_stars
from opticam_dask.kernels.sky import (
    SKY_SAMPLES,
    Sky,
    brightest_neighbour,
    exceeds,
    isolated_pixels,
    means_around,
    sky_of_sample,
)
from opticam_dask.types import Image

SCALES = (1, 2, 4)
"""Binnings at which peaks are looked for: wide stars drown in the noise of single pixels."""

_MESH_BOXES = 8
_BOX_SAMPLES = 1024  # pixels of a box that tell its level and scatter
_RUN = 128  # pixels of a row looked at together
_MOST_PEAKS = 4096  # at one scale


@numba.njit(cache=True, nogil=True)
def _bad_pixels(image: Any, bad: Any) -> int:
    """Count the pixels that are not finite; their flat indices go into ``bad``, as far as there is room."""
    ny, nx = image.shape
    n = 0
    for y in range(ny):
        for start in range(0, nx, _RUN):
            stop = min(nx, start + _RUN)
            if _all_finite(image[y, start:stop]):
                continue
            for x in range(start, stop):
                if not np.isfinite(image[y, x]):
                    if n < len(bad):
                        bad[n] = y * nx + x
                    n += 1
    return n


@numba.njit(cache=True, nogil=True)
def _all_finite(values: Any) -> bool:
    bad = np.int32(0)
    for n in range(len(values)):
        bad += np.int32(not abs(values[n]) < np.float32(np.inf))
    return bad == 0


def _fill(image: NDArray[np.float32]) -> NDArray[np.int64]:
    """Replace bad pixels by the mean of the good ones that touch them, NaN where there are none; which."""
    bad = np.empty(_bad_pixels(image, np.empty(0, np.int64)), np.int64)
    _bad_pixels(image, bad)
    image.ravel()[bad] = means_around(image, bad)
    return bad


@numba.njit(cache=True, nogil=True)
def _halved(image: Any) -> Any:
    """Mean of 2 x 2 pixels; what is left over at the far edges is dropped."""
    ny, nx = image.shape[0] // 2, image.shape[1] // 2
    out = np.empty((ny, nx), np.float32)
    for y in range(ny):
        for x in range(nx):
            pair = image[2 * y, 2 * x] + image[2 * y, 2 * x + 1]
            out[y, x] = np.float32(0.25) * (pair + image[2 * y + 1, 2 * x] + image[2 * y + 1, 2 * x + 1])
    return out


@numba.njit(cache=True, nogil=True)
def smooth(image: Any, out: Any) -> None:
    """Binomial 3 x 3 smoothing into ``out``, what lies beyond the edges left out. NaN spreads by a pixel."""
    ny, nx = image.shape
    row = np.empty(nx, np.float32)
    half, quarter, third = np.float32(0.5), np.float32(0.25), np.float32(1.0 / 3.0)
    for y in range(ny):
        if 0 < y < ny - 1:
            above, below = image[y - 1], image[y + 1]
            for x in range(nx):
                row[x] = half * image[y, x] + quarter * (above[x] + below[x])
        else:
            near = image[1] if y == 0 else image[y - 1]
            for x in range(nx):
                row[x] = third * (image[y, x] + image[y, x] + near[x])
        line = out[y]
        for x in range(1, nx - 1):
            line[x] = half * row[x] + quarter * (row[x - 1] + row[x + 1])
        line[0] = third * (row[0] + row[0] + row[1])
        line[nx - 1] = third * (row[nx - 1] + row[nx - 1] + row[nx - 2])


def _mesh(image: NDArray[np.float32]) -> NDArray[np.float64]:
    """Level of each of about 8 x 8 boxes, as sky varies over the frame. Shape (rows, columns)."""
    edges = [np.linspace(0, n, max(1, min(_MESH_BOXES, n // 16)) + 1).astype(int) for n in image.shape]
    mesh = np.empty((len(edges[0]) - 1, len(edges[1]) - 1))
    for j, (top, bottom) in enumerate(pairwise(edges[0])):
        step = max(1, math.isqrt((bottom - top) * int(edges[1][1] - edges[1][0]) // _BOX_SAMPLES)) | 1
        for i, (left, right) in enumerate(pairwise(edges[1])):
            mesh[j, i] = sky_of_sample(image[top + step // 2 : bottom : step, left:right:step]).level
    known = np.isfinite(mesh)
    return np.where(known, mesh, np.median(mesh[known]) if known.any() else 0.0)


@numba.njit(cache=True, nogil=True)
def _stretched(mesh: Any, nx: int) -> Any:
    """Mesh interpolated along its rows to ``nx`` columns."""
    my, mx = mesh.shape
    out = np.empty((my, nx), np.float32)
    for x in range(nx):
        u = min(max((x + 0.5) * mx / nx - 0.5, 0.0), mx - 1.0)
        i = min(int(u), max(mx - 2, 0))
        i1 = min(i + 1, mx - 1)
        for j in range(my):
            out[j, x] = mesh[j, i] + (u - i) * (mesh[j, i1] - mesh[j, i])
    return out


@numba.njit(cache=True, nogil=True)
def _peaks(smoothed: Any, mesh: Any, threshold: float, out: Any, height: Any) -> int:
    ny, nx = smoothed.shape
    my = len(mesh)
    level, excess = _stretched(mesh, nx), np.empty(nx, np.float32)
    n = 0
    for y in range(1, ny - 1):
        v = min(max((y + 0.5) * my / ny - 0.5, 0.0), my - 1.0)
        j = min(int(v), max(my - 2, 0))
        part, low, high, row = np.float32(v - j), level[j], level[min(j + 1, my - 1)], smoothed[y]
        for x in range(nx):
            excess[x] = row[x] - (low[x] + part * (high[x] - low[x]))
        for start in range(1, nx - 1, _RUN):
            stop = min(nx - 1, start + _RUN)
            if not exceeds(excess[start:stop], np.float32(threshold)):
                continue
            for x in range(start, stop):
                if excess[x] > threshold and n < len(out) and brightest_neighbour(smoothed, x, y)[2]:
                    out[n, 0], out[n, 1], height[n] = x, y, excess[x]
                    n += 1
    return n


def _scatter(smoothed: NDArray[np.float32], mesh: NDArray[np.float64]) -> float:
    """Scatter of a smoothed image about its mesh, from a subsample."""
    step = max(1, math.isqrt(smoothed.size // SKY_SAMPLES)) | 1
    rows = np.ascontiguousarray(_stretched(mesh, smoothed.shape[1])[:, step // 2 :: step].T)
    level = _stretched(rows, smoothed.shape[0])[:, ::step].T
    return sky_of_sample(smoothed[::step, step // 2 :: step] - level).rms


def _candidates(image: NDArray[np.float32], scale: int, sigmas: float) -> NDArray[np.float64]:
    """Peaks of an image binned by ``scale`` as rows (significance, x, y, scale) in pixels of the frame."""
    if min(image.shape) < 8:
        return np.empty((0, 4))
    smoothed = np.empty_like(image)
    smooth(image, smoothed)
    mesh = _mesh(smoothed)
    noise = _scatter(smoothed, mesh)
    if not noise > 0:
        return np.empty((0, 4))
    places, height = np.empty((_MOST_PEAKS, 2), np.int64), np.empty(_MOST_PEAKS)
    n = _peaks(smoothed, mesh, sigmas * noise, places, height)
    xy = places[:n] * scale + (scale - 1) // 2
    return np.column_stack([height[:n] / noise, xy, np.full(n, scale)])


@numba.njit(cache=True, nogil=True)
def _best_scales(found: Any, limit: int, kept: Any) -> int:
    """Numbers of the peaks, of which the first are the most significant, that are near none before."""
    n = 0
    for k in range(len(found)):
        alone = True
        for m in kept[:n]:
            apart = max(abs(found[k, 1] - found[m, 1]), abs(found[k, 2] - found[m, 2]))
            if apart <= 2.5 * max(found[k, 3], found[m, 3]):
                alone = False
                break
        if alone:
            kept[n] = k
            n += 1
            if n == limit:
                break
    return n


def _merge(found: NDArray[np.float64], limit: int) -> NDArray[np.float64]:
    """Peaks most significant first, each at the scale that shows it best."""
    found = found[np.lexsort((found[:, 1], found[:, 2], -found[:, 0]))]
    kept = np.empty(limit, np.int64)
    return found[kept[: _best_scales(found, limit, kept)]]


def detect_stars(
    image: Image, sky: Sky, *, sigmas: float = 6.0, limit: int = 64
) -> tuple[NDArray[np.void], NDArray[np.int64]]:
    """Find and measure the stars of one frame, and its isolated pixels.

    Parameters
    ----------
    image : ndarray, shape (ny, nx) [adu]
        uint16, float32 or float64; NaN marks a bad pixel.
    sky : Sky
        Sky of the image.
    sigmas : float
        Threshold in the scatter of the smoothed image.
    limit : int
        Most stars to return.

    Returns
    -------
    stars : ndarray, dtype STAR
        Brightest first; all converged.
    isolated : ndarray of int64
        Flat indices of isolated pixels, see `isolated_pixels`.
    """
    isolated = isolated_pixels(image, sky)
    if not sky.rms > 0:
        return np.zeros(0, STAR), isolated
    clean = np.array(image, np.float32)
    clean.ravel()[isolated] = np.nan
    merged = _merge(_all_candidates(clean, sigmas), 2 * limit)
    stars = [
        measure_stars(
            clean,
            merged[merged[:, 3] == s, 1:3].astype(np.int64),
            sigma=1.5 * s,
            level=sky.level,
            noise=sky.rms,
        )
        for s in SCALES
    ]
    return _brightest(np.concatenate(stars), limit), isolated


def _all_candidates(clean: NDArray[np.float32], sigmas: float) -> NDArray[np.float64]:
    """Peaks at all scales; bad pixels are filled only in the meantime."""
    bad, binned = _fill(clean), clean
    found = [_candidates(binned, SCALES[0], sigmas)]
    for scale in SCALES[1:]:
        binned = _halved(binned)
        found.append(_candidates(binned, scale, sigmas))
    clean.ravel()[bad] = np.nan
    return np.concatenate(found)


def _brightest(stars: NDArray[np.void], limit: int) -> NDArray[np.void]:
    """Converged, significant, distinct stars, brightest first; ties in order of y, then x."""
    stars = stars[stars["converged"]]
    stars = stars[stars["snr"] >= 5.0]
    stars = stars[np.lexsort((stars["x"], stars["y"], -stars["flux"]))]
    major, _, _ = axes_of(stars["mxx"], stars["mxy"], stars["myy"])
    kept = np.empty(len(stars), np.int64)
    n = _distinct(stars["x"], stars["y"], np.maximum(major, 1.0), kept)
    return stars[kept[: min(n, limit)]]


@numba.njit(cache=True, nogil=True)
def _distinct(x: Any, y: Any, reach: Any, kept: Any) -> int:
    """Numbers of the stars near no brighter one: two peaks of one wide star converge to one place."""
    n = 0
    for k in range(len(x)):
        alone = True
        for m in kept[:n]:
            if math.hypot(x[k] - x[m], y[k] - y[m]) < reach[k]:
                alone = False
                break
        if alone:
            kept[n] = k
            n += 1
    return n
