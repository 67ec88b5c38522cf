"""Find known stars again near their predicted places, without looking at the rest of the frame."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from opticam_dask.kernels.moments import measure_stars
from opticam_dask.kernels.sky import Sky
from opticam_dask.types import XY, Image

_AGREE = 3.0  # peaks that support one shift agree within this, or one sigma of the PSF [pixel]


@numba.njit(cache=True, nogil=True)
def _box_mean(image: Any, x: int, y: int, half: int) -> float:
    ny, nx = image.shape
    total, n = 0.0, 0
    for j in range(max(0, y - half), min(ny, y + half + 1)):
        for i in range(max(0, x - half), min(nx, x + half + 1)):
            value = float(image[j, i])
            if np.isfinite(value):
                total += value
                n += 1
    return total / n if n > half else -np.inf


@numba.njit(cache=True, nogil=True)
def _find_peaks(image: Any, xy: Any, radius: float, half: int, stride: int, out: Any) -> None:
    ny, nx = image.shape
    for n in range(len(xy)):
        cx, cy = xy[n, 0], xy[n, 1]
        best, out[n, 0], out[n, 1] = -np.inf, -1, -1
        # the grid is tied to the frame, not to the prediction: the peak found depends on the pixels alone
        first_y = max(0, int(np.ceil((cy - radius) / stride)) * stride)
        first_x = max(0, int(np.ceil((cx - radius) / stride)) * stride)
        for y in range(first_y, min(ny, int(np.floor(cy + radius)) + 1), stride):
            for x in range(first_x, min(nx, int(np.floor(cx + radius)) + 1), stride):
                if (x - cx) ** 2 + (y - cy) ** 2 <= radius * radius:
                    value = _box_mean(image, x, y, half)
                    if value > best:
                        best, out[n, 0], out[n, 1] = value, x, y


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
    seen = peaks[:, 0] >= 0
    if not seen.any():
        return measure_stars(image, np.zeros((0, 2), np.int64), sigma=sigma)
    shift = _common_shift(xy[seen], peaks[seen].astype(np.float64), max(_AGREE, sigma))
    peaks = find_peaks(image, xy + shift, max(3.0, 2.0 * sigma), sigma)
    peaks[peaks[:, 0] < 0] = -10_000  # far outside: such a stamp has no pixels, and no fit
    return measure_stars(image, peaks, sigma=sigma, level=sky.level, noise=sky.rms)


def _common_shift(xy: XY, peaks: XY, agree: float) -> NDArray[np.float64]:
    """Offset which most peaks share."""
    offsets = peaks - xy
    near = np.hypot(*(offsets[:, None] - offsets[None]).transpose(2, 0, 1)) <= agree
    best = int(near.sum(axis=1).argmax())  # of equals the brightest star
    return np.asarray(np.median(offsets[near[best]], axis=0))
