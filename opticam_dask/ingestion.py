"""A night of FITS files into one Zarr store: smaller, faster to read, and checksummed."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from opticam_dask.cluster_spec import Place
from opticam_dask.errors import InputError
from opticam_dask.instrument import OPTICAM_MX, Instrument
from opticam_dask.io.scan_report import scan_report
from opticam_dask.io.zarr_store.layout import is_store
from opticam_dask.observation import DataSource, header_mapper, usable
from opticam_dask.session import Session
from opticam_dask.stages.ingest import IngestStage
from opticam_dask.workspace import announce


def ingest(
    data_directory: DataSource,
    store: Path | str,
    instrument: Instrument = OPTICAM_MX,
    *,
    recursive: bool = False,
    verify: bool = False,
    overwrite: bool = False,
    cluster: Place = None,
    number_of_processors: int | None = None,
    verbose: bool = True,
) -> pd.DataFrame:
    """Bring FITS frames into a Zarr v3 store, which everything here takes like a folder.

    The store holds the pixels, bit for bit, of the frames that a scan accepts, in an array (time, y, x) per
    camera, and the headers of all files, so that it can be scanned again with another target or instrument.
    Reducing the store gives the same results as reducing the files. Any Zarr library reads it, such as
    ``xarray.open_datatree(store, engine="zarr")``.

    Each shard is read back and compared with the frames before it takes its place. Run again, it does only
    what is missing: shards that a killed run left out, new files, which follow the end of the arrays, changed
    files, and frames that could not be read. Files that are gone stay in the store.

    Parameters
    ----------
    data_directory : path, glob or sequence of paths
        Where the frames are.
    store : path
        The store, whose name ends in ``.zarr``; created when missing.
    instrument : Instrument
        How to read the headers. It decides which frames are accepted, and what their cameras are called.
    recursive : bool
        Whether to look into sub-folders.
    verify : bool
        Whether to compare finished shards with their checksums too, and make damaged ones again.
    overwrite : bool
        Whether to replace a store made with another instrument.
    cluster, number_of_processors : optional
        Where to compute, as for `Reducer`.
    verbose : bool
        Whether to print progress.

    Returns
    -------
    DataFrame
        Frame index of the store, columns of `schema.FRAMES`, accepted frames and others.

    Raises
    ------
    InputError
        If there is no FITS file or no usable frame, the store cannot be written to, or the frames of a camera
        no longer fit the array it has.
    SettingsChangedError
        If the store was made with another instrument and `overwrite` is false.
    """
    say = announce if verbose else _quiet
    with Session(cluster, n_workers=number_of_processors, progress=verbose) as run:
        stage = IngestStage(str(Path(store).expanduser().resolve()), instrument, run, say)
        stage.prepare(overwrite=overwrite)
        index = stage.ingest(
            data_directory, recursive=recursive, verify=verify, map_headers=header_mapper(run)
        )
    say(scan_report(index))
    usable(index, data_directory)
    return index


def verify_store(
    store: Path | str,
    *,
    cluster: Place = None,
    number_of_processors: int | None = None,
    verbose: bool = True,
) -> list[str]:
    """Compare every frame of a store with its checksums; the FITS files are not needed.

    Parameters
    ----------
    store : path
        A store that `ingest` made.
    cluster, number_of_processors : optional
        Where to compute, as for `Reducer`.
    verbose : bool
        Whether to print progress.

    Returns
    -------
    list of str
        What is damaged or missing, a line each with the file of the shard, the frame and its origin; none if
        all is well. Frames that could not be read when they were ingested are no damage.

    Raises
    ------
    InputError
        If it is no store, or its tables cannot be read.
    """
    root = str(Path(store).expanduser().resolve())
    if not is_store(root):
        raise InputError(f"{os.fspath(store)} is no store that opticam-dask ingest made")
    say = announce if verbose else _quiet
    with Session(cluster, n_workers=number_of_processors, progress=verbose) as run:
        return IngestStage(root, OPTICAM_MX, run, say).verify()


def _quiet(message: str) -> None:
    """Say nothing."""
