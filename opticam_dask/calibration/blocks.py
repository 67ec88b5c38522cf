"""Blocks of frames that are calibrated as they are read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from opticam_dask.calibration.frame import NOWHERE, WHOLE_FRAME, FrameCalibration, Search
from opticam_dask.errors import FrameReadError, InputError
from opticam_dask.io.blocks import FrameBlock
from opticam_dask.io.indexing import Key, axis_index, axis_indices, drop_axes, pick
from opticam_dask.kernels.transform import apply
from opticam_dask.types import XY, Exposure, Image


@dataclass(frozen=True, eq=False)
class CalibratedBlock:
    """A block of frames as `FrameBlock` gives it, each calibrated when it is read.

    Parameters
    ----------
    raw : FrameBlock
        The raw frames.
    calibration : FrameCalibration
        What is done to each.
    xy : ndarray, shape (n_source, 2), optional [pixel]
        Sources to look near for cosmic rays, in coordinates that `affine` takes into each frame. By default
        whole frames are searched.
    affine : ndarray, shape (n_frames, 2, 3), optional
        Transform of each frame.
    reach : float
        Half width of the square to look at around each source [pixel].
    """

    raw: FrameBlock
    calibration: FrameCalibration
    xy: XY | None = None
    affine: NDArray[np.float64] | None = None
    reach: float = 0.0

    def __len__(self) -> int:
        return len(self.raw)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return type(self), (self.raw, self.calibration, self.xy, self.affine, self.reach)

    def __dask_tokenize__(self) -> object:
        where = None if self.xy is None else (self.xy.tobytes(), self.reach)
        return type(self).__name__, self.raw.__dask_tokenize__(), repr(self.calibration.settings()), where

    @property
    def night(self) -> str:
        """Local date of the evening."""
        return self.raw.night

    @property
    def camera(self) -> str:
        """Camera ``'<arm>:<filter>'``."""
        return self.raw.camera

    @property
    def filter(self) -> str:
        """Filter."""
        return self.raw.filter

    @property
    def paths(self) -> Sequence[str]:
        """File of each frame."""
        return self.raw.paths

    @property
    def start(self) -> int:
        """Number of the first frame within its night and camera."""
        return self.raw.start

    @property
    def stop(self) -> int:
        """Number after that of the last frame."""
        return self.raw.stop

    @property
    def key(self) -> tuple[str, str, int, int]:
        """(night, camera, start, stop): names the block's results."""
        return self.raw.key

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of each calibrated frame."""
        return self.calibration.shape

    @property
    def dtype(self) -> str:
        """Type of calibrated pixels."""
        return "float32"

    @cached_property
    def meta(self) -> NDArray[Any]:
        """Numbers of each calibrated frame, records of `opticam_dask.schema.FRAME_META`.

        Gain, read noise, dark current and saturation are those of the calibrated pixels. The saturation level
        is the lowest at which a pixel may have been saturated; the marks of an Exposure tell which were.
        """
        how, meta = self.calibration, self.raw.meta.copy()
        for seconds in np.unique(meta["exposure"]):
            rows = meta["exposure"] == seconds
            some = meta[rows]
            meta["saturation"][rows] = how.saturation(some, float(seconds))
            noise = how.read_noise(some["read_noise"], some["gain"], float(seconds))
            meta["read_noise"][rows] = how.layout.factor * noise
        meta["dark_current"] *= how.layout.factor**2
        if how.electrons:
            meta["gain"] = 1.0
        return meta

    def select(self, index: Key) -> CalibratedBlock:
        """Block of some of the frames: an integer (one frame), a slice, integers or a boolean mask."""
        affine = None if self.affine is None else self.affine[axis_index(index, len(self)).positions()]
        return replace(self, raw=self.raw.select(index), affine=affine)

    def reading_near(
        self, xy: XY, affine: NDArray[np.float64], reach: NDArray[np.float64]
    ) -> CalibratedBlock:
        """Block that reads frames in part, if calibration allows it; see `FrameBlock.reading_near`."""
        if not self.calibration.is_local:
            return self
        layout = self.calibration.layout
        to_raw = layout.factor * affine
        to_raw[:, :, 2] += 0.5 * (layout.factor - 1) + np.array(layout.start[::-1])
        return replace(self, raw=self.raw.reading_near(xy, to_raw, layout.factor * (reach + 0.5)))

    def frames(self) -> Iterator[tuple[int, Image | FrameReadError]]:
        """Decode and calibrate one frame at a time; see `FrameBlock.frames`.

        Cosmic rays stay: the catalogue, which these images are for, averages them away, and to search
        takes a hundred times as long as all else.
        """
        for position, frame in self.raw.exposures():
            clean = self.calibration.apply(frame, NOWHERE) if isinstance(frame, Exposure) else frame
            yield position, clean.image if isinstance(clean, Exposure) else clean

    def exposures(self) -> Iterator[tuple[int, Exposure | FrameReadError]]:
        """Decode and calibrate one frame at a time; see `FrameBlock.exposures`."""
        for position, frame in self.raw.exposures():
            if isinstance(frame, Exposure):
                frame = self.calibration.apply(frame, self._search(position), self._boxes(position))
            yield position, frame

    def _boxes(self, position: int) -> NDArray[np.int64] | None:
        """Parts of a raw frame that are read, and calibrated; None for all."""
        near = self.raw.near
        return None if near is None else near.boxes(position, self.raw.shape)

    def _search(self, position: int) -> Search:
        """Where to look for cosmic rays in a frame."""
        if self.xy is None or self.affine is None:
            return WHOLE_FRAME
        affine = self.affine[position]
        return Search(apply(affine, self.xy), self.reach)

    def read(self, key: Any = ()) -> Image:
        """Decode and calibrate frames, or a part of each; see `FrameBlock.read`.

        Raises
        ------
        FrameReadError
            For the first frame that cannot be read.
        """
        time, *part = axis_indices(key, (len(self), *self.shape))
        out = np.empty((time.size, part[0].size, part[1].size), self.dtype)
        wanted = self.select(time.positions()) if time.size else None
        for position, frame in wanted.exposures() if wanted is not None else ():
            if isinstance(frame, FrameReadError):
                raise frame
            y, x = part
            out[position] = pick(frame.image[slice(*y.span)], y, x)
        return drop_axes(out, (time, *part))


def calibrated(
    blocks: Sequence[FrameBlock], calibration: FrameCalibration | None
) -> list[FrameBlock] | list[CalibratedBlock]:
    """Blocks whose frames are calibrated when they are read; the blocks themselves without a calibration.

    Raises
    ------
    InputError
        If the calibration is that of another camera, or of frames of another shape.
    """
    if calibration is None:
        return list(blocks)
    for block in blocks:
        if block.camera != calibration.camera or block.shape != calibration.layout.raw:
            raise InputError(
                f"frames of {block.camera} of shape {block.shape} do not fit the calibration of "
                f"{calibration.camera}, shape {calibration.layout.raw}"
            )
    return [CalibratedBlock(block, calibration) for block in blocks]


def near_sources(block: FrameBlock, affine: NDArray[np.float64], xy: XY, reach: float) -> FrameBlock:
    """Block that looks for cosmic rays only where sources are; an uncalibrated one as it is.

    Parameters
    ----------
    block : FrameBlock or CalibratedBlock
        Frames.
    affine : ndarray, shape (n_frames, 2, 3)
        Transforms from the catalogue into the frames.
    xy : ndarray, shape (n_source, 2) [pixel]
        Sources of the catalogue.
    reach : float
        Half width of the square to look at around each [pixel].
    """
    if not isinstance(block, CalibratedBlock):
        return block
    return cast("FrameBlock", replace(block, affine=affine, xy=xy, reach=reach))
