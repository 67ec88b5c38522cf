"""Stars of one frame: peaks at several scales, measured by adaptive moments."""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from opticam_dask.kernels.moments import STAR, axes_of, measure_stars
from opticam_dask.kernels.sky import SKY_SAMPLES, Sky, brightest_neighbour, isolated_pixels, sky_of, without
from opticam_dask.types import Image

SCALES = (1, 2, 4)
"""Binnings at which peaks are looked for: wide stars drown in the noise of single pixels."""

_MESH_BOXES = 8


def _binned(image: Image, scale: int) -> NDArray[np.float32]:
    """Mean of ``scale`` x ``scale`` pixels, bad ones left out; the rest at the far edges is dropped."""
    ny, nx = (n // scale for n in image.shape)
    if scale == 1:
        return image.astype(np.float32)
    return _bin_mean(image, scale, ny, nx)


@numba.njit(cache=True, nogil=True)
def _bin_mean(image: Any, scale: int, ny: int, nx: int) -> Any:
    out = np.empty((ny, nx), np.float32)
    for y in range(ny):
        for x in range(nx):
            total, n = 0.0, 0
            for j in range(scale):
                for i in range(scale):
                    value = float(image[y * scale + j, x * scale + i])
                    if np.isfinite(value):
                        total += value
                        n += 1
            out[y, x] = total / n if n > 0 else np.nan
    return out


@numba.njit(cache=True, nogil=True)
def smooth(image: Any, out: Any) -> None:
    """Binomial 3 x 3 smoothing, bad pixels left out, into ``out``; NaN where no pixel is finite."""
    ny, nx = image.shape
    for y in range(ny):
        for x in range(nx):
            total, weight = 0.0, 0.0
            for j in range(max(0, y - 1), min(ny, y + 2)):
                for i in range(max(0, x - 1), min(nx, x + 2)):
                    value = float(image[j, i])
                    if np.isfinite(value):
                        w = (2.0 if j == y else 1.0) * (2.0 if i == x else 1.0)
                        total += w * value
                        weight += w
            out[y, x] = total / weight if weight > 0.0 else np.nan


def _mesh(image: NDArray[np.float32]) -> NDArray[np.float64]:
    """Median of each of about 8 x 8 boxes: sky that varies over the frame. Shape (rows, columns)."""
    boxes = [np.array_split(np.arange(n), max(1, min(_MESH_BOXES, n // 16))) for n in image.shape]
    mesh = np.empty((len(boxes[0]), len(boxes[1])))
    for j, rows in enumerate(boxes[0]):
        for i, columns in enumerate(boxes[1]):
            box = image[rows[0] : rows[-1] + 1 : 2, columns[0] : columns[-1] + 1 : 2]
            finite = box[np.isfinite(box)]
            mesh[j, i] = np.median(finite) if finite.size else np.nan
    return np.where(np.isfinite(mesh), mesh, np.nanmedian(mesh) if np.isfinite(mesh).any() else 0.0)


@numba.njit(cache=True, nogil=True)
def _peaks(smoothed: Any, mesh: Any, threshold: float, out: Any, height: Any) -> int:
    ny, nx = smoothed.shape
    my, mx = mesh.shape
    n = 0
    for y in range(1, ny - 1):
        v = min(max((y + 0.5) * my / ny - 0.5, 0.0), my - 1.0)
        j = min(int(v), max(my - 2, 0))
        j1 = min(j + 1, my - 1)
        for x in range(1, nx - 1):
            value = smoothed[y, x]
            u = min(max((x + 0.5) * mx / nx - 0.5, 0.0), mx - 1.0)
            i = min(int(u), max(mx - 2, 0))
            i1 = min(i + 1, mx - 1)
            low = mesh[j, i] + (u - i) * (mesh[j, i1] - mesh[j, i])
            high = mesh[j1, i] + (u - i) * (mesh[j1, i1] - mesh[j1, i])
            excess = value - (low + (v - j) * (high - low))
            if excess > threshold and n < len(out):
                _, _, highest = brightest_neighbour(smoothed, x, y)
                if highest:
                    out[n, 0], out[n, 1], height[n] = x, y, excess
                    n += 1
    return n


def _scatter(smoothed: NDArray[np.float32], mesh: NDArray[np.float64]) -> float:
    """Scatter of a smoothed image about its mesh, from a subsample."""
    flat = Sky(float(np.median(mesh)), 0.0)
    rows = np.linspace(0, mesh.shape[0] - 1, smoothed.shape[0]).round().astype(int)
    columns = np.linspace(0, mesh.shape[1] - 1, smoothed.shape[1]).round().astype(int)
    step = max(1, math.isqrt(smoothed.size // SKY_SAMPLES))
    residual = smoothed[::step, ::step] - mesh[np.ix_(rows[::step], columns[::step])]
    return sky_of(np.ascontiguousarray(residual + flat.level)).rms


def _candidates(image: Image, scale: int, sigmas: float) -> NDArray[np.float64]:
    """Peaks at one scale as rows (significance, x, y, scale) in pixels of the image."""
    if min(image.shape) < 8 * scale:
        return np.empty((0, 4))
    binned = _binned(image, scale)
    smoothed = np.empty_like(binned)
    smooth(binned, smoothed)
    mesh = _mesh(smoothed)
    noise = _scatter(smoothed, mesh)
    if not noise > 0:
        return np.empty((0, 4))
    places, height = np.empty((4096, 2), np.int64), np.empty(4096)
    n = _peaks(smoothed, mesh, sigmas * noise, places, height)
    xy = places[:n] * scale + (scale - 1) // 2
    return np.column_stack([height[:n] / noise, xy, np.full(n, scale)])


def _merge(found: NDArray[np.float64], limit: int) -> NDArray[np.float64]:
    """Peaks most significant first, each at the scale that shows it best."""
    found = found[np.lexsort((found[:, 1], found[:, 2], -found[:, 0]))]
    kept: list[NDArray[np.float64]] = []
    for row in found:
        reach = [2.5 * max(row[3], other[3]) for other in kept]
        apart = [max(abs(row[1] - other[1]), abs(row[2] - other[2])) for other in kept]
        if all(a > r for a, r in zip(apart, reach, strict=True)):
            kept.append(row)
        if len(kept) == limit:
            break
    return np.array(kept).reshape(-1, 4)


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
    clean = without(image, isolated)
    found = np.concatenate([_candidates(clean, scale, sigmas) for scale in SCALES])
    merged = _merge(found, 2 * limit)
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


def _brightest(stars: NDArray[np.void], limit: int) -> NDArray[np.void]:
    """Converged, significant, distinct stars, brightest first; ties in order of y, then x."""
    stars = stars[stars["converged"]]
    stars = stars[stars["snr"] >= 5.0]
    stars = stars[np.lexsort((stars["x"], stars["y"], -stars["flux"]))]
    kept: list[int] = []
    major, _, _ = axes_of(stars["mxx"], stars["mxy"], stars["myy"])
    for n, star in enumerate(stars):
        # two peaks of one wide star converge to one place
        apart = np.hypot(stars["x"][kept] - star["x"], stars["y"][kept] - star["y"])
        if not (apart < max(1.0, float(major[n]))).any():
            kept.append(n)
    return stars[kept[:limit]]
