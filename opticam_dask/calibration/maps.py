"""What the masters of a camera become on a worker: maps of the part of the frame that is kept."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opticam_dask.calibration.masters import MasterRef
from opticam_dask.calibration.pedestal import Pedestal
from opticam_dask.kernels.calibrate import NOTHING
from opticam_dask.kernels.rebin import rebinned

_CAMERAS = 3  # of which a process keeps the maps
_HIGH = 99.9  # percentile that stands for the highest: single pixels may be anything


@dataclass(frozen=True)
class Layout:
    """Part of the raw frame that is kept, and the pixels known to be bad.

    Parameters
    ----------
    raw : (ny, nx)
        Shape of raw frames.
    region : ((y0, y1), (x0, x1))
        Rows and columns kept.
    factor : int
        Pixels binned together along each axis.
    bad : bytes
        Bad pixels that the user gave, as `pack` makes them.
    """

    raw: tuple[int, int]
    region: tuple[tuple[int, int], tuple[int, int]]
    factor: int = 1
    bad: bytes = b""

    @property
    def start(self) -> tuple[int, int]:
        """First row and column kept."""
        return self.region[0][0], self.region[1][0]

    @property
    def cropped(self) -> tuple[int, int]:
        """Shape of the part that is kept."""
        (y0, y1), (x0, x1) = self.region
        return y1 - y0, x1 - x0

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of calibrated frames."""
        ny, nx = self.cropped
        return ny // self.factor, nx // self.factor

    def crop_boxes(self, boxes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Boxes in the kept part of boxes in the whole frame (rows y0 to y1, columns x0 to x1)."""
        (y0, y1), (x0, x1) = self.region
        corners = np.array([y0, y0, x0, x0])
        found = np.clip(boxes, corners, [y1, y1, x1, x1]) - corners
        return np.asarray(found[(found[:, 0] < found[:, 1]) & (found[:, 2] < found[:, 3])], np.int64)

    def crop(self, image: NDArray[Any]) -> NDArray[Any]:
        """Cut the kept part out of a map of the whole frame."""
        (y0, y1), (x0, x1) = self.region
        return np.ascontiguousarray(image[y0:y1, x0:x1]) if image.size else image


@dataclass(frozen=True, eq=False)
class Maps:
    """Maps of the kept part; `kernels.calibrate.NOTHING` where there is none.

    Parameters
    ----------
    bias, dark : ndarray, float32
        Bias [adu] and dark rate [adu / s].
    inverse : ndarray, float32
        One over the flat, NaN at bad pixels.
    response, variance : ndarray, float32, or None
        Flat and its relative variance, binned like the frames; None without a flat.
    """

    bias: NDArray[np.float32]
    dark: NDArray[np.float32]
    inverse: NDArray[np.float32]
    response: NDArray[np.float32] | None
    variance: NDArray[np.float32] | None


def pack(mask: NDArray[np.bool_]) -> bytes:
    """Bytes of a mask, few where few pixels are bad; none for none."""
    return zlib.compress(np.packbits(mask).tobytes(), 9) if mask.any() else b""


def unpack(packed: bytes, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Make the mask of what `pack` gave."""
    if not packed:
        return np.zeros(shape, bool)
    bits = np.frombuffer(zlib.decompress(packed), np.uint8)
    return np.unpackbits(bits, count=shape[0] * shape[1]).astype(bool).reshape(shape)


@lru_cache(maxsize=_CAMERAS)
def maps_of(layout: Layout, pedestal: Pedestal, flat: MasterRef | None, seconds: float) -> Maps:
    """Make the maps of a camera; ``seconds`` tells only where darks hold the bias too."""
    bias, dark = pedestal.maps(seconds)
    mask = bad_pixels_of(layout, pedestal, flat)
    inverse, response, variance = NOTHING, None, None
    if flat is not None:
        data, spread = (layout.crop(image) for image in (flat.load().data, flat.load().variance))
        usable = ~layout.crop(mask)
        with np.errstate(divide="ignore", invalid="ignore"):
            inverse = np.where(usable, 1.0 / data, np.nan).astype(np.float32)
            relative = np.where(usable, spread / data**2, 0.0).astype(np.float32)
        response = _mean(np.where(usable, data, 1.0).astype(np.float32), layout.factor)
        # the sum of n pixels of equal light: its relative variance is the mean one over n
        variance = _mean(relative, layout.factor) / np.float32(layout.factor**2)
    elif mask.any():
        inverse = np.where(layout.crop(mask), np.nan, 1.0).astype(np.float32)
    return Maps(layout.crop(bias), layout.crop(dark), inverse, response, variance)


def bad_pixels_of(layout: Layout, pedestal: Pedestal, flat: MasterRef | None) -> NDArray[np.bool_]:
    """Bad pixels of the whole raw frame: given, and from the masters."""
    mask = unpack(layout.bad, layout.raw)
    known = pedestal.mask()
    if known is not None:
        mask |= known
    if flat is not None:
        mask |= flat.load().mask
    return mask


@lru_cache(maxsize=64)
def headroom(pedestal: Pedestal, flat: MasterRef | None, seconds: float) -> tuple[float, float]:
    """Highest pedestal [adu] and highest response of the good pixels, but for a few."""
    level = 0.0
    for image, times in zip(pedestal.maps(seconds), (1.0, seconds), strict=True):
        bad = pedestal.mask()
        if image.size and bad is not None and not bad.all():
            level += float(np.percentile(image[~bad], _HIGH)) * times
    if flat is None:
        return level, 1.0
    master = flat.load()
    return level, float(np.percentile(master.data[~master.mask], _HIGH)) if not master.mask.all() else 1.0


def _mean(image: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    return image if factor == 1 else np.asarray(rebinned(image, factor) / np.float32(factor**2), np.float32)
