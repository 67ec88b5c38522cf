"""Frames on their way into a stack: gathered, and added a few at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from opticam_dask.kernels.stack import Stack, add_frames
from opticam_dask.types import Affine

# The more at once, the less often the stack passes through memory: with two, that takes as long as all else.
_BYTES = 64 * 2**20
_MOST = 8


class Intake:
    """Buffers for some frames, and the stack they go into.

    Parameters
    ----------
    shape : tuple of int
        (rows, columns) of the frames and of the stack.
    scale, limit : float
        See `opticam_dask.kernels.stack.add_frames`.
    """

    def __init__(self, shape: tuple[int, int], scale: float, limit: float) -> None:
        number = min(max(_BYTES // max(4 * shape[0] * shape[1], 1), 1), _MOST)
        self._images = np.empty((number, *shape), np.float32)
        self._levels, self._affines = list[float](), list[Affine]()
        self._stack, self._scale, self._limit = Stack.empty(shape), scale, limit

    @property
    def image(self) -> NDArray[np.float32]:
        """Where to put the next frame, shape (rows, columns); what is there is kept only by `take`."""
        return self._images[len(self._levels)]

    def take(self, level: float, affine: Affine) -> None:
        """Let the frame in `image`, of that sky [adu] and that transform, be part of the stack."""
        self._levels.append(level)
        self._affines.append(affine)
        if len(self._levels) == len(self._images):
            self._flush()

    def stack(self) -> Stack:
        """Stack of the frames taken."""
        self._flush()
        return self._stack

    def _flush(self) -> None:
        if self._levels:
            images = self._images[: len(self._levels)]
            add_frames(images, self._levels, self._affines, self._stack, scale=self._scale, limit=self._limit)
            self._levels, self._affines = [], []
