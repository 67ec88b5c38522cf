"""Notes and flags on rows of the frame index."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from opticam_dask.io.headers import NOTE_SEPARATOR
from opticam_dask.schema import Flag


def mark(frames: pd.DataFrame, rows: NDArray[np.bool_], note: str = "", flag: Flag | None = None) -> None:
    """Add a note, a flag, or both to some rows, in place."""
    if not rows.any():
        return
    if note:
        _note(frames, rows, note)
    if flag is not None:
        frames.loc[rows, "flags"] |= int(flag)


def _note(frames: pd.DataFrame, rows: NDArray[np.bool_], note: str) -> None:
    notes = frames["notes"].to_numpy(dtype=object).copy()
    memory: dict[str, str] = {}  # frames share a few texts: each is made once
    for row in np.flatnonzero(rows):
        old = notes[row]
        notes[row] = memory.setdefault(old, f"{old}{NOTE_SEPARATOR}{note}" if old else note)
    frames["notes"] = notes


def without_notes(notes: str, unwanted: tuple[str, ...]) -> str:
    """Take some of the notes out of a joined text."""
    return NOTE_SEPARATOR.join(note for note in notes.split(NOTE_SEPARATOR) if note not in unwanted)
