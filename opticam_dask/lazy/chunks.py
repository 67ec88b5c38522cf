"""One task per block of frames: graphs over `opticam_dask.io.blocks.FrameBlock`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.delayed import delayed
from numpy.typing import NDArray

_META = np.empty(0, object)


def block_array(blocks: Sequence[Any]) -> da.Array:
    """Lay out blocks along a dask array, one per chunk.

    Parameters
    ----------
    blocks : sequence
        Usually of FrameBlock.

    Returns
    -------
    dask.array.Array, shape (n_blocks,), dtype object
        Holds descriptions of frames, no pixels.
    """
    cells = np.empty(len(blocks), object)
    cells[:] = list(blocks)
    return cast(
        "da.Array",
        da.from_array(cells, chunks=1, name=f"opticam-blocks-{tokenize(list(blocks))}", meta=_META),
    )


def map_blocks_of_frames(
    func: Callable[..., Any], blocks: Sequence[Any], *args: Any, **kwargs: Any
) -> da.Array:
    """Run a function on each block, lazily.

    Parameters
    ----------
    func : callable
        ``func(block, *args, **kwargs)`` returns any picklable object. It is not called here.
    blocks : sequence
        Usually of FrameBlock; anything that pickles and tells dask its token.
    *args, **kwargs
        Passed on. What is large enters the graph once, however many blocks there are.

    Returns
    -------
    dask.array.Array, shape (n_blocks,), dtype object
        One returned object per block, in the order of the blocks.
    """
    token = tokenize(func, list(blocks), args, kwargs)
    name = getattr(func, "__name__", type(func).__name__).strip("_<>")
    # A node of its own, so that constants are in the graph, and cross the network, once.
    call = delayed(_Call(func, args, kwargs), name=f"call-{name}-{token}", pure=True, traverse=False)
    return cast(
        "da.Array",
        da.map_blocks(_call, block_array(blocks), call, dtype=object, meta=_META, name=f"{name}-{token}"),
    )


def join_tasks(tasks: Sequence[da.Array]) -> da.Array:
    """Put the tasks of several `map_blocks_of_frames` end to end, to be run together."""
    return cast("da.Array", da.concatenate(list(tasks)))


@dataclass(frozen=True)
class _Call:
    func: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def _call(cell: NDArray[Any], call: _Call) -> NDArray[Any]:
    result = np.empty(1, object)
    result[0] = call.func(cell[0], *call.args, **call.kwargs)
    return result
