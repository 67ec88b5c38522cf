"""Frames of a camera, cut into the blocks that tasks work on."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from opticam_dask.config import blocks_at_least, frames_per_block
from opticam_dask.io.blocks import FrameBlock, split_blocks

if TYPE_CHECKING:
    import pandas as pd


def blocks_of(rows: pd.DataFrame) -> list[FrameBlock]:
    """Cut a camera's frames by bytes, but a short night into pieces enough for several workers."""
    blocks = split_blocks(rows)
    if frames_per_block() is not None or len(blocks) >= blocks_at_least():
        return blocks
    return split_blocks(rows, frames_per_block=math.ceil(len(rows) / blocks_at_least()))
