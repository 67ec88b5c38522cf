"""Memory for pixels, used again: to get fresh pages costs more than to decode a frame into old ones."""

from __future__ import annotations

import sys
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opticam_dask.types import Image

_ARRAYS_KEPT = 3  # the one being filled, and those that a loop over frames and a function in it still name
_SCRATCH_KEPT = 64 * 2**20


class _Kept(threading.local):
    """What this thread has for use."""

    def __init__(self) -> None:
        self.frames: list[Image] = []
        self.bytes = np.empty(0, np.uint8)


_kept = _Kept()


def _idle_count() -> int:
    """Count the references to an object of a list that nobody else holds, as `frame_array` does."""
    alone = [np.empty(0)]
    return sys.getrefcount(alone[0])


_IDLE = _idle_count()


def frame_array(shape: tuple[int, int], dtype: str) -> Image:
    """Array for one frame, of unspecified content: one made before, if nobody holds it or a part of it.

    It belongs to the caller for as long as he keeps it: views count as holding the array.
    """
    frames, wanted = _kept.frames, np.dtype(dtype)
    for i in range(len(frames)):
        if sys.getrefcount(frames[i]) == _IDLE and frames[i].shape == shape and frames[i].dtype == wanted:
            return frames[i]
    frames.append(np.empty(shape, wanted))
    if len(frames) > _ARRAYS_KEPT:
        frames.pop(0)
    return frames[-1]


def scratch(size: int) -> NDArray[Any]:
    """Bytes of unspecified content, shape (size,), that are the caller's until this thread asks again."""
    if size > _SCRATCH_KEPT:
        return np.empty(size, np.uint8)
    if size > _kept.bytes.size:
        _kept.bytes = np.empty(size, np.uint8)
    return _kept.bytes[:size]
