"""One part of the light-curve dataset: its name, its bytes, and how it comes to disk.

Layout: ``light_curves/night=2024-01-01/camera=1%3Ag/part-00000000-00000128.parquet``. A part holds the frames
``start <= frame < stop`` of one night and camera, rows sorted by source and then frame.

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
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias
from urllib.parse import quote, unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from opticam_dask.schema import LIGHT_CURVES
from opticam_dask.tables.atomic import replacing

PartKey: TypeAlias = tuple[str, str, int, int]
"""Night, camera, first frame, and the frame after the last."""

PARTITIONS = ("night", "camera")
STORED = pa.schema([field for field in LIGHT_CURVES if field.name not in PARTITIONS])
"""Columns inside a part; the others are in the names of its folders."""

# One curve should touch a few pages of a part: small groups, which the statistics of the sorted column prune.
_ROWS_PER_GROUP = 8192
_PAGE_BYTES = 16 * 1024
_NAME = re.compile(r"part-(\d{8,})-(\d{8,})\.parquet")


def part_path(root: str | Path, key: PartKey) -> Path:
    """Path of a part from its key (night, camera, start, stop)."""
    night, camera, start, stop = key
    folder = Path(root) / f"night={quote(night, safe='')}" / f"camera={quote(camera, safe='')}"
    return folder / f"part-{start:08d}-{stop:08d}.parquet"


def part_key(path: Path) -> PartKey | None:
    """Key of a part from its path; None if the path is not that of a part."""
    name = _NAME.fullmatch(path.name)
    camera, night = path.parent.name, path.parent.parent.name
    if name is None or not camera.startswith("camera=") or not night.startswith("night="):
        return None
    return unquote(night[6:]), unquote(camera[7:]), int(name[1]), int(name[2])


def existing_parts(root: str | Path) -> set[PartKey]:
    """Keys of the parts on disk; empty if the dataset does not exist."""
    keys = (part_key(path) for path in Path(root).glob("night=*/camera=*/part-*.parquet"))
    return {key for key in keys if key is not None}


def is_whole(path: Path) -> bool:
    """Whether a part holds rows; only its footer is read, which a truncated or damaged file lacks."""
    try:
        return bool(pq.read_metadata(path).num_rows > 0)
    except (OSError, pa.ArrowException):
        return False


def write_part(
    table: pa.Table, root: str | Path, key: PartKey, provenance: Mapping[str, str] | None = None
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

    Returns
    -------
    Path
        The part. An old part of the same key is replaced.

    Raises
    ------
    ValueError
        If a column is missing or of the wrong type, or a row does not belong to the key.
    InputError
        If the folder cannot be written to.
    """
    _check(table, key)
    columns = [table.column(field.name).cast(field.type) for field in STORED]
    metadata = {name: text for name, text in sorted((provenance or {}).items())}
    # units are those of the table: counts may be in adu or in electrons
    fields = [field.with_metadata(table.field(field.name).metadata or field.metadata) for field in STORED]
    stored = pa.table(columns, schema=pa.schema(fields, metadata or None))
    stored = stored.sort_by([("source", "ascending"), ("frame", "ascending")]).combine_chunks()
    path, root = part_path(root, key), Path(root)
    with replacing(path, staging=root.parent) as temporary:
        _write(stored, temporary)
    return path


def _write(table: pa.Table, path: Path) -> None:
    order = pq.SortingColumn.from_ordering(table.schema, [("source", "ascending"), ("frame", "ascending")])
    pq.write_table(
        table,
        path,
        row_group_size=_ROWS_PER_GROUP,
        data_page_size=_PAGE_BYTES,
        compression="zstd",
        write_statistics=True,
        write_page_index=True,
        sorting_columns=order,
    )


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
