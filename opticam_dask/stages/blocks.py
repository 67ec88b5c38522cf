"""Frames of a camera, cut into the blocks that tasks work on."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from opticam_dask.config import blocks_at_least, frames_per_block
from opticam_dask.io.blocks import FrameBlock, split_blocks

if TYPE_CHECKING:
    import pandas as pd


def by_camera(frames: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Rows of each camera, sorted by its name; parts of the table itself where they stand together in it."""
    number, cameras = frames["camera"].factorize()
    edges = [0, *(np.flatnonzero(np.diff(number)) + 1).tolist(), len(frames)]
    if len(edges) > len(cameras) + 1:
        return {str(camera): rows for camera, rows in frames.groupby("camera", sort=True)}
    runs = zip(map(str, cameras), pairwise(edges), strict=False)
    return {camera: frames.iloc[start:stop] for camera, (start, stop) in sorted(runs)}


def blocks_of(rows: pd.DataFrame) -> list[FrameBlock]:
    """Cut a camera's frames by bytes, but a short night into pieces enough for several workers."""
    blocks = split_blocks(rows)
    if frames_per_block() is not None or len(blocks) >= blocks_at_least():
        return blocks
    return split_blocks(rows, frames_per_block=math.ceil(len(rows) / blocks_at_least()))
