"""Light curves as a page carries them: all of a night and camera together, averaged if too many."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from opticam_dask.errors import InputError
from opticam_dask.report.packing import packed, rounded, rounded_to_errors
from opticam_dask.tables.parts import camera_folder, camera_folders
from opticam_dask.tables.source_quality import SPOILT
from opticam_dask.tables.store import dataset_root, labels

if TYPE_CHECKING:
    import pandas as pd

MOST_POINTS = 1_000_000
"""Points of all light curves of a page together; more are averaged."""

_STEP = 1 / 32  # of an error: what a flux is rounded to
_ERROR_BITS = 6  # of mantissa: errors to 1 %


@dataclass(frozen=True)
class Folder:
    """Light curves of one photometer in one night and camera.

    Parameters
    ----------
    root : Path
        The dataset.
    label : str
        Photometer.
    night, camera : str
        Which.
    identity : str
        Column that tells the curves apart: ``source``, or ``object_id`` in a survey.
    barycentric : bool
        Whether times are barycentric where they are known to be; else UTC, as where they are not.
    """

    root: Path
    label: str
    night: str
    camera: str
    identity: str
    barycentric: bool = True


def filled_folders(out: Path, identity: str) -> list[Folder]:
    """Folders of all light curves of an output directory that hold any.

    Raises
    ------
    InputError
        If a part is damaged.
    """
    found = [
        Folder(dataset_root(out, label), label, night, camera, identity)
        for label in labels(out)
        for night, camera in camera_folders(dataset_root(out, label))
    ]
    return [folder for folder in found if rows_of(folder)]


def rows_of(folder: Folder) -> int:
    """Rows of a folder, from the footers of its parts."""
    import pyarrow.parquet as pq

    return sum(_read_part(path, pq.read_metadata).num_rows for path in _parts(folder))


def curves_of(folder: Folder, average: int) -> dict[str, Any]:
    """Read the light curves of a folder as plain values for a page.

    Parameters
    ----------
    folder : Folder
        Which.
    average : int
        Frames to average, without such as are `SPOILT`; 1 keeps them as they are.

    Returns
    -------
    dict
        ``ids``; ``time``, `packed` float64 [d], as barycentric TDB if ``barycentric``, else UTC, one for
        each frame (or average); ``flux`` and ``error``, float32, and ``spoilt``, uint8, one for each id and
        frame, by id. Fluxes are rounded to 1/32 of the smallest error of their curve, errors to 1 %.
    """
    rows = rows_in(folder)
    ids, index = np.unique(rows[folder.identity].to_numpy(), return_inverse=True)
    frames, column = np.unique(rows["frame"].to_numpy(), return_inverse=True)
    grid = (len(ids), len(frames))
    flux, error = np.full(grid, np.nan), np.full(grid, np.nan)
    spoilt = np.zeros(grid, bool)
    flux[index, column], error[index, column] = rows["flux"], rows["flux_err"]
    spoilt[index, column] = (rows["flags"].to_numpy(np.int64) & int(SPOILT)) != 0
    barycentric = folder.barycentric and bool(np.isfinite(rows["BMJD"]).any())
    time = np.full(len(frames), np.nan)
    time[column] = rows["BMJD" if barycentric else "MJD"]
    time, flux, error, spoilt = averaged(time, flux, error, spoilt, average)
    steps = [rounded_to_errors(one, its, _STEP) for one, its in zip(flux, error, strict=True)]
    return {
        "label": folder.label,
        "night": folder.night,
        "camera": folder.camera,
        "ids": [str(each) for each in ids],
        "barycentric": barycentric,
        "average": average,
        "frames": len(time),
        "time": packed(time),
        "flux": packed(np.array(steps, np.float32)),
        "error": packed(rounded(error, _ERROR_BITS)),
        "spoilt": packed(spoilt.astype(np.uint8)),
    }


def averaged(
    time: NDArray[np.float64],
    flux: NDArray[np.float64],
    error: NDArray[np.float64],
    spoilt: NDArray[np.bool_],
    number: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Means of so many frames in a row, without spoilt ones.

    Parameters
    ----------
    time : ndarray, shape (n_frame,)
        Times [d].
    flux, error : ndarray, shape (n_curve, n_frame)
        NaN where there is none.
    spoilt : ndarray of bool, same shape
        What is left out.
    number : int
        Frames of a mean; 1 returns everything as it is.

    Returns
    -------
    tuple
        The same four, of ceil(n_frame / number) frames; nothing is spoilt any more, and means of no frame
        are NaN. The error is that of a plain mean of independent fluxes.
    """
    if number == 1:
        return time, flux, error, spoilt
    edges = np.arange(0, len(time), number)
    good = np.isfinite(flux) & np.isfinite(error) & ~spoilt
    count = np.add.reduceat(good, edges, axis=1, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.add.reduceat(np.where(good, flux, 0.0), edges, axis=1) / count
        scatter = np.sqrt(np.add.reduceat(np.where(good, error**2, 0.0), edges, axis=1)) / count
        timed = np.add.reduceat(np.isfinite(time), edges, dtype=np.float64)
        middle = np.add.reduceat(np.nan_to_num(time), edges) / timed
    return middle, mean, scatter, np.zeros(mean.shape, bool)


def frames_to_average(points: int, most: int = MOST_POINTS) -> int:
    """How many frames to average so that no more than ``most`` points are left."""
    return max(1, math.ceil(points / most))


def rows_in(folder: Folder) -> pd.DataFrame:
    """Rows of a folder: identity, ``frame``, times, fluxes and flags; those without an identity are left out.

    Raises
    ------
    InputError
        If a part is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = [folder.identity, "frame", "BMJD", "MJD", "flux", "flux_err", "flags"]

    def read(path: Path) -> pa.Table:
        # ParquetFile: the names of the folders are not columns here
        return pq.ParquetFile(path, page_checksum_verification=True).read(columns=columns)

    tables = [_read_part(path, read) for path in _parts(folder)]
    rows: pd.DataFrame = pa.concat_tables(tables, promote_options="permissive").to_pandas()
    return rows[rows[folder.identity] != ""]


def _read_part(path: Path, read: Callable[[Path], Any]) -> Any:
    import pyarrow as pa

    try:
        return read(path)
    except (OSError, pa.ArrowException) as error:
        raise InputError(
            f"{path}: cannot be read ({str(error).splitlines()[0]}); 'opticam-dask verify --repair' removes "
            "what is damaged, and the same run again makes it anew"
        ) from error


def _parts(folder: Folder) -> list[Path]:
    return sorted(camera_folder(folder.root, folder.night, folder.camera).glob("*.parquet"))
