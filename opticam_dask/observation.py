"""From a folder of files to the frame index of an output directory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd

from opticam_dask.cluster_spec import Place
from opticam_dask.errors import InputError
from opticam_dask.instrument import OPTICAM_MX, Instrument
from opticam_dask.io.frame_index import accepted, read_frames, scan, write_frames
from opticam_dask.io.scan_report import scan_report
from opticam_dask.schema import Flag
from opticam_dask.workspace import OutputTree, announce

if TYPE_CHECKING:
    from astropy.coordinates import SkyCoord

DataSource: TypeAlias = Path | str | Sequence[Path | str]
Progress: TypeAlias = Callable[[int, int], None]
MapHeaders: TypeAlias = Callable[[Callable[..., Any], Sequence[Any]], Iterable[Any]]


def index_observation(
    source: DataSource,
    tree: OutputTree,
    *,
    instrument: Instrument,
    recursive: bool = False,
    target: SkyCoord | str | None = None,
    map_headers: MapHeaders | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Scan headers into ``frames.parquet``, reading only files that are new or changed since the last scan.

    Parameters
    ----------
    source : path, glob or sequence of paths
        Where the frames are.
    tree : OutputTree
        Output directory.
    instrument : Instrument
        How to read the headers.
    recursive : bool
        Whether to look into sub-folders.
    target : SkyCoord or str, optional
        Coordinates to barycentre with.
    map_headers : callable, optional
        Distributes the header reading.
    progress : callable, optional
        Called with the number of files read and the number to read.

    Returns
    -------
    DataFrame
        Columns of `schema.FRAMES`, one row per exposure found.

    Raises
    ------
    InputError
        If there is no folder or no FITS file.
    """
    frames = scan_beside(
        source,
        tree,
        instrument=instrument,
        recursive=recursive,
        target=target,
        map_headers=map_headers,
        progress=progress,
    )
    write_frames(frames, tree.frames)
    return frames


def scan_beside(
    source: DataSource,
    tree: OutputTree,
    *,
    instrument: Instrument,
    recursive: bool = False,
    target: SkyCoord | str | None = None,
    map_headers: MapHeaders | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Index the frames as `index_observation` does, and write nothing."""
    previous = read_frames(tree.frames) if tree.frames.is_file() else None
    return scan(
        source,
        instrument,
        recursive=recursive,
        target=target,
        previous=previous,
        map_headers=map_headers,
        progress=progress,
    )


def check_data(
    data_directory: DataSource,
    out_directory: Path | str | None = None,
    instrument: Instrument = OPTICAM_MX,
    *,
    recursive: bool = False,
    target: SkyCoord | str | None = None,
    verbose: bool = True,
    progress: Progress | None = None,
    cluster: Place = None,
    number_of_processors: int | None = None,
) -> pd.DataFrame:
    """Scan the headers of an observation and say what is there and what is wrong with it.

    Parameters
    ----------
    data_directory : path, glob or sequence of paths
        Where the frames are.
    out_directory : path, optional
        Where to keep the frame index, so that the reduction need not scan again.
    instrument : Instrument
        How to read the headers.
    recursive : bool
        Whether to look into sub-folders.
    target : SkyCoord or str, optional
        Coordinates to barycentre with.
    verbose : bool
        Whether to print the report.
    progress : callable, optional
        Called with the number of files read and the number to read.
    cluster, number_of_processors : optional
        Where to read the headers, as for `Reducer`; by default here.

    Returns
    -------
    DataFrame
        Columns of `schema.FRAMES`, one row per exposure found, accepted or not.

    Raises
    ------
    InputError
        If there is no folder or no FITS file.
    """
    tree = None if out_directory is None else OutputTree(out_directory)
    options: dict[str, Any] = {"recursive": recursive, "target": target, "progress": progress}
    with _mapper(cluster, number_of_processors, show_progress=verbose) as map_headers:
        if tree is None:
            frames = scan(data_directory, instrument, map_headers=map_headers, **options)
        else:
            frames = index_observation(
                data_directory, tree, instrument=instrument, map_headers=map_headers, **options
            )
    if verbose:
        announce(scan_report(frames))
    return frames


def header_mapper(run: Callable[[Any, str], list[Any]], *, at_least: int = 64) -> Callable[..., list[Any]]:
    """Distribute header reading over the cluster once there are enough batches to pay for starting it."""
    from opticam_dask.lazy.chunks import map_blocks_of_frames

    def map_headers(func: Callable[..., Any], batches: Sequence[Any]) -> list[Any]:
        if len(batches) < at_least:
            return [func(batch) for batch in batches]
        return run(map_blocks_of_frames(func, batches), "scanning headers")

    return map_headers


@contextmanager
def _mapper(cluster: Place, workers: int | None, *, show_progress: bool) -> Iterator[MapHeaders | None]:
    """Distribute header reading when a cluster is named; None reads here."""
    if cluster is None:
        yield None
        return
    from opticam_dask.cluster import Runner, connect

    with connect(cluster, n_workers=workers) as client:
        yield header_mapper(Runner(client, progress=show_progress), at_least=2)


def without_barycentre(frames: pd.DataFrame) -> pd.DataFrame:
    """Frame index whose BMJD is NaN throughout, flagged."""
    flags = (frames["flags"] & ~int(Flag.POINTING_BARYCENTRE)) | int(Flag.NO_BARYCENTRE)
    return frames.assign(BMJD=np.nan, flags=flags.astype("int32"))


def usable(frames: pd.DataFrame, source: DataSource) -> pd.DataFrame:
    """Return the accepted rows.

    Raises
    ------
    InputError
        If no frame is usable; the commonest reason is named.
    """
    good = accepted(frames)
    if good.empty:
        reason = frames["reason"].mode()
        detail = f"{len(frames)} found; most common reason: {reason.iloc[0]}" if len(reason) else "none found"
        raise InputError(f"{source}: no usable frame ({detail})")
    return good
