"""Quality of every frame: seeing, sky, shift, transparency, clouds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from opticam_dask.errors import InputError
from opticam_dask.io.frame_index import accepted, read_frames
from opticam_dask.schema import ALIGNMENT, CLOUD_MAG, Flag

if TYPE_CHECKING:
    import pandas as pd

_KEY = ["night", "camera", "frame"]
_OF_FRAME = ["MJD", "BMJD", "airmass", "exposure", "time_quality"]
_OF_STARS = [
    *("fwhm", "psf_semimajor", "psf_semiminor", "psf_orientation", "ellipticity"),
    *("background", "background_rms", "shift_x", "shift_y", "rotation", "residual", "n_matched"),
    *("transparency", "cloud", "status", "reason"),
]
COLUMNS = (*_KEY, *_OF_FRAME, *_OF_STARS, "flags")
"""Columns of the frame-quality table."""


def frame_quality(out_directory: str | Path) -> pd.DataFrame:
    """Join what is known of each accepted frame of a reduction, one row per frame.

    Parameters
    ----------
    out_directory : path
        Output directory of a reduction whose catalogues have been made.

    Returns
    -------
    DataFrame
        In order of camera, night and frame, the columns `COLUMNS`, units as in `schema.FRAME_COLUMNS` and
        `schema.ALIGNMENT_COLUMNS`. ``ellipticity`` is 1 - semiminor / semimajor. ``flags`` are the bits of
        `schema.Flag` that hold for every source of the frame: those of the frame index, NOT_ALIGNED,
        UNREADABLE and CLOUD. Numbers are NaN where a frame was not aligned; ``cloud`` [mag] is infinite where
        hardly a star was seen though many should be. A frame new since the catalogues were made has the
        status ``not catalogued``.

    Raises
    ------
    InputError
        If the frame index or the alignment table is missing or cannot be read.
    """
    root = Path(out_directory)
    frames = accepted(read_frames(_existing(root / "frames.parquet", "scan the data")))
    stars = _alignment(_existing(root / "alignment.parquet", "call create_catalogs()"))
    table = frames[[*_KEY, *_OF_FRAME, "flags"]].merge(stars, on=_KEY, how="left", validate="one_to_one")
    table["status"] = table["status"].fillna("not catalogued")
    table["reason"] = table["reason"].fillna("")
    table["n_matched"] = table["n_matched"].fillna(0).astype(np.int32)
    table["ellipticity"] = 1.0 - table["psf_semiminor"] / table["psf_semimajor"]
    table["flags"] = (table["flags"] | _bits(table)).astype(np.int32)
    ordered = table.sort_values(["camera", "night", "frame"], ignore_index=True)
    return ordered[list(COLUMNS)]


def _existing(path: Path, remedy: str) -> Path:
    if not path.is_file():
        raise InputError(f"{path}: no such file; {remedy} first, or give the output directory of a reduction")
    return path


def _alignment(path: Path) -> pd.DataFrame:
    import pyarrow as pa
    import pyarrow.parquet as pq

    wanted = [*_KEY, *(name for name in _OF_STARS if name != "ellipticity")]
    try:
        frame: pd.DataFrame = pq.read_table(path, columns=wanted, schema=ALIGNMENT).to_pandas()
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path} cannot be read as an alignment table: {error}") from error
    return frame


def _bits(table: pd.DataFrame) -> NDArray[np.int64]:
    status = table["status"]
    bits = np.where(status.isin(["aligned", "not catalogued"]), 0, int(Flag.NOT_ALIGNED))
    bits = bits | np.where(status == "unreadable", int(Flag.UNREADABLE), 0)
    cloudy = np.where(table["cloud"] >= CLOUD_MAG, int(Flag.CLOUD), 0)
    return np.asarray(bits | cloudy, np.int64)
