"""What can be explored: a folder of frames, a reduction, or cubes that are open already."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import xarray as xr

from opticam_dask.catalog.store import load_catalogs
from opticam_dask.errors import InputError
from opticam_dask.inspection import Inspection
from opticam_dask.io.cube import open_observation
from opticam_dask.io.frame_index import read_frames
from opticam_dask.schema import DIMS
from opticam_dask.tables.quality import frame_quality
from opticam_dask.tables.store import labels

if TYPE_CHECKING:
    import pandas as pd

    from opticam_dask.catalog.model import CameraCatalog

Explored: TypeAlias = "str | PathLike[str] | Inspection | xr.DataTree"


@dataclass(frozen=True, eq=False)
class Night:
    """Lazy cubes by camera, and what a reduction found in them.

    Parameters
    ----------
    cubes : dict of str to Dataset
        ``image`` (time, y, x) of each camera, with the coordinates of `open_observation`.
    catalogs : dict of str to CameraCatalog
        Empty where nothing was reduced.
    quality : DataFrame, optional
        Table of `tables.quality.frame_quality`.
    out : Path, optional
        Output directory of the reduction.
    labels : list of str
        Light curves that are there.
    """

    cubes: dict[str, xr.Dataset]
    catalogs: dict[str, CameraCatalog]
    quality: pd.DataFrame | None = None
    out: Path | None = None
    labels: tuple[str, ...] = ()


def open_night(source: Explored, out_directory: str | PathLike[str] | None = None) -> Night:
    """Open what is to be explored; only headers and tables are read.

    Parameters
    ----------
    source : path, Reducer or DataTree
        A folder of frames, the output directory of a reduction, a reducer (its frames come calibrated), or
        cubes of `open_observation`.
    out_directory : path, optional
        Output directory whose catalogues and light curves belong to the frames, where `source` does not
        tell.

    Raises
    ------
    InputError
        If there is no frame, or the catalogue is of frames of another shape.
    CatalogError
        If a catalogue cannot be read.
    """
    out = None if out_directory is None else Path(out_directory)
    if isinstance(source, Inspection):
        return _reduced(source.observation(), out or source.out_directory)
    if isinstance(source, xr.DataTree):
        return _reduced(source, out)
    folder = Path(source)
    if (folder / "frames.parquet").is_file():
        return _reduced(open_observation(frames=read_frames(folder / "frames.parquet")), out or folder)
    return _reduced(open_observation(folder), out)


def _reduced(tree: xr.DataTree, out: Path | None) -> Night:
    cubes = {
        str(name): node.to_dataset()
        for name, node in tree.children.items()
        if "image" in node.data_vars and node["image"].dims == DIMS and node["image"].size
    }
    if not cubes:
        raise InputError("no camera with frames 'image' (time, y, x) to explore; see open_observation")
    if out is None:
        return Night(cubes, {})
    catalogs = {camera: found for camera, found in load_catalogs(out).items() if camera in cubes}
    for camera, catalog in catalogs.items():
        _check_shape(out, camera, catalog, cubes[camera])
    quality = frame_quality(out) if catalogs else None
    return Night(cubes, catalogs, quality, out, tuple(labels(out)))


def _check_shape(out: Path, camera: str, catalog: CameraCatalog, cube: xr.Dataset) -> None:
    stack, frame = catalog.stacked_image.shape, cube["image"].shape[1:]
    if stack != frame:
        raise InputError(
            f"{out}: the catalogue of {camera} is of frames of {stack[0]} x {stack[1]} pixels, these have "
            f"{frame[0]} x {frame[1]}; explore the Reducer itself, which rebins them as it reads"
        )
