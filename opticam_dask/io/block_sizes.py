"""How many frames make a block, and what they must have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dask.utils import parse_bytes

from opticam_dask import config
from opticam_dask.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


def frames_of_block(
    frame_bytes: int, block_bytes: int | str | None = None, frames_per_block: int | None = None
) -> int:
    """Frames of one block, at least 1.

    Parameters
    ----------
    frame_bytes : int
        Pixels of a frame [byte].
    block_bytes, frames_per_block : optional
        As `blocks.split_blocks` takes them; by default what is configured.

    Raises
    ------
    InputError
        If a size is not positive.
    """
    if frames_per_block is None and block_bytes is None:
        frames_per_block = config.frames_per_block()
    if frames_per_block is not None:
        if frames_per_block < 1:
            raise InputError(f"frames_per_block must be at least 1, not {frames_per_block}")
        return int(frames_per_block)
    try:
        available = config.block_bytes() if block_bytes is None else parse_bytes(block_bytes)
    except ValueError as error:
        raise InputError(f"block_bytes must be a size such as '64MiB', not {block_bytes!r}") from error
    if available < 1:
        raise InputError(f"block_bytes must be positive, not {available}")
    return max(1, int(available // max(frame_bytes, 1)))


def only_value(rows: pd.DataFrame, name: str) -> str:
    """Value of a column that all frames of a block share.

    Raises
    ------
    InputError
        If they do not.
    """
    values = rows[name].unique()
    if len(values) != 1:
        raise InputError(f"a block needs frames of one {name}, not of {', '.join(sorted(map(str, values)))}")
    return str(values[0])
