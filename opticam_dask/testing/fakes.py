"""Stand-ins for what a header scan finds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from opticam_dask.schema import FRAMES


def frame_table(
    paths: Sequence[str],
    shape: tuple[int, int],
    dtype: str = "uint16",
    *,
    camera: str = "1:g",
    night: str = "2024-01-01",
    hdu: int = 0,
    planes: Sequence[int] | None = None,
    start_mjd: float = 60310.25,
    cadence_s: float = 1.0,
) -> pd.DataFrame:
    """Frame index of one camera and night, as a scan would give it, without any file being read.

    Parameters
    ----------
    paths : sequence of str
        File of each frame.
    shape : (ny, nx)
        Shape of each frame.
    dtype : str
        Native numpy type of the pixels.
    camera, night : str
        Camera ``'<arm>:<filter>'`` and local date of the evening.
    hdu : int
        Header-data unit that holds the frames.
    planes : sequence of int, optional
        Plane of each frame in its file; default 0.
    start_mjd, cadence_s : float
        Time of the first frame (MJD, UTC, mid-exposure) and seconds between frames.

    Returns
    -------
    DataFrame
        Every column of `opticam_dask.schema.FRAMES`; what is not given is empty, NaN or 0.
    """
    count = len(paths)
    mjd = start_mjd + np.arange(count) * cadence_s / 86400
    known = {
        "path": list(paths),
        "hdu": hdu,
        "plane": 0 if planes is None else list(planes),
        "night": night,
        "camera": camera,
        "filter": camera.partition(":")[2],
        "frame": np.arange(count),
        "MJD": mjd,
        "BMJD": mjd + 0.003,
        "exposure": cadence_s,
        "gain": 1.0,
        "airmass": 1.2,
        "binning": "4x4",
        "shape": f"{shape[0]}x{shape[1]}",
        "dtype": dtype,
        "time_quality": "ut",
        "status": "accepted",
    }
    columns = {field.name: known.get(field.name, _nothing(field.type)) for field in FRAMES}
    return pd.DataFrame(columns, index=pd.RangeIndex(count))


def _nothing(kind: pa.DataType) -> object:
    if pa.types.is_floating(kind):
        return np.nan
    return 0 if pa.types.is_integer(kind) else ""
