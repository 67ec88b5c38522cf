"""Lazy stacks of frames: one task per block, and only the frames and rows that are asked for are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, cast

import dask.array as da
import numpy as np
from dask._task_spec import DataNode, Task
from dask.array.core import getter
from dask.base import is_dask_collection, tokenize
from dask.highlevelgraph import HighLevelGraph
from numpy.typing import NDArray

from opticam_dask.errors import InputError
from opticam_dask.io.blocks import FrameBlock
from opticam_dask.io.indexing import AxisIndex, axis_indices
from opticam_dask.lazy.pixels import BlockPixels, CameraPixels
from opticam_dask.types import Image

_CAMERA_DIMS = 4


class FrameArray(da.Array):
    """Dask array over frames in files; whatever indexes it reaches the reader, also one step after another.

    Arithmetic turns it into an ordinary dask array.
    """

    sources: list[list[BlockPixels]]  # per camera, per chunk of time

    def __getitem__(self, index: Any) -> Any:
        axes = _plain_axes(index, self.shape)
        if axes is None or not all(axis.size for axis in axes):
            ordinary: Any = super()
            return ordinary.__getitem__(index)  # None, masks that are lazy, nothing left: dask's way
        cameras = axes[0].positions() if self.ndim == _CAMERA_DIMS else [0]
        chosen = [_sliced(self.sources[camera], axes[-3:]) for camera in cameras]
        lead = not axes[0].dropped if self.ndim == _CAMERA_DIMS else False
        token = tokenize(self.name, [(axis.where, axis.dropped) for axis in axes])
        return _frame_array(chosen, token, lead=lead, dropped=[axis.dropped for axis in axes[-3:]])


def frame_array(blocks: Sequence[FrameBlock]) -> da.Array:
    """Stack blocks of one camera along time, lazily.

    Parameters
    ----------
    blocks : sequence of FrameBlock
        At least one; all of one shape and type of pixel.

    Returns
    -------
    dask.array.Array, shape (time, y, x) [adu]
        One chunk and one task per block, native pixels. Indexing with integers, slices, lists and masks
        reads only the frames and rows asked for, if it comes before any arithmetic.

    Raises
    ------
    InputError
        If there is no block, or they differ in shape or type.
    """
    if not blocks:
        raise InputError("no block of frames to stack")
    kinds = {(*block.shape, block.dtype) for block in blocks}
    if len(kinds) > 1:
        raise InputError(f"frames of several shapes or types cannot be stacked: {sorted(map(str, kinds))}")
    sources = [BlockPixels(block, np.dtype(block.dtype)) for block in blocks]
    return _frame_array([sources], tokenize(list(blocks)), lead=False)


def place_frames(
    arrays: Sequence[da.Array],
    indices: Sequence[NDArray[np.intp]],
    chunks: Sequence[int],
    dtype: np.dtype[Any],
) -> da.Array:
    """Stack cameras lazily, the frames of each put in given places along time.

    Parameters
    ----------
    arrays : sequence of dask.array.Array, shape (time, y, x) [adu]
        Stacks of one shape of frame. Those made by `frame_array` are read frame by frame as asked; of any
        other, the frames between the first and the last of a chunk are computed.
    indices : sequence of ndarray of int, shape (n,)
        Frame of each camera for each place; -1 where there is none.
    chunks : sequence of int
        Places per chunk of the result.
    dtype : dtype
        Type of the result; a float if a place is empty.

    Returns
    -------
    dask.array.Array, shape (camera, n, y, x) [adu]
        Pixels of empty places are NaN. Tasks grow with the chunks, however the frames are scattered.
    """
    pairs = list(zip(arrays, indices, strict=True))
    if all(isinstance(array, FrameArray) and _has_no_gaps(array) for array in arrays):
        sources = [_placed_sources(cast("FrameArray", array), index, chunks, dtype) for array, index in pairs]
        token = tokenize([array.name for array in arrays], list(indices), tuple(chunks), dtype)
        return _frame_array(sources, token, lead=True)
    cameras = [
        da.concatenate([_placed(array, part, dtype) for part in _parts(index, chunks)])
        for array, index in pairs
    ]
    return cast("da.Array", da.stack(cameras))


def with_nan(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Type that holds every value of ``dtype`` (integers beyond 2**53 rounded) and NaN."""
    if dtype.kind == "f":
        return dtype
    return np.dtype("float32" if dtype.itemsize <= 2 else "float64")


def _plain_axes(index: Any, shape: Sequence[int]) -> tuple[AxisIndex, ...] | None:
    """Index per axis if it is of integers, slices and at most one list or mask."""
    keys = index if isinstance(index, tuple) else (index,)
    if (
        any(key is None or is_dask_collection(key) for key in keys)
        or sum(np.ndim(_listed(k)) for k in keys) > 1
    ):
        return None
    try:
        return axis_indices(index, shape)
    except IndexError:
        return None  # dask says what is wrong with it


