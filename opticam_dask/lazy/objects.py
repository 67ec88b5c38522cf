"""One-dimensional dask arrays of objects, one a task."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import dask.array as da
    from dask.highlevelgraph import HighLevelGraph

_META = np.empty(0, object)


def object_array(graph: HighLevelGraph, name: str, length: int) -> da.Array:
    """Array of objects, of which each is a chunk.

    Parameters
    ----------
    graph : HighLevelGraph
        Has a key ``(name, i)`` for every element; ``(name, 0)`` is an empty array if there is none.
    name : str
        Name of the array.
    length : int
        Number of elements.

    Returns
    -------
    dask.array.Array, shape (length,), dtype object
    """
    # Workers import what makes graphs as well, for the functions in them: they start without arrays, which
    # are half of what they would import.
    import dask.array as da

    return da.Array(graph, name, chunks=((1,) * length or (0,),), dtype=object, meta=_META)
