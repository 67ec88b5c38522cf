"""Nights as labelled lazy cubes: a node per camera, or one array of all cameras."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from opticam_dask.errors import InputError
from opticam_dask.instrument import OPTICAM_MX, Instrument
from opticam_dask.io.blocks import FrameBlock, split_blocks
from opticam_dask.io.camera_stack import stack_cameras as stack_cameras
from opticam_dask.lazy.frames import frame_array
from opticam_dask.schema import DIMS, FRAME_COLUMNS

if TYPE_CHECKING:
    from astropy.coordinates import SkyCoord

    from opticam_dask.io.frame_files import Source

Prepare: TypeAlias = Callable[[list[FrameBlock]], Sequence[FrameBlock]]

MJD_OF_UNIX_EPOCH = 40587.0
_DAY_US = 86_400_000_000
_ALONG_TIME = ("MJD", "BMJD", "exposure", "airmass", "night", "path", "hdu", "plane", "frame", "flags")
_COLUMNS = {column.name: column for column in FRAME_COLUMNS}


def open_observation(
    source: Source | None = None,
    instrument: Instrument = OPTICAM_MX,
    *,
    recursive: bool = False,
    target: SkyCoord | str | None = None,
    frames: pd.DataFrame | None = None,
    block_bytes: int | str | None = None,
    prepare: Prepare | None = None,
) -> xr.DataTree:
    """Open the frames of a folder, a list of files or a pattern as lazy cubes, one per camera.

    Only headers are read. Pixels are read when computed, and of a slice only the frames and rows in it.

    Parameters
    ----------
    source : path, pattern, or iterable of paths, optional
        Where the frames are; needed unless ``frames`` is given.
    instrument : Instrument
        How to read the headers.
    recursive : bool
        Whether to look into folders inside folders.
    target : SkyCoord or str, optional
        Coordinates to barycentre with, instead of the header's pointing.
    frames : DataFrame, optional
        Frame index of an earlier scan, used instead of a scan.
    block_bytes : int or str, optional
        Pixels of a chunk at most, such as ``"64MiB"``; default: dask configuration ``opticam.block-bytes``.
    prepare : callable, optional
        Blocks of a camera in, blocks with other pixels out, such as calibrated ones; `Reducer.observation`
        gives it.

    Returns
    -------
    xarray.DataTree
        One node per camera, such as ``night["1:g"]``, with ``image`` (time, y, x) [adu] and along time the
        coordinates ``time`` (UTC at mid-exposure, to the microsecond), MJD, BMJD, exposure, airmass, night,
        path, hdu, plane, frame and flags. Frames of equal times are all kept. Rejected frames are counted
        in ``attrs``.

    Raises
    ------
    InputError
        If there is no frame to open.

    Examples
    --------
    >>> night = open_observation("out/data")  # doctest: +SKIP
    >>> night["1:g"]["image"].sel(time="2024-01-01T00:00:03").compute()  # doctest: +SKIP
    """
    table = _scanned(source, instrument, recursive, target) if frames is None else frames
    good = table[table["status"] == "accepted"]
    if good.empty:
        raise InputError(_nothing_accepted(table))
    nodes = {
        str(camera): camera_dataset(rows, instrument, block_bytes=block_bytes, prepare=prepare)
        for camera, rows in good.groupby("camera", sort=True)
    }
    for camera, count in table.loc[table["status"] != "accepted", "camera"].value_counts().items():
        if camera in nodes:
            nodes[camera].attrs["rejected"] = int(count)
    night = xr.DataTree.from_dict(dict(nodes))
    rejected = len(table) - len(good)
    night.attrs = {"instrument": instrument.name, "accepted": len(good), "rejected": rejected}
    if rejected:
        night.attrs["rejected_frames"] = "opticam_dask.check_data(folder) tells each with its reason"
    return night


def camera_dataset(
    rows: pd.DataFrame,
    instrument: Instrument = OPTICAM_MX,
    *,
    block_bytes: int | str | None = None,
    prepare: Prepare | None = None,
) -> xr.Dataset:
    """Dataset of one camera from its accepted rows of the frame index; see `open_observation`.

    Raises
    ------
    InputError
        If the rows are of several cameras or shapes.
    """
    rows = rows.sort_values(["night", "frame"], kind="stable")
    blocks = split_blocks(rows, block_bytes)
    blocks = blocks if prepare is None else list(prepare(blocks))
    image = frame_array(blocks)
    along_time = {name: ("time", _values(rows[name]), _attributes(name)) for name in _ALONG_TIME}
    coords = {
        "time": ("time", utc(rows["MJD"].to_numpy()), {"long_name": "UTC at mid-exposure"}),
        "y": ("y", np.arange(image.shape[1]), {"units": "pixel", "long_name": "row"}),
        "x": ("x", np.arange(image.shape[2]), {"units": "pixel", "long_name": "column"}),
        **along_time,
    }
    data = {"image": (DIMS, image, {"units": "adu", "long_name": f"frames of camera {blocks[0].camera}"})}
    return xr.Dataset(data, coords, _camera_attributes(rows, instrument))


def utc(mjd: NDArray[np.float64]) -> NDArray[np.datetime64]:
    """Convert MJD (UTC) to datetime64[ns], rounded to the microsecond: an MJD in float64 holds no more."""
    days = np.floor(mjd)
    since_midnight = np.rint((mjd - days) * _DAY_US).astype(np.int64)
    microseconds = (days - MJD_OF_UNIX_EPOCH).astype(np.int64) * _DAY_US + since_midnight
    return microseconds.astype("datetime64[us]").astype("datetime64[ns]")


def _scanned(
    source: Source | None, instrument: Instrument, recursive: bool, target: SkyCoord | str | None
) -> pd.DataFrame:
    from opticam_dask.io.frame_index import scan

    if source is None:
        raise InputError("give a folder, a list of files or a pattern, or the frames of an earlier scan")
    return scan(source, instrument, recursive=recursive, target=target)


def _nothing_accepted(table: pd.DataFrame) -> str:
    if table.empty:
        return "no frame was found"
    reason = table["reason"].value_counts().index[0]
    return f"none of {len(table)} frames can be used; most often: {reason}"


def _camera_attributes(rows: pd.DataFrame, instrument: Instrument) -> dict[str, Any]:
    first = rows.iloc[0]
    spec = instrument.camera(str(first["camera"]).partition(":")[0])
    found = {name: first[name] for name in ("camera", "filter", "binning")}
    found |= {name: float(rows[name].dropna().median()) for name in ("gain", "read_noise", "saturation")}
    found["pixel_scale"] = np.nan if spec is None or spec.pixel_scale is None else spec.pixel_scale
    known = {name: value for name, value in found.items() if value == value and value != ""}
    return {"instrument": instrument.name, **known}


def _attributes(name: str) -> dict[str, str]:
    column = _COLUMNS[name]
    return {"long_name": column.meaning} | ({"units": column.unit} if column.unit else {})


def _values(column: pd.Series[Any]) -> NDArray[Any]:
    numeric = pd.api.types.is_numeric_dtype(column)
    return column.to_numpy() if numeric else column.to_numpy(dtype=object)
