"""Cut-outs around sources: the only pixels of a frame that photometry reads."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from opticam_dask.types import XY, Image

_BATCH_BYTES = 32 * 2**20


class Ellipse(NamedTuple):
    """Ellipse (or Gaussian) by its semi-axes [pixel] and the angle of the first [radian, ccw from +x]."""

    semimajor: float
    semiminor: float
    orientation_rad: float

    def half_extent(self, scale: float) -> tuple[float, float]:
        """Half width and height of the box around the ellipse enlarged by ``scale`` [pixel]."""
        cos, sin = math.cos(self.orientation_rad), math.sin(self.orientation_rad)
        return (
            scale * math.hypot(self.semimajor * cos, self.semiminor * sin),
            scale * math.hypot(self.semimajor * sin, self.semiminor * cos),
        )


class Stamps(NamedTuple):
    """Cut-outs of one size.

    Parameters
    ----------
    pixels : ndarray, shape (n, height, width), float64 [adu]
        NaN where a pixel is bad or lies off the frame.
    xy : ndarray, shape (n, 2) [pixel]
        The sources, in coordinates of their cut-outs.
    corner : ndarray, shape (n, 2), int64
        Column and row in the frame of each cut-out's first pixel.
    shape : tuple of int
        Rows and columns of the frame.
    """

    pixels: NDArray[np.float64]
    xy: XY
    corner: NDArray[np.int64]
    shape: tuple[int, int]


def stamp_batches(image: Image, xy: XY, half: tuple[float, float]) -> Iterator[tuple[slice, Stamps]]:
    """Cut-outs that hold every pixel within ``half`` of the sources, some tens of MB at a time.

    Parameters
    ----------
    image : ndarray, shape (ny, nx), uint16, float32 or float64
        Frame.
    xy : ndarray, shape (n, 2) [pixel]
        Finite positions on or near the frame.
    half : tuple of float
        Half width and height to cover [pixel].

    Yields
    ------
    rows : slice
        Rows of ``xy`` in this batch.
    stamps : Stamps
        Their cut-outs.
    """
    half_x, half_y = (math.ceil(extent) + 1 for extent in half)
    width, height = 2 * half_x + 1, 2 * half_y + 1
    step = max(1, _BATCH_BYTES // (8 * width * height))
    for start in range(0, len(xy), step):
        rows = slice(start, min(start + step, len(xy)))
        places = np.array(xy[rows], dtype=float, order="C")
        corner, pixels = np.empty(places.shape, np.int64), np.empty((len(places), height, width))
        _gather(image, half_x, half_y, places, corner, pixels)
        yield rows, Stamps(pixels, places, corner, (image.shape[0], image.shape[1]))


@njit(cache=True, nogil=True)
def _gather(image, half_x, half_y, xy, corner, pixels):
    """Fill in corners and pixels of cut-outs, and put ``xy`` into their coordinates."""
    n_y, n_x = image.shape
    n, height, width = pixels.shape
    for k in range(n):
        corner[k, 0], corner[k, 1] = math.floor(xy[k, 0] + 0.5) - half_x, math.floor(xy[k, 1] + 0.5) - half_y
        xy[k, 0], xy[k, 1] = xy[k, 0] - corner[k, 0], xy[k, 1] - corner[k, 1]
        left = corner[k, 0]
        start = min(max(-left, 0), width)
        stop = max(min(n_x - left, width), start)
        for j in range(height):
            row = corner[k, 1] + j
            if start > 0 or stop < width or not 0 <= row < n_y:
                for i in range(width):
                    pixels[k, j, i] = math.nan
            if 0 <= row < n_y:
                _copy_finite(image[row, left + start : left + stop], pixels[k, j, start:stop])


@njit(cache=True, nogil=True)
def _copy_finite(row, out):
    """Copy with NaN for infinity, without a branch: several pixels at a time."""
    for i in range(out.size):
        value = float(row[i])
        out[i] = value if abs(value) < math.inf else math.nan
