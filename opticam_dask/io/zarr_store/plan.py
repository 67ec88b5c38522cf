"""Which frame goes where: places along time, and the shards they make up."""

from __future__ import annotations

import os
from itertools import pairwise

import numpy as np
import pandas as pd

from opticam_dask.errors import InputError
from opticam_dask.io.frame_index import accepted
from opticam_dask.io.zarr_store.layout import ArrayLayout, array_folder, read_layout
from opticam_dask.io.zarr_store.tables import FRAME_TABLE, StoredFrame
from opticam_dask.io.zarr_store.write import ShardJob

_KEY = ["camera", "path", "hdu", "plane"]


def plan_frames(index: pd.DataFrame, old: pd.DataFrame, lengths: dict[str, int], root: str) -> pd.DataFrame:
    """Give every accepted frame a place along time in the array of its camera.

    A frame keeps the place it has. New ones follow the end of the array in order of night and time, so that a
    night that grows is ordered as long as its files are ingested in order.

    Parameters
    ----------
    index : DataFrame
        Frame index of the store.
    old : DataFrame
        Columns of `FRAME_TABLE`: places given before.
    lengths : dict of str to int
        Length along time of the arrays that exist.
    root : str
        The store.

    Returns
    -------
    DataFrame
        Columns of `FRAME_TABLE`, by camera and place.
    """
    rows = accepted(index).sort_values(["camera", "night", "frame"], kind="stable")
    rows = rows.assign(path=rows["path"].str.slice(len(root)))
    frames = rows.merge(old[[*_KEY, "place"]], on=_KEY, how="left")
    new = frames["place"].isna()
    ends = np.array([lengths.get(camera, 0) for camera in frames["camera"]], np.int64)
    following = ends + frames.assign(new=new).groupby(["camera", "new"]).cumcount().to_numpy()
    frames["place"] = np.where(new, following, frames["place"].fillna(0)).astype(np.int64)
    planned: pd.DataFrame = frames.sort_values(["camera", "place"], ignore_index=True)[FRAME_TABLE.names]
    return planned


def plan_layouts(
    index: pd.DataFrame, root: str | os.PathLike[str], cameras: list[str], shard_bytes: int
) -> dict[str, ArrayLayout]:
    """Layout of the array of each camera with accepted frames: that of the store, or a new one.

    Raises
    ------
    InputError
        If the frames of a camera no longer fit its array.
    """
    layouts = {}
    for camera, rows in accepted(index).groupby("camera", sort=True):
        ny, nx = (int(length) for length in rows["shape"].iloc[0].split("x"))
        dtype = np.result_type(*rows["dtype"].unique()).name
        wanted = ArrayLayout.of_frames((ny, nx), dtype, shard_bytes)
        name = str(camera)
        is_old = name in cameras and array_folder(root, name).is_dir()
        layouts[name] = _fitting(wanted, read_layout(root, name)[0], root, name) if is_old else wanted
    return layouts


def _fitting(
    wanted: ArrayLayout, found: ArrayLayout, root: str | os.PathLike[str], camera: str
) -> ArrayLayout:
    if (wanted.shape, wanted.dtype) == (found.shape, found.dtype):
        return found
    told = [f"{one.shape[0]}x{one.shape[1]} {one.dtype}" for one in (found, wanted)]
    raise InputError(
        f"{os.fspath(root)}: the frames of {camera} there are {told[0]}, those to ingest are {told[1]}: "
        "ingest into another store, or use overwrite=True (--overwrite) to make it again"
    )


def shard_jobs(frames: pd.DataFrame, layouts: dict[str, ArrayLayout], root: str) -> list[ShardJob]:
    """One job per shard, in order of camera and time.

    Parameters
    ----------
    frames : DataFrame
        As `plan_frames` gives them.
    layouts : dict of str to ArrayLayout
        Layout of each camera's array.
    root : str
        The store.
    """
    names = ["place", "path", "hdu", "plane", "size", "mtime_ns"]
    jobs = []
    for camera, rows in frames.groupby("camera", sort=True):
        layout = layouts[str(camera)]
        numbers = rows["place"].to_numpy() // layout.frames_per_shard
        edges = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(rows)]
        columns = (rows[name].tolist() for name in names)
        stored = [StoredFrame(*values) for values in zip(*columns, strict=True)]
        jobs += [
            ShardJob(root, str(camera), int(numbers[first]), layout, tuple(stored[first:stop]))
            for first, stop in pairwise(edges)
        ]
    return jobs