def _listed(key: Any) -> Any:
    return 0 if isinstance(key, slice) or key is Ellipsis else key


def _sliced(sources: Sequence[BlockPixels], axes: Sequence[AxisIndex]) -> list[BlockPixels]:
    """Cut sources down to a part: one for each run of consecutive positions that fall into one source."""
    positions = np.asarray(axes[0].positions(), np.intp)
    starts = np.cumsum([0, *(source.shape[0] for source in sources)])
    owner = np.searchsorted(starts, positions, side="right") - 1
    edges = [0, *(np.flatnonzero(np.diff(owner)) + 1).tolist(), positions.size]
    found = []
    for first, stop in pairwise(edges):
        local = positions[first:stop] - starts[owner[first]]
        found.append(sources[owner[first]].sliced(AxisIndex(local, local.size), axes[1], axes[2]))
    return found


def _frame_array(
    sources: list[list[BlockPixels]], token: str, *, lead: bool, dropped: Sequence[bool] = (False,) * 3
) -> da.Array:
    """Dask array over sources per camera and chunk; with an axis of cameras if ``lead``."""
    _, ny, nx = sources[0][0].shape
    times = tuple(source.shape[0] for source in sources[0])
    lengths = [times, (ny,), (nx,)]
    chunks = [length for length, gone in zip(lengths, dropped, strict=True) if not gone]
    key = tuple(0 if gone else slice(None) for gone in dropped)
    grid: dict[tuple[int, ...], tuple[Any, Any]] = {}
    for camera, parts in enumerate(sources):
        for number, part in enumerate(parts):
            place = tuple(p for p, gone in zip((number, 0, 0), dropped, strict=True) if not gone)
            grid[(camera, *place) if lead else place] = (
                (CameraPixels(part), (slice(None), *key)) if lead else (part, key)
            )
    layout = (((1,) * len(sources),) if lead else ()) + tuple(chunks)
    array = _array(grid, layout, sources[0][0].dtype, token, pushing=not any(dropped))
    if isinstance(array, FrameArray):
        array.sources = sources
    return array


def _array(
    grid: Mapping[tuple[int, ...], tuple[Any, Any]],
    chunks: tuple[tuple[int, ...], ...],
    dtype: np.dtype[Any],
    token: str,
    *,
    pushing: bool,
) -> da.Array:
    """Dask array of one task per chunk, in the form whose next slice dask itself fuses into the read."""
    name = f"opticam-frames-{token}"
    graph: dict[Any, Any] = {
        (name, *place): Task((name, *place), getter, DataNode(None, source), DataNode(None, key))
        for place, (source, key) in grid.items()
    }
    layer = HighLevelGraph.from_collections(name, graph)
    kind: Any = FrameArray if pushing else da.Array
    return cast("da.Array", kind(layer, name, chunks=chunks, meta=np.empty((0,) * len(chunks), dtype)))


def _has_no_gaps(array: FrameArray) -> bool:
    """Whether the frames of an array can be taken from their files in any order, without gaps between."""
    return len(array.sources) == 1 and all(
        source.present is None and isinstance(source.block, FrameBlock) for source in array.sources[0]
    )


def _parts(index: NDArray[np.intp], chunks: Sequence[int]) -> list[NDArray[np.intp]]:
    return [index[first:stop] for first, stop in pairwise(np.cumsum([0, *chunks]))]


def _placed_sources(
    array: FrameArray, index: NDArray[np.intp], chunks: Sequence[int], dtype: np.dtype[Any]
) -> list[BlockPixels]:
    (parts,) = array.sources
    blocks = [part.block for part in parts]
    whole = replace(
        blocks[0],
        paths=tuple(path for block in blocks for path in block.paths),
        meta=np.concatenate([block.meta for block in blocks]),
    )
    return [
        replace(parts[0], block=whole.select(part[part >= 0]), dtype=dtype, present=part >= 0)
        for part in _parts(index, chunks)
    ]


def _placed(array: da.Array, part: NDArray[np.intp], dtype: np.dtype[Any]) -> da.Array:
    """One chunk of one camera of `place_frames`, from a stack that is no longer as it was read."""
    found = part[part >= 0]
    if not found.size:
        return cast("da.Array", da.full((part.size, *array.shape[1:]), np.nan, dtype=dtype, chunks=-1))
    first, stop = int(found.min()), int(found.max()) + 1
    local = np.where(part >= 0, part - first, -1)
    span = array[first:stop].rechunk(-1)
    layout = ((part.size,), *span.chunks[1:])
    meta = np.empty((0, 0, 0), dtype)
    return cast("da.Array", da.map_blocks(_place, span, local, dtype, chunks=layout, meta=meta))


def _place(span: Image, local: NDArray[np.intp], kind: np.dtype[Any]) -> Image:
    out = span[np.maximum(local, 0)].astype(kind)
    if (local < 0).any():
        out[local < 0] = np.nan
    return out
