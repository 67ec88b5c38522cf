"""Find known stars again near their predicted places, without looking at the rest of the frame."""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from opticam_dask.kernels.moments import measure_stars
from opticam_dask.kernels.sky import Sky
from opticam_dask.types import XY, Image

_AGREE = 3.0  # peaks that support one shift agree within this, or one sigma of the PSF [pixel]


@numba.njit(cache=True, nogil=True)
def _column_sums(image: Any, y: int, half: int, first: int, sums: Any, good: Any) -> None:
    """Add up the good pixels in rows ``y - half`` to ``y + half``, and count them, from ``first`` on."""
    sums[:], good[:] = 0.0, 0
    for j in range(max(0, y - half), min(len(image), y + half + 1)):
        for i in range(len(sums)):
            value = np.float64(image[j, first + i])
            if np.isfinite(value):
                sums[i] += value
                good[i] += 1


@numba.njit(cache=True, nogil=True)
def _brightest_box(
    image: Any, cx: float, cy: float, radius: float, half: int, stride: int
) -> tuple[int, int]:
    """Centre of the box with the highest mean, of those within ``radius`` of a place; -1 if there is none."""
    ny, nx = image.shape
    best, bx, by = -np.inf, -1, -1
    # the grid is tied to the frame, not to the prediction: the peak found depends on the pixels alone
    first_y = max(0, math.ceil((cy - radius) / stride) * stride)
    first_x = max(0, math.ceil((cx - radius) / stride) * stride)
    stop_y, stop_x = min(ny, math.floor(cy + radius) + 1), min(nx, math.floor(cx + radius) + 1)
    left = max(0, first_x - half)
    width = max(min(nx, stop_x + half) - left, 0)
    sums, good = np.empty(width), np.empty(width, np.int64)
    for y in range(first_y, stop_y, stride):
        _column_sums(image, y, half, left, sums, good)
        for x in range(first_x, stop_x, stride):
            if (x - cx) ** 2 + (y - cy) ** 2 > radius * radius:
                continue
            box = slice(max(0, x - half - left), min(width, x + half + 1 - left))
            total, n = 0.0, 0
            for i in range(box.start, box.stop):
                total += sums[i]
                n += good[i]
            if n > half and total / n > best:
                best, bx, by = total / n, x, y
    return bx, by


@numba.njit(cache=True, nogil=True)
def _find_peaks(image: Any, xy: Any, radius: float, half: int, stride: int, out: Any) -> None:
    for n in range(len(xy)):
        out[n, 0], out[n, 1] = _brightest_box(image, xy[n, 0], xy[n, 1], radius, half, stride)


def find_peaks(image: Image, xy: XY, radius: float, sigma: float) -> NDArray[np.int64]:
    """Brightest spot within ``radius`` of each position, after smoothing by a box of about the PSF's size.

    Returns
    -------
    ndarray of int64, shape (n, 2)
        Pixels as (x, y); -1 where no pixel is finite.
    """
    peaks = np.empty((len(xy), 2), np.int64)
    half, stride = max(1, round(sigma)), max(1, int(sigma / 2))
    _find_peaks(image, np.ascontiguousarray(xy, np.float64), float(radius), half, stride, peaks)
    return peaks


def track_stars(image: Image, xy: XY, sky: Sky, sigma: float, radius: float) -> NDArray[np.void]:
    """Measure stars near predicted places.

    Two looks: the brightest spots within ``radius`` vote for one common shift, then each star is looked for
    close to its shifted place, so that a brighter neighbour is not taken for it.

    Parameters
    ----------
    image : ndarray, shape (ny, nx) [adu]
        uint16, float32 or float64; NaN marks a bad pixel.
    xy : ndarray, shape (n, 2) [pixel]
        Predicted places.
    sky : Sky
        Sky of the image.
    sigma : float
        Width of the PSF [pixel].
    radius : float
        How far the whole pattern may be off [pixel].

    Returns
    -------
    ndarray, shape (n,), dtype STAR
        ``converged`` is false where no star was found.
    """
    peaks = find_peaks(image, xy, radius, sigma)
    xy, seen = np.ascontiguousarray(xy, np.float64), peaks[:, 0] >= 0
    if not seen.any():
        return measure_stars(image, np.zeros((0, 2), np.int64), sigma=sigma)
    shift = _common_shift(xy[seen], peaks[seen].astype(np.float64), max(_AGREE, sigma))
    peaks = find_peaks(image, xy + shift, max(3.0, 2.0 * sigma), sigma)
    peaks[peaks[:, 0] < 0] = -10_000  # far outside: such a stamp has no pixels, and no fit
    return measure_stars(image, peaks, sigma=sigma, level=sky.level, noise=sky.rms)


@numba.njit(cache=True, nogil=True)
def _common_shift(xy: Any, peaks: Any, agree: float) -> Any:
    """Offset which most peaks share; of equals that of the brightest star."""
    offsets = peaks - xy
    near, best = np.zeros(len(xy), np.bool_), 0
    for n in range(len(xy)):
        close = np.hypot(offsets[:, 0] - offsets[n, 0], offsets[:, 1] - offsets[n, 1]) <= agree
        if np.sum(close) > best:
            near, best = close, np.sum(close)
    return np.array([np.median(offsets[near, 0]), np.median(offsets[near, 1])])
