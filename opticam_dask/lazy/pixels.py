"""Pixels of frames as array-likes that read what is indexed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opticam_dask.io.blocks import FrameBlock
from opticam_dask.io.indexing import AxisIndex, axis_index, axis_indices, drop_axes
from opticam_dask.types import Image


@dataclass(frozen=True, eq=False)
class BlockPixels:
    """Pixels of a block as an array-like of shape (time, y, x) that reads what is indexed.

    Parameters
    ----------
    block : FrameBlock
        Frames to read.
    dtype : dtype
        Type delivered; a float if a place is empty.
    present : ndarray of bool, shape (n,), optional
        Places along time that hold a frame of the block, in order; the others are NaN. Default: no gaps.
    rows, columns : slice or ndarray of int
        Part of each frame.
    """

    block: FrameBlock
    dtype: np.dtype[Any]
    present: NDArray[np.bool_] | None = None
    rows: Any = field(default_factory=lambda: slice(None))
    columns: Any = field(default_factory=lambda: slice(None))

    @property
    def shape(self) -> tuple[int, int, int]:
        """(time, rows, columns)."""
        ny, nx = self.block.shape
        places = len(self.block) if self.present is None else self.present.size
        return places, axis_index(self.rows, ny).size, axis_index(self.columns, nx).size

    def __getitem__(self, key: Any) -> Image:
        axes = axis_indices(key, self.shape)
        part = self.sliced(*axes)
        return drop_axes(part._read(), axes)

    def _read(self) -> Image:
        key = (slice(None), self.rows, self.columns)
        if self.present is None:
            return self.block.read(key)
        out = np.full(self.shape, np.nan if self.dtype.kind == "f" else 0, self.dtype)
        if len(self.block):
            out[self.present] = self.block.read(key)
        return out

    def sliced(self, time: AxisIndex, rows: AxisIndex, columns: AxisIndex) -> BlockPixels:
        """Part of the stack; an axis selected by an integer stays, with length one."""
        ny, nx = self.block.shape
        places = np.asarray(time.positions(), np.intp)
        part = replace(self, rows=_within(self.rows, rows, ny), columns=_within(self.columns, columns, nx))
        if self.present is None:
            return replace(part, block=self.block.select(places))
        here = self.present[places]
        frames = np.cumsum(self.present)[places[here]] - 1
        return replace(part, block=self.block.select(frames), present=here)


@dataclass(frozen=True, eq=False)
class CameraPixels:
    """`BlockPixels` with a leading axis of length one, for the camera."""

    pixels: BlockPixels

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(1, time, rows, columns)."""
        return 1, *self.pixels.shape

    def __getitem__(self, key: Any) -> Image:
        camera, *part = axis_indices(key, self.shape)
        image = self.pixels[tuple(axis.where for axis in part)]
        return drop_axes(np.broadcast_to(image, (camera.size, *image.shape)), (camera, *part))


def _within(outer: Any, inner: AxisIndex, length: int) -> Any:
    """Index of a part of a part of an axis."""
    where = np.arange(length)[outer][inner.where]
    run = np.diff(where)
    if where.size and (run > 0).all() and (run == run[:1]).all():
        return slice(int(where[0]), int(where[-1]) + 1, int(run[0]) if run.size else 1)
    return where
