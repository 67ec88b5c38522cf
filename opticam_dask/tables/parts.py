"""One part of the light-curve dataset: its name, its bytes, and how it comes to disk.

Layout: ``light_curves/night=2024-01-01/camera=1%3Ag/part-00000000-00000128.parquet``. A part holds the frames
``start <= frame < stop`` of one night and camera, rows sorted by source and then frame. Parts of one night
and camera do not overlap; `opticam_dask.tables.compact` makes one of many.

``night`` and ``camera`` stand in the folder names only, the classic hive layout. With the columns in the
files as well, pandas and ``pyarrow.parquet.read_table`` refuse the folder: they take its value as a
dictionary, which cannot be merged with the string in the file (and dask cannot merge a dictionary in the
file). With the folder names alone all five readers read the folder with no option and give the right values.
Their guesses of the two types differ, though: categories in pandas and dask, a DATE in DuckDB and polars. One
option each makes them strings, see `opticam_dask.tables.store.open_light_curves`.

The colon of a camera is URL-encoded, which all five decode. Temporary files lie in the folder above the
dataset: polars refuses a folder that holds files with another ending, dotted or not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias
from urllib.parse import quote, unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from opticam_dask.schema import LIGHT_CURVES
from opticam_dask.tables.atomic import replacing
from opticam_dask.tables.records import PartRecord

PartKey: TypeAlias = tuple[str, str, int, int]
"""Night, camera, first frame, and the frame after the last."""

PARTITIONS = ("night", "camera")
STORED = pa.schema([field for field in LIGHT_CURVES if field.name not in PARTITIONS])
"""Columns inside a part; the others are in the names of its folders."""

# Readers skip row groups by their statistics, so a group holds whole sources: a few, or one with many frames.
_ROWS_PER_GROUP = 8192
_MOST_ROWS_PER_GROUP = 2**17
_NAME = re.compile(r"part-(\d{8,})-(\d{8,})\.parquet")

# Noise does not repeat: a dictionary of it costs time and space. Sign, exponent and the first digits of
# neighbours are alike, though, and compress once the bytes of a column are sorted by their place.
_REPEATED = ("filter", "source", "exposure", "flags")
_ENCODING = {
    field.name: "BYTE_STREAM_SPLIT" if pa.types.is_floating(field.type) else "DELTA_BINARY_PACKED"
    for field in STORED
    if field.name not in _REPEATED
}


def camera_folder(root: str | Path, night: str, camera: str) -> Path:
    """Folder of the parts of one night and camera."""
    return Path(root) / f"night={quote(night, safe='')}" / f"camera={quote(camera, safe='')}"


def part_path(root: str | Path, key: PartKey) -> Path:
    """Path of a part from its key (night, camera, start, stop)."""
    night, camera, start, stop = key
    return camera_folder(root, night, camera) / f"part-{start:08d}-{stop:08d}.parquet"


def part_key(path: Path) -> PartKey | None:
    """Key of a part from its path; None if the path is not that of a part."""
    name = _NAME.fullmatch(path.name)
    camera, night = path.parent.name, path.parent.parent.name
    if name is None or not camera.startswith("camera=") or not night.startswith("night="):
        return None
    return unquote(night[6:]), unquote(camera[7:]), int(name[1]), int(name[2])


def camera_folders(root: str | Path) -> list[tuple[str, str]]:
    """Night and camera of each folder of parts, sorted; empty if the dataset does not exist."""
    return sorted(
        (unquote(night), unquote(camera))
        for night in _names(root, "night=")
        for camera in _names(Path(root) / f"night={night}", "camera=")
    )


def cameras_of_night(root: str | Path, night: str) -> list[str]:
    """Cameras of a night that have a folder of parts, sorted."""
    folder = Path(root) / f"night={quote(night, safe='')}"
    return sorted(unquote(camera) for camera in _names(folder, "camera="))


def parts_in(root: str | Path, night: str, camera: str) -> list[PartKey]:
    """Keys of the parts of one night and camera on disk, in order of frames."""
    names = (_NAME.fullmatch(name) for name in _listed(camera_folder(root, night, camera)))
    return sorted((night, camera, int(name[1]), int(name[2])) for name in names if name)


def existing_parts(root: str | Path) -> set[PartKey]:
    """Keys of the parts on disk; empty if the dataset does not exist."""
    return {key for folder in camera_folders(root) for key in parts_in(root, *folder)}


def _names(folder: str | Path, prefix: str) -> Iterator[str]:
    return (name.removeprefix(prefix) for name in _listed(folder) if name.startswith(prefix))


def _listed(folder: str | Path) -> list[str]:
    try:
        return [path.name for path in Path(folder).iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []


def write_part(
    table: pa.Table,
    root: str | Path,
    key: PartKey,
    provenance: Mapping[str, str] | None = None,
    *,
    made_of: str = "",
    failed: str = "",
) -> Path:
    """Write one part, atomically; the same input gives the same bytes.

    Parameters
    ----------
    table : pyarrow.Table
        Rows of one night and camera with the columns of `opticam_dask.schema.LIGHT_CURVES`, in any order.
    root : path
        The dataset, ``out/lcs/<label>/light_curves``.
    key : tuple
        (night, camera, start, stop); the frames of the part are ``start <= frame < stop``.
    provenance : mapping of str to str, optional
        Stored in the schema's metadata.
    made_of : str
        Digest of inputs, settings and catalogue, for the part's record; see `opticam_dask.tables.records`.
    failed : str
        Why the frames could not be measured, if the rows are but flagged.

    Returns
    -------
    Path
        The part. An old part of the same key is replaced. Nothing is written where a part of another key
        holds some of the frames: a worker given up for lost may end after its frames were measured again and
        merged with others, and rows would be doubled.

    Raises
    ------
    ValueError
        If a column is missing or of the wrong type, or a row does not belong to the key.
    StorageError
        If the folder cannot be written to.
    """
    _check(table, key)
    columns = [table.column(field.name).cast(field.type) for field in STORED]
    metadata = {name: text for name, text in sorted((provenance or {}).items())}
    # units are those of the table: counts may be in adu or in electrons
    fields = [field.with_metadata(table.field(field.name).metadata or field.metadata) for field in STORED]
    stored = in_order(pa.table(columns, schema=pa.schema(fields, metadata or None)))
    path, root = part_path(root, key), Path(root)
    if any(_overlap(key, other) for other in parts_in(root, *key[:2])):
        return path
    with replacing(path, staging=root.parent) as temporary:
        write_rows(PartRecord.of(stored, key, made_of, failed).attached(stored), temporary)
    return path


def _overlap(key: PartKey, other: PartKey) -> bool:
    """Whether two parts of one night and camera, of different spans, hold a frame in common."""
    return key != other and key[2] < other[3] and other[2] < key[3]


def in_order(rows: pa.Table) -> pa.Table:
    """Sort rows by source, then frame; such as are in order, as a block's are, cost one look."""
    source, frame = rows.column("source").to_numpy(), rows.column("frame").to_numpy()
    before = (source[1:] < source[:-1]) | ((source[1:] == source[:-1]) & (frame[1:] < frame[:-1]))
    if not before.any():
        return rows.combine_chunks()
    order = pa.array(np.lexsort((frame, source)))
    # chunk by chunk look-ups are slow
    return rows.combine_chunks().take(order)


