"""The frame index: one row per exposure found, accepted or rejected, made from headers alone."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from opticam_dask.errors import InputError
from opticam_dask.instrument import OPTICAM_MX, Instrument
from opticam_dask.io.coordinates import as_target
from opticam_dask.io.frame_files import Source, find_files
from opticam_dask.io.frame_table import empty_frames, number_frames, planes_of
from opticam_dask.io.headers import scan_headers
from opticam_dask.io.zarr_store.layout import split_path
from opticam_dask.schema import FRAMES

if TYPE_CHECKING:
    from astropy.coordinates import SkyCoord

Scanner: TypeAlias = Callable[[Sequence[str]], pa.Table]
MapHeaders: TypeAlias = Callable[[Scanner, Sequence[Sequence[str]]], Iterable[pa.Table]]

FILES_PER_BATCH = 256
_SCANNED_WITH = "scanned_with"

logger = logging.getLogger(__name__)


def scan(
    source: Source,
    instrument: Instrument = OPTICAM_MX,
    *,
    recursive: bool = False,
    target: SkyCoord | str | None = None,
    previous: pd.DataFrame | None = None,
    map_headers: MapHeaders | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Index the frames of a folder, a list of files, or a pattern by their headers.

    Parameters
    ----------
    source : path, pattern, or iterable of paths
        See `opticam_dask.io.frame_files.find_files`.
    instrument : Instrument
        How to read the headers.
    recursive : bool
        Whether to look into folders inside folders.
    target : SkyCoord or str, optional
        Coordinates to barycentre with and to take the airmass of, instead of the header's pointing:
        'hh:mm:ss dd:mm:ss', or two numbers in degrees.
    previous : DataFrame, optional
        An earlier index. Its files are not opened again where path, size and time of modification are the
        same, provided instrument and target are.
    map_headers : callable, optional
        ``map_headers(func, batches)`` gives ``func(batch)`` of every batch, in any order and place; ``func``
        can be pickled. The default runs here.
    progress : callable, optional
        Called with the numbers of files read and to read.

    Returns
    -------
    DataFrame
        Columns of `opticam_dask.schema.FRAME_COLUMNS`. Accepted frames come first, by camera and time, then
        the rejected ones, each with its reason, by path. It may hold no accepted frame.

    Raises
    ------
    InputError
        If there is no such folder, no FITS file, or the target is no coordinate.
    """
    coordinates = as_target(target)
    files = find_files(source, recursive=recursive)
    made_with = _digest(instrument, coordinates)
    known = _unchanged(files, previous, made_with)
    seen = set(known["path"])
    todo = [path for path in files if path not in seen]
    logger.info("%d files, %d known from before", len(files), len(files) - len(todo))
    records = _read(todo, instrument, map_headers or map, progress)
    frames = number_frames(_joined([known, planes_of(records, instrument, coordinates)]), instrument)
    frames.attrs[_SCANNED_WITH] = made_with
    return frames


def _digest(instrument: Instrument, target: SkyCoord | None) -> str:
    place = None if target is None else [target.icrs.ra.deg, target.icrs.dec.deg]
    text = json.dumps([instrument.to_dict(), place], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _unchanged(files: list[str], previous: pd.DataFrame | None, made_with: str) -> pd.DataFrame:
    """Rows of an earlier index whose files are as they were."""
    if previous is None or previous.attrs.get(_SCANNED_WITH) != made_with:
        return empty_frames()
    first = previous.drop_duplicates("path")
    known = dict(zip(first["path"], zip(first["size"], first["mtime_ns"], strict=True), strict=True))
    same = {path for path in files if path in known and size_and_time(path) == known[path]}
    return previous[previous["path"].isin(same)]


def size_and_time(path: str) -> tuple[int, int] | None:
    """Size [byte] and time of modification [ns] of a file, or of one in a store; None if there is none."""
    try:
        if (place := split_path(path)) is not None:
            from opticam_dask.io.zarr_store.headers import stored_file

            kept = stored_file(*place)
            return kept.size, kept.mtime_ns
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _read(
    files: list[str],
    instrument: Instrument,
    map_headers: MapHeaders,
    progress: Callable[[int, int], None] | None,
) -> pd.DataFrame | None:
    batches = [files[start : start + FILES_PER_BATCH] for start in range(0, len(files), FILES_PER_BATCH)]
    if not batches:
        return None
    results = map_headers(partial(scan_headers, instrument=instrument), batches)
    records: pd.DataFrame = pa.concat_tables(_counted(results, len(files), progress)).to_pandas()
    return records


def _counted(
    results: Iterable[pa.Table], total: int, progress: Callable[[int, int], None] | None
) -> Iterator[pa.Table]:
    done = 0
    for result in results:
        done += pc.count_distinct(result["path"]).as_py()
        if progress is not None:
            progress(done, total)
        yield result


def _joined(parts: list[pd.DataFrame]) -> pd.DataFrame:
    filled = [part for part in parts if len(part)]
    if not filled:
        return empty_frames()
    return pd.concat(filled, ignore_index=True)


def accepted(frames: pd.DataFrame) -> pd.DataFrame:
    """Give the accepted rows of a frame index."""
    return frames[frames["status"] == "accepted"]


def write_frames(frames: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write a frame index to parquet; a reader sees the old file or the new one, never a part.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    final = Path(path)
    beside = final.with_name(f".{final.name}.{uuid.uuid4().hex}.tmp")
    table = pa.Table.from_pandas(frames, schema=FRAMES, preserve_index=False)
    table = table.replace_schema_metadata({_SCANNED_WITH: frames.attrs.get(_SCANNED_WITH, "")})
    try:
        pq.write_table(table, beside)
        beside.replace(final)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise InputError(f"{final} cannot be written: {error.strerror or error}") from error


def read_frames(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a frame index that `write_frames` wrote.

    Raises
    ------
    InputError
        If it cannot be read, or has not the columns of a frame index.
    """
    try:
        table: Any = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path} cannot be read as a frame index: {error}") from error
    if missing := set(FRAMES.names) - set(table.column_names):
        raise InputError(f"{path} is no frame index: it lacks {', '.join(sorted(missing))}")
    made_with = (table.schema.metadata or {}).get(_SCANNED_WITH.encode(), b"").decode()
    table = table.select(FRAMES.names).replace_schema_metadata(None)
    frames: pd.DataFrame = table.to_pandas(split_blocks=True, self_destruct=True)
    pa.default_memory_pool().release_unused()  # pages of a long index are megabytes
    frames.attrs[_SCANNED_WITH] = made_with
    return frames
