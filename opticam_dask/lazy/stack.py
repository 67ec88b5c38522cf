"""Tree reduction of per-block results: partial stacks are merged a few at a time, never all in one place."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph

from opticam_dask.lazy.boxed import boxed
from opticam_dask.lazy.objects import object_array

# A worker holds so many objects and the merged one at a time, and the cluster fewer than so many a level
# of the tree: two is least in both.
FAN_IN = 2


def merge_tree(parts: Any, merge: Callable[[list[Any]], Any], *, fan_in: int = FAN_IN) -> Any:
    """Merge the objects of a dask array into one, ``fan_in`` neighbours at a time.

    Parameters
    ----------
    parts : dask array of object, shape (n,)
        One object a chunk, as `opticam_dask.lazy.chunks.map_blocks_of_frames` makes.
    merge : callable
        Takes a list of neighbouring objects, in order, and returns one of the same kind; it must be
        associative for the answer not to depend on how the blocks were cut.
    fan_in : int
        Objects merged by one task; bounds the memory of a worker.

    Returns
    -------
    dask array of object, shape (1,)
        Lazy: nothing is computed. The graph has about ``n / (fan_in - 1)`` tasks more than ``parts``.

    Raises
    ------
    ValueError
        If ``fan_in`` is less than two.
    """
    if fan_in < 2:
        raise ValueError(f"fan_in must be at least 2, not {fan_in}")
    name = f"merge-tree-{tokenize(parts.name, merge, fan_in)}"
    keys: list[Any] = [(parts.name, i) for i in range(parts.numblocks[0])]
    layer: dict[Any, Any] = {}
    for level in count():
        groups = [keys[start : start + fan_in] for start in range(0, len(keys), fan_in)]
        last = len(groups) == 1
        keys = [(name, 0) if last else (f"{name}-{level}", i) for i in range(len(groups))]
        layer |= {key: (_merge_chunks, merge, group) for key, group in zip(keys, groups, strict=True)}
        if last:
            break
    graph = HighLevelGraph.from_collections(name, layer, dependencies=[parts])
    return object_array(graph, name, 1)


def _merge_chunks(merge: Callable[[list[Any]], Any], chunks: list[Any]) -> Any:
    return boxed(merge([chunk[0] for chunk in chunks]))