def write_rows(rows: pa.Table, path: Path) -> None:
    """Write rows in order of source and frame as a parquet file; a row group holds whole sources."""
    order = pq.SortingColumn.from_ordering(rows.schema, [("source", "ascending"), ("frame", "ascending")])
    edges = _group_edges(rows.column("source").to_numpy())
    with pq.ParquetWriter(
        path,
        rows.schema,
        compression="zstd",
        use_dictionary=list(_REPEATED),
        column_encoding=_ENCODING,
        write_statistics=True,
        write_page_index=True,
        write_page_checksum=True,
        sorting_columns=order,
    ) as writer:
        for start, stop in pairwise(edges):
            writer.write_table(rows.slice(start, stop - start), row_group_size=_MOST_ROWS_PER_GROUP)


def _group_edges(source: NDArray[np.int32]) -> list[int]:
    """Rows at which row groups begin, and the end: between sources, as soon as a group is large enough."""
    edges = [0]
    for at in (np.flatnonzero(source[1:] != source[:-1]) + 1).tolist():
        if at - edges[-1] >= _ROWS_PER_GROUP:
            edges.append(at)
    return [*edges, len(source)]


def _check(table: pa.Table, key: PartKey) -> None:
    night, camera, start, stop = key
    missing = [name for name in LIGHT_CURVES.names if name not in table.column_names]
    if missing:
        raise ValueError(f"part {key}: columns missing: {', '.join(missing)}")
    if not 0 <= start < stop:
        raise ValueError(f"part {key}: frames must satisfy 0 <= start < stop")
    for name, value in (("night", night), ("camera", camera)):
        found = pc.unique(table.column(name)).to_pylist()
        if found not in ([], [value]):
            raise ValueError(f"part {key}: column {name} holds {found}")
    span = pc.min_max(table.column("frame")).as_py()
    if table.num_rows and not start <= span["min"] <= span["max"] < stop:
        raise ValueError(f"part {key}: frames {span['min']} to {span['max']} lie outside it")
