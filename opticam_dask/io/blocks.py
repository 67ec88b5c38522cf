"""Blocks of frames: what one task reads, streams and measures."""

from __future__ import annotations

import hashlib
import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from opticam_dask.errors import FrameReadError
from opticam_dask.io.block_sizes import frames_of_block, only_value
from opticam_dask.io.buffers import frame_array
from opticam_dask.io.indexing import AxisIndex, Key, axis_index, axis_indices, drop_axes
from opticam_dask.io.near_sources import NearSources
from opticam_dask.io.packed_paths import PackedPaths
from opticam_dask.io.sources import FrameSource, OpenFiles
from opticam_dask.schema import FRAME_META
from opticam_dask.types import XY, Exposure, Image

if TYPE_CHECKING:
    import pandas as pd


_USED = ["path", "night", "camera", "filter", "shape", "dtype", *(FRAME_META.names or ())]


@dataclass(frozen=True, eq=False)
class FrameBlock:
    """Consecutive accepted frames of one night and camera; holds where they are, never their pixels.

    Parameters
    ----------
    night, camera, filter : str
        Night (local date of the evening), camera ``'<arm>:<filter>'`` and filter.
    shape : (ny, nx)
        Shape of each frame.
    dtype : str
        Native numpy type of the pixels.
    paths : sequence of str
        File of each frame; `PackedPaths` where there are many blocks.
    meta : ndarray of `opticam_dask.schema.FRAME_META`, shape (n,)
        Numbers of each frame; ``hdu`` and ``plane`` place it in its file.
    near : NearSources, optional
        Boxes of each frame that `frames` and `exposures` are to read: wherever a file can be read in part,
        all other pixels are of no meaning then. By default whole frames are read; `read` always does.
    """

    night: str
    camera: str
    filter: str
    shape: tuple[int, int]
    dtype: str
    paths: Sequence[str]
    meta: NDArray[Any]
    near: NearSources | None = None

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def start(self) -> int:
        """Number of the first frame within its night and camera."""
        return int(self.meta["frame"][0])

    @property
    def stop(self) -> int:
        """Number after that of the last frame."""
        return int(self.meta["frame"][-1]) + 1

    @property
    def key(self) -> tuple[str, str, int, int]:
        """(night, camera, start, stop): names the block's results."""
        return self.night, self.camera, self.start, self.stop

    def __dask_tokenize__(self) -> tuple[str, str]:
        words = (self.night, self.camera, self.filter, str(self.shape), self.dtype, "")
        digest = hashlib.blake2b("\0".join(words).encode("utf-8", "surrogateescape"), digest_size=16)
        digest.update(PackedPaths.of(self.paths).joined())
        digest.update(self.meta.tobytes())
        return type(self).__name__, digest.hexdigest()

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        # Names and numbers of neighbouring frames are alike: packed, a million frames stay a few megabytes.
        meta = zlib.compress(self.meta.tobytes(), 1)
        return _unpacked, (
            self.night,
            self.camera,
            self.filter,
            self.shape,
            self.dtype,
            PackedPaths.of(self.paths),
            meta,
            self.near,
        )

    def select(self, index: Key) -> FrameBlock:
        """Block of some of the frames: an integer (one frame), a slice, integers or a boolean mask."""
        where = axis_index(index, len(self)).positions()
        near = None if self.near is None else self.near.select(where)
        paths = tuple(self.paths)
        return replace(self, paths=tuple(paths[i] for i in where), meta=self.meta[where], near=near)

    def reading_near(self, xy: XY, affine: NDArray[np.float64], reach: NDArray[np.float64]) -> FrameBlock:
        """Block whose `frames` and `exposures` may lack all but squares around sources.

        Parameters
        ----------
        xy : ndarray, shape (n_source, 2) [pixel]
            Sources, in coordinates that `affine` takes into each frame.
        affine : ndarray, shape (n_frames, 2, 3)
            Transform of each frame.
        reach : ndarray, shape (n_frames,) [pixel]
            Half widths of the squares.
        """
        return replace(self, near=NearSources(xy, affine, reach))

    def read(self, key: Any = ()) -> Image:
        """Decode frames, or a part of each.

        Parameters
        ----------
        key : tuple of int, slice or sequence of int
            Index over (time, y, x), each axis on its own; only what it selects is read.

        Returns
        -------
        ndarray, shape (n, ny, nx) or what ``key`` leaves of it [adu]

        Raises
        ------
        FrameReadError
            For the first frame that cannot be read.
        """
        time, *part = axis_indices(key, (len(self), *self.shape))
        out = np.empty((time.size, part[0].size, part[1].size), self.dtype)
        if out.size:
            with _Reader(self) as reader:
                for image, position in zip(out, time.positions(), strict=True):
                    reader.read_into(image, position, part[0], part[1])
        return drop_axes(out, (time, *part))

    def frames(self) -> Iterator[tuple[int, Image | FrameReadError]]:
        """Decode one frame at a time.

        Yields
        ------
        position : int
            Position of the frame in the block.
        image : ndarray, shape (ny, nx) [adu], or FrameReadError
            The frame, in an array of its own, or why it cannot be read. Nothing is raised for a bad frame.
        """
        with _Reader(self) as reader:
            for position in range(len(self)):
                # no name here for the array: memory that nobody holds is used again
                yield position, reader.frame(position)

    def exposures(self) -> Iterator[tuple[int, Exposure | FrameReadError]]:
        """Decode one frame at a time, as `frames` does, each with what its header tells of the detector."""
        for position, image in self.frames():
            if isinstance(image, FrameReadError):
                yield position, image
                continue
            meta = self.meta[position]
            yield (
                position,
                Exposure(
                    image,
                    gain=float(meta["gain"]),
                    read_noise=float(meta["read_noise"]),
                    dark=float(meta["dark_current"] * meta["exposure"]),
                    saturation=float(meta["saturation"]),
                    exposure_s=float(meta["exposure"]),
                    airmass=float(meta["airmass"]),
                ),
            )


