"""Lazy stacks of frames: one task per block, and only the frames and rows that are asked for are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, cast

import dask.array as da
import numpy as np
from dask._task_spec import DataNode, Task
from dask.array.core import getter
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph
from numpy.typing import NDArray

from opticam_dask.errors import InputError
from opticam_dask.io.blocks import FrameBlock
from opticam_dask.io.indexing import axis_indices, drop_axes
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
    """

    block: FrameBlock
    dtype: np.dtype[Any]
    present: NDArray[np.bool_] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(time, rows, columns)."""
        return len(self.block) if self.present is None else self.present.size, *self.block.shape

    def __getitem__(self, key: Any) -> Image:
        if self.present is None:
            return self.block.read(key)
        time, rows, columns = axis_indices(key, self.shape)
        places = np.asarray(time.positions(), np.intp)
        out = np.full(
            (time.size, rows.size, columns.size), np.nan if self.dtype.kind == "f" else 0, self.dtype
        )
        here = self.present[places]
        if here.any():
            frames = np.cumsum(self.present)[places[here]] - 1
            out[here] = self.block.read((frames, rows.where, columns.where))
        return drop_axes(out, (time, rows, columns))


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


def frame_array(blocks: Sequence[FrameBlock]) -> da.Array:
    """Stack blocks of one camera along time, lazily.

    Parameters
    ----------
    blocks : sequence of FrameBlock
        At least one; all of one shape and type of pixel.

    Returns
    -------
    dask.array.Array, shape (time, y, x) [adu]
        One chunk and one task per block, native pixels. Slices reach the reader: indexing with integers
        and slices reads the frames and rows asked for. Lists and masks along time read whole blocks;
        `take_frames` does not.

    Raises
    ------
    InputError
        If there is no block, or they differ in shape or type.
    """
    if not blocks:
        raise InputError("no block of frames to stack")
    return _stack([BlockPixels(block, np.dtype(block.dtype)) for block in blocks], tokenize(list(blocks)))


def blocks_of(array: da.Array) -> list[FrameBlock] | None:
    """Blocks behind an array that `frame_array` made; None once anything was done to it."""
    layer: Any = cast("HighLevelGraph", array.dask).layers.get(array.name, {})
    found = [_source(layer.get((array.name, number, 0, 0))) for number in range(array.numblocks[0])]
    blocks = [source.block for source in found if isinstance(source, BlockPixels) and source.present is None]
    return blocks if blocks and len(blocks) == len(found) else None


def take_frames(array: da.Array, index: Any) -> da.Array:
    """Pick frames with integers or a mask along time, reading no others.

    Parameters
    ----------
    array : dask.array.Array, shape (time, y, x)
        Stack made by `frame_array`; any other is indexed as dask does, block by block.
    index : sequence of int or bool
        Frames wanted, in any order.

    Returns
    -------
    dask.array.Array, shape (n, y, x)
    """
    positions = np.arange(array.shape[0])[np.asarray(index)]
    blocks = blocks_of(array)
    if blocks is None or not positions.size:
        return cast("da.Array", array[positions])
    return frame_array([block.select(local) for block, local in _by_block(blocks, positions)])


def place_frames(
    array: da.Array, index: NDArray[np.intp], chunks: Sequence[int], dtype: np.dtype[Any] | None = None
) -> da.Array:
    """Put frames in given places along time, lazily.

    Parameters
    ----------
    array : dask.array.Array, shape (time, y, x) [adu]
        Stack of frames. One made by `frame_array` is read frame by frame as asked; of any other, the frames
        between the first and the last of a chunk are computed.
    index : ndarray of int, shape (n,)
        Frame for each place; -1 where there is none.
    chunks : sequence of int
        Places per chunk of the result.
    dtype : dtype, optional
        Type of the result. Default: that of ``array``, or `with_nan` of it if a place is empty.

    Returns
    -------
    dask.array.Array, shape (n, y, x) [adu]
        Pixels of empty places are NaN. The tasks grow with the chunks, however the frames are scattered.
    """
    if dtype is None:
        dtype = array.dtype if (index >= 0).all() else with_nan(array.dtype)
    placed = _placed_blocks(array, index, chunks, dtype)
    if placed is not None:
        return _stack(placed, tokenize(array.name, index, tuple(chunks), dtype))
    parts = [index[first:stop] for first, stop in pairwise(np.cumsum([0, *chunks]))]
    return cast("da.Array", da.concatenate([_placed(array, part, dtype) for part in parts]))


def place_cameras_frames(
    arrays: Sequence[da.Array],
    indices: Sequence[NDArray[np.intp]],
    chunks: Sequence[int],
    dtype: np.dtype[Any],
) -> da.Array:
    """Stack cameras, the frames of each put in given places; see `place_frames`.

    Returns
    -------
    dask.array.Array, shape (camera, time, y, x) [adu]
        One chunk per camera and chunk of time. Slices reach the reader if `frame_array` made every array.
    """
    pairs = list(zip(arrays, indices, strict=True))
    placed = [_placed_blocks(array, index, chunks, dtype) for array, index in pairs]
    sources = [CameraPixels(pixels) for camera in placed if camera is not None for pixels in camera]
    if len(sources) < len(pairs) * len(chunks):
        return cast(
            "da.Array", da.stack([place_frames(array, index, chunks, dtype) for array, index in pairs])
        )
    shape = sources[0].shape[2:]
    layout = ((1,) * len(pairs), tuple(map(int, chunks)), *((length,) for length in shape))
    keys = [(camera, part, 0, 0) for camera in range(len(pairs)) for part in range(len(chunks))]
    token = tokenize([array.name for array in arrays], list(indices), tuple(chunks), dtype)
    return _array(dict(zip(keys, sources, strict=True)), layout, dtype, token)


def _placed_blocks(
    array: da.Array, index: NDArray[np.intp], chunks: Sequence[int], dtype: np.dtype[Any]
) -> list[BlockPixels] | None:
    """Sources of the chunks of `place_frames`, if the blocks behind the array are known."""
    blocks = blocks_of(array)
    if blocks is None:
        return None
    whole = replace(
        blocks[0],
        paths=tuple(path for block in blocks for path in block.paths),
        meta=np.concatenate([block.meta for block in blocks]),
    )
    parts = [index[first:stop] for first, stop in pairwise(np.cumsum([0, *chunks]))]
    return [BlockPixels(whole.select(part[part >= 0]), dtype, part >= 0) for part in parts]


def _placed(array: da.Array, part: NDArray[np.intp], dtype: np.dtype[Any]) -> da.Array:
    """One chunk of `place_frames` of a stack that is no longer as it was read."""
    found = part[part >= 0]
    if not found.size:
        return cast("da.Array", da.full((part.size, *array.shape[1:]), np.nan, dtype=dtype, chunks=-1))
    first, stop = int(found.min()), int(found.max()) + 1
    local = np.where(part >= 0, part - first, -1)
    meta = np.empty((0, 0, 0), dtype)
    span = array[first:stop].rechunk(-1)
    return cast(
        "da.Array",
        da.map_blocks(_place, span, local, dtype, chunks=((part.size,), *span.chunks[1:]), meta=meta),
    )


def _place(span: Image, local: NDArray[np.intp], kind: np.dtype[Any]) -> Image:
    out = span[np.maximum(local, 0)].astype(kind)
    if (local < 0).any():
        out[local < 0] = np.nan
    return out


def with_nan(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Type that holds every value of ``dtype`` (integers beyond 2**53 rounded) and NaN."""
    if dtype.kind == "f":
        return dtype
    return np.dtype("float32" if dtype.itemsize <= 2 else "float64")


