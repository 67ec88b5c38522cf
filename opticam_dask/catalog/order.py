"""One sequence out of the nights of a camera: every frame has a position, whatever the blocks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from dask.tokenize import normalize_token
from numpy.typing import NDArray

from opticam_dask.config import blocks_at_least

if TYPE_CHECKING:
    from opticam_dask.io.blocks import FrameBlock

ANCHOR_STEP = 32
"""From one frame of known transform to the next there are no more frames than this."""
_BUNDLE = (32, 256)  # frames to a task at least, if there are tasks enough, and at most
_PIECES = 16  # bundles that a long night is cut into, while they are no larger than that


@dataclass(frozen=True, eq=False)
class FrameOrder:
    """Positions of frames in the sequence of all nights of a camera.

    Parameters
    ----------
    offsets : dict
        Position of frame 0 of each night.
    """

    offsets: dict[str, int]

    @classmethod
    def of(cls, blocks: Sequence[FrameBlock]) -> FrameOrder:
        """Order of the frames of blocks, night after night."""
        length: dict[str, int] = {}
        for block in blocks:
            length[block.night] = max(length.get(block.night, 0), block.stop)
        starts = np.cumsum([0, *(length[night] for night in sorted(length))])
        return cls({night: int(start) for night, start in zip(sorted(length), starts[:-1], strict=True)})

    def positions(self, block: FrameBlock) -> NDArray[np.int64]:
        """Positions of a block's frames."""
        return np.asarray(block.meta["frame"] + self.offsets[block.night], np.int64)


def in_order(blocks: Sequence[FrameBlock]) -> list[FrameBlock]:
    """Blocks by night and frame."""
    return sorted((block for block in blocks if len(block)), key=lambda block: (block.night, block.start))


def select_frames(
    blocks: Sequence[FrameBlock], order: FrameOrder, chosen: NDArray[np.int64]
) -> list[FrameBlock]:
    """Blocks cut down to the frames at the chosen (sorted) positions; those without any are dropped."""
    cut = []
    for block in blocks:
        own = order.positions(block)
        near = chosen[np.searchsorted(chosen, own[0]) : np.searchsorted(chosen, own[-1], "right")]
        mask = np.isin(own, near)
        if mask.any():
            cut.append(block if mask.all() else block.select(np.flatnonzero(mask)))
    return cut


def spread(positions: NDArray[np.int64], number: int) -> NDArray[np.int64]:
    """At most ``number`` of the positions, evenly spread, first and last included."""
    index = np.linspace(0, len(positions) - 1, min(number, len(positions))).round().astype(np.int64)
    return np.unique(positions[index])


def every_kth(positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """Anchors: every 32nd position."""
    return positions[ANCHOR_STEP // 2 :: ANCHOR_STEP]


@dataclass(frozen=True, eq=False)
class Bundle:
    """Neighbouring blocks that one task works on: one partial result, as large as a frame or more, for all.

    Parameters
    ----------
    blocks : tuple of FrameBlock
        In order of night and frame.
    """

    blocks: tuple[FrameBlock, ...]

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return type(self).__name__, *(normalize_token(block) for block in self.blocks)


def bundled(blocks: Sequence[FrameBlock]) -> list[Bundle]:
    """Bundles of 32 frames or more, but smaller ones where there would be too few for the workers.

    In a long night they are larger: the fewer there are, the fewer stacks wait to be merged.
    """
    total = sum(len(block) for block in blocks)
    wanted = min(max(total / _PIECES, _BUNDLE[0]), _BUNDLE[1])
    size = max(1, min(math.ceil(wanted * len(blocks) / total), len(blocks) // blocks_at_least()))
    return [Bundle(tuple(blocks[start : start + size])) for start in range(0, len(blocks), size)]