def _unpacked(
    night: str,
    camera: str,
    band: str,
    shape: tuple[int, int],
    dtype: str,
    paths: PackedPaths,
    meta: bytes,
    near: NearSources | None,
) -> FrameBlock:
    records = np.frombuffer(bytearray(zlib.decompress(meta)), FRAME_META)
    return FrameBlock(night, camera, band, shape, dtype, paths, records, near)


class _Reader:
    """Reads the frames of a block; the last file stays open, so a compressed cube is inflated once."""

    def __init__(self, block: FrameBlock) -> None:
        self._block, self._paths = block, tuple(block.paths)
        self._places = block.meta[["hdu", "plane"]].tolist()
        self._files = OpenFiles()

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def frame(self, position: int) -> Image | FrameReadError:
        """Decode the frame at ``position``, or what is wanted of it, into an array that nobody else holds."""
        block, image = self._block, frame_array(self._block.shape, self._block.dtype)
        try:
            if block.near is None:
                self.read_into(image, position, *axis_indices((), block.shape))
            else:
                self._read_near(image, position, block.near.boxes(position, block.shape))
        except FrameReadError as error:
            return error
        return image

    def _read_near(self, image: Image, position: int, boxes: NDArray[np.int64]) -> None:
        hdu, plane = self._places[position]
        file = self._files.of(self._paths[position])
        check_shape(file, self._block.shape, hdu, plane)
        for rows, columns in file.windows(hdu, plane, boxes):
            self.read_into(image[rows.where, columns.where], position, rows, columns)

    def read_into(self, out: Image, position: int, rows: AxisIndex, columns: AxisIndex) -> None:
        """Decode the frame at ``position``, or a part of it, into ``out``."""
        hdu, plane = self._places[position]
        read_frame(self._files.of(self._paths[position]), self._block.shape, out, hdu, plane, rows, columns)


def read_frame(
    file: FrameSource,
    shape: tuple[int, int],
    out: Image,
    hdu: int,
    plane: int,
    rows: AxisIndex,
    columns: AxisIndex,
) -> None:
    """Decode one frame of an open file: every pixel of a block passes here.

    Raises
    ------
    FrameReadError
        If the frame cannot be read, or has no longer the shape or type the frame index says.
    """
    check_shape(file, shape, hdu, plane)
    file.read_into(out, hdu, plane, rows, columns)


def check_shape(file: FrameSource, shape: tuple[int, int], hdu: int, plane: int) -> None:
    """Raise FrameReadError if a frame is not there, or has another shape than the frame index says."""
    found = file.describe(hdu, plane).shape[-2:]
    if found != tuple(shape):
        detail = f"expected {shape[0]}x{shape[1]} pixels, the file has {found[0]}x{found[1]}: scan again"
        raise FrameReadError(file.path, detail, hdu=hdu, plane=plane)


def split_blocks(
    frames: pd.DataFrame, block_bytes: int | str | None = None, frames_per_block: int | None = None
) -> list[FrameBlock]:
    """Cut the accepted frames of one camera into blocks.

    Parameters
    ----------
    frames : DataFrame
        Accepted rows of the frame index, of one camera; any order.
    block_bytes : int or str, optional
        Pixels of a block at most [byte], such as ``"64MiB"``; default: the dask configuration
        ``opticam.block-bytes``. A block holds at least one frame.
    frames_per_block : int, optional
        Frames of a block instead; default: the dask configuration ``opticam.frames-per-block``, if set.

    Returns
    -------
    list of FrameBlock
        In order of night and frame; no block holds frames of two nights.

    Raises
    ------
    InputError
        If the rows belong to several cameras or shapes, or a size is not positive.
    """
    if not len(frames):
        return []
    rows = frames[_USED].sort_values(["night", "frame"], kind="stable")
    whole, paths = _whole_block(rows), rows["path"]
    frame_bytes = math.prod(whole.shape) * np.dtype(whole.dtype).itemsize
    size = frames_of_block(frame_bytes, block_bytes, frames_per_block)
    number, nights = rows["night"].factorize()
    edges = [0, *(np.flatnonzero(np.diff(number)) + 1).tolist(), len(rows)]
    cuts = [
        slice(start, min(start + size, stop))
        for first, stop in pairwise(edges)
        for start in range(first, stop, size)
    ]
    return [
        replace(
            whole,
            night=str(nights[number[cut.start]]),
            paths=PackedPaths.of(paths.iloc[cut].tolist()),
            meta=whole.meta[cut].copy(),
        )
        for cut in cuts
    ]


def _whole_block(rows: pd.DataFrame) -> FrameBlock:
    """All rows as one block; its night and paths are set when it is cut."""
    one = {name: only_value(rows, name) for name in ("camera", "filter", "shape")}
    # A type that holds every frame's pixels: one frame of another type must not cost the camera.
    dtype = np.result_type(*rows["dtype"].unique()).name
    meta = np.empty(len(rows), FRAME_META)
    for name in FRAME_META.names or ():
        meta[name] = rows[name].to_numpy()
    ny, nx = (int(length) for length in one["shape"].split("x"))
    return FrameBlock("", one["camera"], one["filter"], (ny, nx), dtype, (), meta)