def _by_block(
    blocks: Sequence[FrameBlock], positions: NDArray[np.intp]
) -> list[tuple[FrameBlock, NDArray[np.intp]]]:
    """Blocks with the consecutive positions that fall into each, counted inside it."""
    starts = np.cumsum([0, *map(len, blocks)])
    owner = np.searchsorted(starts, positions, side="right") - 1
    runs = np.split(positions, np.flatnonzero(np.diff(owner)) + 1)
    owners = owner[np.cumsum([0, *map(len, runs[:-1])])]
    return [(blocks[number], run - starts[number]) for number, run in zip(owners, runs, strict=True)]


def _stack(chunks: Sequence[BlockPixels], token: str) -> da.Array:
    kinds = {(*chunk.block.shape, chunk.dtype) for chunk in chunks}
    if len(kinds) > 1:
        raise InputError(f"frames of several shapes or types cannot be stacked: {sorted(map(str, kinds))}")
    ((ny, nx, dtype),) = kinds
    layout = (tuple(chunk.shape[0] for chunk in chunks), (ny,), (nx,))
    return _array({(number, 0, 0): chunk for number, chunk in enumerate(chunks)}, layout, dtype, token)


def _array(
    sources: Mapping[tuple[int, ...], Any],
    chunks: tuple[tuple[int, ...], ...],
    dtype: np.dtype[Any],
    token: str,
) -> da.Array:
    """Dask array over array-likes, in the form whose slices dask fuses into the read.

    `dask.array.from_array` gives each chunk two tasks, and slices of those are not fused.
    """
    name = f"opticam-frames-{token}"
    whole = (slice(None),) * len(chunks)
    graph: dict[Any, Any] = {
        (name, *place): Task((name, *place), getter, DataNode(None, source), DataNode(None, whole))
        for place, source in sources.items()
    }
    layer = HighLevelGraph.from_collections(name, graph)
    return da.Array(layer, name, chunks=chunks, meta=np.empty((0,) * len(chunks), dtype))


def _source(task: Any) -> Any:
    if not isinstance(task, Task) or task.func is not getter:
        return None
    return getattr(task.args[0], "value", None)
