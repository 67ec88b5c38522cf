"""The master source table on disk: four files that change together.

New tables are written whole into a folder of their own, which gets its name in one rename: from then on they
hold. Only then do the files that users read take their content, one by one, and the folder goes. Whenever
this stops, either the old tables are complete or the new ones are, and `read_tables` finds the right ones.
"""

from __future__ import annotations

import hashlib
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from opticam_dask.errors import InputError
from opticam_dask.matching.columns import (
    CATALOGS,
    FIELDS,
    MAGNITUDE_PREFIX,
    OBJECTS,
    SIGHTINGS,
    magnitude_column,
)
from opticam_dask.tables.atomic import replacing, to_disk

if TYPE_CHECKING:
    import pandas as pd

SCHEMAS = {"fields": FIELDS, "catalogs": CATALOGS, "objects": OBJECTS, "sightings": SIGHTINGS}
FILES = {name: f"{name}.parquet" for name in SCHEMAS} | {"catalogs": "matched_catalogs.parquet"}
_COMMITTED = ".master.new"
_GENERATION = b"generation"
_TRIES = 5


def to_arrow(name: str, rows: pd.DataFrame) -> pa.Table:
    """Table of the declared columns, units and meanings; objects have magnitudes besides."""
    schema = SCHEMAS[name]
    if name == "objects":
        bands = [column for column in rows.columns if column.startswith(MAGNITUDE_PREFIX)]
        schema = pa.schema([*schema, *(magnitude_column(band) for band in sorted(bands))])
    return pa.Table.from_pandas(rows[schema.names], schema=schema, preserve_index=False)


def write_tables(folder: Path, tables: Mapping[str, pd.DataFrame]) -> None:
    """Write all tables: afterwards, and after a stop at any moment, the old ones hold or the new ones.

    Raises
    ------
    InputError
        If the folder cannot be written to.
    """
    arrow = {name: to_arrow(name, tables[name]) for name in SCHEMAS}
    generation = _digest(arrow)
    temporary = folder / f".master.{uuid.uuid4().hex}.tmp"
    try:
        finish(folder)
        temporary.mkdir(parents=True)
        for name, table in arrow.items():
            _write(temporary / FILES[name], table.replace_schema_metadata({_GENERATION: generation}))
        to_disk(temporary)
        temporary.rename(folder / _COMMITTED)
        to_disk(folder)
        finish(folder)
    except (PermissionError, NotADirectoryError, FileExistsError) as error:
        raise InputError(
            f"{folder}: cannot be written ({error.strerror}); choose a folder you can write to"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def finish(folder: Path) -> None:
    """Put tables in their place that an earlier process had written, but not put there, before it stopped."""
    committed = folder / _COMMITTED
    if not committed.is_dir():
        return
    for file in FILES.values():
        with replacing(folder / file) as beside:
            shutil.copyfile(committed / file, beside)
    # renamed first: a folder half removed is not taken for tables that hold
    rubbish = folder / f".master.{uuid.uuid4().hex}.tmp"
    committed.rename(rubbish)
    shutil.rmtree(rubbish)


def read_tables(folder: Path) -> dict[str, pd.DataFrame] | None:
    """Tables of one moment; None if there are none.

    Raises
    ------
    InputError
        If a table is missing or damaged, or the tables do not belong together.
    """
    for _ in range(_TRIES):
        found = _read_once(folder)
        if found is None:
            return None
        if len({table.schema.metadata[_GENERATION] for table in found.values()}) == 1:
            return {name: table.to_pandas() for name, table in found.items()}
    raise InputError(
        f"{folder}: {', '.join(FILES.values())} are not of one moment; "
        "put back those of one backup, or remove all and run the survey again"
    )


def _read_once(folder: Path) -> dict[str, pa.Table] | None:
    committed = folder / _COMMITTED
    source = committed if committed.is_dir() else folder
    if not any((source / file).exists() for file in FILES.values()):
        return None
    return {name: _read(source, folder, file, name) for name, file in FILES.items()}


def _read(source: Path, folder: Path, file: str, name: str) -> pa.Table:
    # a writer that ends meanwhile takes its folder away: the file is then in its place
    path = source / file if (source / file).exists() else folder / file
    try:
        table = pq.ParquetFile(path).read()
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"{path}: cannot be read ({error}); put back the one of a backup") from error
    missing = sorted(set(SCHEMAS[name].names) - set(table.schema.names))
    if missing or _GENERATION not in (table.schema.metadata or {}):
        what = f"lacks {', '.join(missing)}" if missing else "is not a table of a survey"
        raise InputError(f"{path}: {what}; put back the one of a backup")
    return table


def _write(path: Path, table: pa.Table) -> None:
    pq.write_table(table, path, compression="zstd")
    to_disk(path)


def _digest(tables: Mapping[str, pa.Table]) -> bytes:
    sink = hashlib.sha256()
    for name in sorted(tables):
        buffer = pa.BufferOutputStream()
        with pa.ipc.new_stream(buffer, tables[name].schema) as writer:
            writer.write_table(tables[name].combine_chunks())
        sink.update(buffer.getvalue())
    return sink.hexdigest()[:32].encode()
