"""One task per block of frames: graphs over `opticam_dask.io.blocks.FrameBlock`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from dask._task_spec import DataNode, Task, TaskRef
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph

from opticam_dask.lazy.boxed import Boxed, boxed
from opticam_dask.lazy.objects import object_array

if TYPE_CHECKING:
    import dask.array as da

_META = np.empty(0, object)


def map_blocks_of_frames(
    func: Callable[..., Any], blocks: Sequence[Any], *args: Any, **kwargs: Any
) -> da.Array:
    """Run a function on each block, lazily.

    Parameters
    ----------
    func : callable
        ``func(block, *args, **kwargs)`` returns any picklable object. It is not called here.
    blocks : sequence
        Usually of FrameBlock; anything that pickles and tells dask its token. A block is part of its task:
        it goes to the worker with it, and to no other.
    *args, **kwargs
        Passed on. What is large enters the graph once, however many blocks there are.

    Returns
    -------
    dask.array.Array, shape (n_blocks,), dtype object
        One returned object per block, in the order of the blocks; one task each, and one for the constants.
    """
    token = tokenize(func, list(blocks), args, kwargs)
    name = getattr(func, "__name__", type(func).__name__).strip("_<>")
    # A node of its own, so that constants are in the graph, and cross the network, once.
    call = f"call-{name}-{token}"
    tasks: dict[Any, Any] = {call: DataNode(call, _Call(func, args, kwargs))}
    for number, block in enumerate(blocks):
        key = f"{name}-{token}", number
        tasks[key] = Task(key, _call, block, TaskRef(call))
    return _array(f"{name}-{token}", tasks, len(blocks))


def join_tasks(tasks: Sequence[da.Array]) -> da.Array:
    """Put the tasks of several `map_blocks_of_frames` end to end, to be run together."""
    name = f"{tasks[0].name.rpartition('-')[0]}-{tokenize([each.name for each in tasks])}"
    joined: dict[Any, Any] = {}
    count = 0
    for each in filter(len, tasks):
        graph = dict(each.dask)
        for key in each.__dask_keys__():
            # Tasks get new names, not tasks of their own to rename them.
            joined[name, count] = graph.pop(key).substitute({}, key=(name, count))
            count += 1
        joined |= graph
    return _array(name, joined, count)


def _array(name: str, graph: dict[Any, Any], count: int) -> da.Array:
    if not count:  # an array has a chunk all the same
        graph = {(name, 0): DataNode((name, 0), _META)}
    return object_array(HighLevelGraph.from_collections(name, graph), name, count)


@dataclass(frozen=True)
class _Call:
    func: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def _call(block: Any, call: _Call) -> Boxed:
    return boxed(call.func(block, *call.args, **call.kwargs))
