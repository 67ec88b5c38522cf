"""Rows of a dataset: its columns, the parts of a camera, and what a condition holds for, in order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq
from pyarrow.fs import LocalFileSystem

from opticam_dask.errors import InputError
from opticam_dask.schema import LIGHT_CURVES, OBJECT_ID, SURVEY_LIGHT_CURVES
from opticam_dask.tables.parts import camera_folders, part_path, parts_in

ORDER = ("source", "MJD", "night", "frame")
"""Columns by which rows of a camera are sorted."""
_TRIES = 5


def columns_in(root: str | Path) -> pa.Schema:
    """Columns of a dataset: those of light curves, and ``object_id`` where a survey published it."""
    part = first_part(root)
    named = part is not None and OBJECT_ID.name in pq.read_schema(part).names
    return SURVEY_LIGHT_CURVES if named else LIGHT_CURVES


def first_part(root: str | Path) -> Path | None:
    """First part of a dataset, whose schema is that of all; None if there is none."""
    keys = (key for folder in camera_folders(root) for key in parts_in(root, *folder))
    key = next(keys, None)
    return None if key is None else part_path(root, key)


def read_sought(
    root: str | Path,
    camera: str,
    sought: pc.Expression,
    columns: Sequence[str],
    night: str | None,
    order: Sequence[str] = ORDER,
) -> pa.Table:
    """Rows of a camera that a condition holds for, in order."""
    if night is not None:
        sought &= pc.field("night") == night
    read = list(dict.fromkeys([*columns, *ORDER]))
    for more in reversed(range(_TRIES)):
        try:
            rows = camera_dataset(root, camera).to_table(columns=read, filter=sought)
            break
        except FileNotFoundError:
            # parts were merged between the listing and the look into them
            if not more:
                raise
        except (OSError, pa.ArrowInvalid) as error:
            raise InputError(
                f"{_damaged_part(root, camera)}: damaged ({str(error).splitlines()[0]}); 'opticam-dask "
                "verify --repair' removes it, and the same reduction again makes it anew"
            ) from error
    if not _ordered(rows):
        rows = rows.sort_by([(name, "ascending") for name in order])
    return rows.select(list(columns))


def _damaged_part(root: str | Path, camera: str) -> Path:
    """First part of a camera that cannot be read."""
    for night, name in camera_folders(root):
        for key in parts_in(root, night, name) if name == camera else ():
            path = part_path(root, key)
            try:
                pq.ParquetFile(path, page_checksum_verification=True).read(use_threads=False)
            except (OSError, pa.ArrowException):
                return path
    return Path(root)


def _ordered(rows: pa.Table) -> bool:
    """Whether the rows of one source are sorted by time, as nights one after the other are."""
    source, mjd = rows.column("source").to_numpy(), rows.column("MJD").to_numpy()
    return len(source) == 0 or bool((source == source[0]).all() and (mjd[1:] > mjd[:-1]).all())


def camera_dataset(root: str | Path, camera: str) -> pads.Dataset:
    """Open the parts of one camera with pyarrow, night and camera as strings; no other is looked at."""
    checks = pads.ParquetFragmentScanOptions(page_checksum_verification=True)
    place, kind = LocalFileSystem(), pads.ParquetFileFormat(default_fragment_scan_options=checks)
    keys = [
        key for night, name in camera_folders(root) if name == camera for key in parts_in(root, night, name)
    ]
    fragments = [
        kind.make_fragment(
            str(part_path(root, key)),
            place,
            partition_expression=(pc.field("night") == key[0]) & (pc.field("camera") == key[1]),
        )
        for key in keys
    ]
    # what the parts say of units is not in the way of reading them: names and types are all alike
    return pads.FileSystemDataset(fragments, columns_in(root), kind, place)
