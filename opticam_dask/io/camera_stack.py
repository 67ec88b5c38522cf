"""All cameras of a night in one lazy array, frames matched in time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import dask.array as da
import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from opticam_dask.errors import InputError
from opticam_dask.io.matching import place_cameras
from opticam_dask.lazy.frames import place_frames, with_nan
from opticam_dask.schema import DIMS

_PER_CAMERA = ("MJD", "BMJD", "exposure", "airmass", "frame", "flags")


def stack_cameras(
    night: xr.DataTree,
    tolerance: str | np.timedelta64 = "0.5s",
    cameras: Sequence[str] | None = None,
    *,
    join: Literal["outer", "reference"] = "outer",
) -> xr.DataArray:
    """Stack the cameras of a night into one lazy array, frames matched in time.

    A place along time holds at most one frame of each camera, all within the tolerance of the place's time,
    which is that of the first camera with a frame there. Frames are matched to the nearest place, and each
    is used once.

    Parameters
    ----------
    night : xarray.DataTree
        Made by `open_observation`; its images may have been processed since.
    tolerance : str or timedelta
        Largest difference in time, such as ``"0.5s"``.
    cameras : sequence of str, optional
        Cameras to stack, the reference first; default: all, in order of name.
    join : {'outer', 'reference'}
        Whether a frame that no other camera has a partner for gets a place of its own, or only frames
        that match one of the first camera are kept.

    Returns
    -------
    xarray.DataArray, dims (camera, time, y, x) [adu]
        Frames that do not exist are NaN, without being stored; integers then become floats (float32 up to 16
        bits, else float64). MJD, BMJD, exposure, airmass, frame (-1 for none) and flags have dims
        (camera, time).

    Raises
    ------
    InputError
        If a camera is missing, the tolerance is no time span, or the images differ in shape.
    """
    nodes = _nodes(night, cameras)
    if join not in ("outer", "reference"):
        raise InputError(f"join must be 'outer' or 'reference', not {join!r}")
    times = [node["time"].to_numpy().astype("datetime64[ns]").astype(np.int64) for node in nodes.values()]
    places, frames = place_cameras(times, _nanoseconds(tolerance), keep_unmatched=join == "outer")
    coords = {
        "camera": ("camera", list(nodes)),
        "time": ("time", places.astype("datetime64[ns]"), {"long_name": "UTC at mid-exposure"}),
        "y": next(iter(nodes.values()))["y"].variable,
        "x": next(iter(nodes.values()))["x"].variable,
        **_stacked_coordinates(list(nodes.values()), frames),
    }
    image = _stacked_images([node["image"] for node in nodes.values()], frames)
    attrs = {"units": "adu", "tolerance": str(tolerance), **night.attrs}
    return xr.DataArray(image, coords, ("camera", *DIMS), "image", attrs)


def _nodes(night: xr.DataTree, cameras: Sequence[str] | None) -> dict[str, xr.Dataset]:
    have = [name for name, node in night.children.items() if "image" in node.data_vars]
    wanted = list(have if cameras is None else cameras)
    missing = [name for name in wanted if name not in have]
    if missing or not wanted:
        raise InputError(f"no camera {', '.join(missing)} in this night; it has {', '.join(have) or 'none'}")
    nodes = {name: _in_order(night[name].to_dataset()) for name in wanted}
    shapes = {name: node["image"].shape[1:] for name, node in nodes.items()}
    if len(set(shapes.values())) > 1:
        told = ", ".join(f"{name} {ny}x{nx}" for name, (ny, nx) in shapes.items())
        raise InputError(f"cameras of different shapes cannot be stacked: {told} (rows x columns)")
    return nodes


def _in_order(node: xr.Dataset) -> xr.Dataset:
    # Left alone where it can be: sorting, even of what is in order, hides the blocks behind the image.
    return node if node["time"].to_index().is_monotonic_increasing else node.sortby("time")


def _nanoseconds(tolerance: str | np.timedelta64) -> int:
    try:
        span = pd.Timedelta(tolerance).as_unit("ns").value
    except ValueError as error:
        raise InputError(f"tolerance must be a time span such as '0.5s', not {tolerance!r}") from error
    if span < 0:
        raise InputError(f"tolerance must not be negative, not {tolerance!r}")
    return int(span)


def _stacked_coordinates(nodes: Sequence[xr.Dataset], frames: Sequence[NDArray[np.intp]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in _PER_CAMERA:
        if all(name in node.coords for node in nodes):
            columns = [
                _placed_values(node[name].to_numpy(), index)
                for node, index in zip(nodes, frames, strict=True)
            ]
            found[name] = (("camera", "time"), np.stack(columns), nodes[0][name].attrs)
    return found


def _placed_values(values: NDArray[Any], index: NDArray[np.intp]) -> NDArray[Any]:
    missing = np.nan if values.dtype.kind == "f" else -1
    return np.where(index >= 0, values[np.maximum(index, 0)], np.asarray(missing, values.dtype))


def _stacked_images(images: Sequence[xr.DataArray], frames: Sequence[NDArray[np.intp]]) -> da.Array:
    arrays = [da.asarray(image.transpose(*DIMS).data) for image in images]
    dtype = np.result_type(*(array.dtype for array in arrays))
    if any((index < 0).any() for index in frames):
        dtype = with_nan(dtype)
    step = max(array.chunksize[0] for array in arrays)
    count = frames[0].size
    chunks = [min(step, count - start) for start in range(0, count, step)]
    return place_frames(arrays, frames, chunks, dtype)
