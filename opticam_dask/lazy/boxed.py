"""What a task returns: one object, of whose size dask knows."""

from __future__ import annotations

from typing import Any

import numpy as np
from dask.sizeof import sizeof


class Boxed(np.ndarray[Any, Any]):
    """Array of one object. Dask takes a plain one for 8 bytes, whatever it holds.

    Workers move what is large to disk when memory gets short, and fetch no more of it at once than they have
    room for; both go by the sizes that dask knows of.
    """


@sizeof.register(Boxed)
def _size(box: Boxed) -> int:
    return int(box.nbytes + sum(sizeof(each) for each in box.flat))


def boxed(value: Any) -> Boxed:
    """Put an object into an array, shape (1,).

    Parameters
    ----------
    value : object
        If it is large, its ``__sizeof__`` should tell.
    """
    box = np.empty(1, object)
    box[0] = value
    return box.view(Boxed)
