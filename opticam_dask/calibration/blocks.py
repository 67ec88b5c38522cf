"""Blocks of frames that are calibrated as they are read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opticam_dask.calibration.frame import FrameCalibration
from opticam_dask.errors import FrameReadError, InputError
from opticam_dask.io.blocks import FrameBlock
from opticam_dask.io.indexing import Key, axis_indices, drop_axes, pick
from opticam_dask.types import Exposure, Image


@dataclass(frozen=True, eq=False)
class CalibratedBlock:
    """A block of frames as `FrameBlock` gives it, each calibrated when it is read.

    Parameters
    ----------
    raw : FrameBlock
        The raw frames.
    calibration : FrameCalibration
        What is done to each.
    """

    raw: FrameBlock
    calibration: FrameCalibration

    def __len__(self) -> int:
        return len(self.raw)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return type(self), (self.raw, self.calibration)

    def __dask_tokenize__(self) -> object:
        return type(self).__name__, self.raw.__dask_tokenize__(), repr(self.calibration.settings())

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
    def paths(self) -> tuple[str, ...]:
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
        return CalibratedBlock(self.raw.select(index), self.calibration)

    def frames(self) -> Iterator[tuple[int, Image | FrameReadError]]:
        """Decode and calibrate one frame at a time; see `FrameBlock.frames`."""
        for position, frame in self.exposures():
            yield position, frame.image if isinstance(frame, Exposure) else frame

    def exposures(self) -> Iterator[tuple[int, Exposure | FrameReadError]]:
        """Decode and calibrate one frame at a time; see `FrameBlock.exposures`."""
        for position, frame in self.raw.exposures():
            yield position, self.calibration.apply(frame) if isinstance(frame, Exposure) else frame

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
        for position, frame in wanted.frames() if wanted is not None else ():
            if isinstance(frame, FrameReadError):
                raise frame
            y, x = part
            out[position] = pick(frame[slice(*y.span)], y, x)
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
