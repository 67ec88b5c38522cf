"""Publishing: the rows of a night, with the IDs of their objects, put into the one dataset of all nights.

It is done by night, camera and photometer. The new files are written beside, read again and compared, and
take the place of the old ones in one step. A file says of what it was made, so that a second time nothing is
written.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from opticam_dask.errors import OpticamError
from opticam_dask.schema import OBJECT_ID
from opticam_dask.tables.compact import merged_spans
from opticam_dask.tables.digest import digest
from opticam_dask.tables.parts import (
    STORED,
    PartKey,
    camera_folder,
    camera_folders,
    in_order,
    part_path,
    parts_in,
    write_rows,
)
from opticam_dask.tables.records import PartRecord, read_record
from opticam_dask.tables.row_sums import RowSum
from opticam_dask.tables.swap import recover, replacing_parts


@dataclass(frozen=True)
class Publication:
    """What is published of one photometer, night and camera.

    Parameters
    ----------
    label, night, camera : str
        Whose rows.
    own : Path
        Dataset of the night's own output tree.
    root : Path
        Dataset of the survey.
    ids : dict of int to str
        Object of each source; sources that are not in it have none.
    frames, sources : int
        Accepted frames, and sources of the catalogue: there is a row for each of each.
    made : str
        Digest of what the rows were measured with.
    """

    label: str
    night: str
    camera: str
    own: Path
    root: Path
    ids: Mapping[int, str]
    frames: int
    sources: int
    made: str

    @property
    def rows(self) -> int:
        """Rows there must be."""
        return self.frames * self.sources

    @property
    def source(self) -> Path:
        """Dataset the rows are taken from: what is published already, once the night's own are gone."""
        return self.own if parts_in(self.own, self.night, self.camera) else self.root

    def failures(self) -> dict[PartKey, str]:
        """Spans of frames that could not be measured, and why; the next run tries them again."""
        keys = parts_in(self.source, self.night, self.camera)
        records = {key: read_record(part_path(self.source, key)) for key in keys}
        return {key: record.failed for key, record in records.items() if record and record.failed}

    def mark(self, failures: Mapping[PartKey, str]) -> str:
        """Digest of what the published rows are made of."""
        ids = {str(source): name for source, name in self.ids.items()}
        return digest({"ids": ids, "rows": self.rows, "made": self.made, "failed": sorted(failures)})


@dataclass(frozen=True)
class Published:
    """What became of a publication.

    Parameters
    ----------
    label, night, camera : str
        Whose rows.
    rows : int
        Rows in the dataset.
    written : bool
        False where they stood there already.
    failed : str
        Why some of the frames could not be measured; empty if all were.
    """

    label: str
    night: str
    camera: str
    rows: int
    written: bool
    failed: str = ""


class IncompleteError(OpticamError):
    """A night lacks rows, or what was written is not what was read."""


def publish(one: Publication) -> Published:
    """Publish the rows of one photometer, night and camera.

    Raises
    ------
    IncompleteError
        If rows are missing or doubled, or what was written does not read as it should.
    InputError
        If the dataset cannot be written to.
    """
    recover(one.root, (one.night, one.camera))
    failures = one.failures()
    mark, failed = one.mark(failures), "; ".join(sorted(set(failures.values())))
    written = not _is_published(one, mark)
    if written:
        # an empty folder, which the new one changes places with
        camera_folder(one.root, one.night, one.camera).mkdir(parents=True, exist_ok=True)
        try:
            _replace(one, mark, failures)
        except (pa.ArrowException, ValueError) as error:
            raise IncompleteError(f"{_name(one)}: cannot be published: {error}") from error
    return Published(one.label, one.night, one.camera, one.rows, written, failed)


def is_published(one: Publication) -> bool:
    """Whether these very rows are in the dataset; only footers are read."""
    return _is_published(one, one.mark(one.failures()))


def _is_published(one: Publication, mark: str) -> bool:
    paths = [part_path(one.root, key) for key in parts_in(one.root, one.night, one.camera)]
    records = [read_record(path) for path in paths]
    whole = [record for record in records if record is not None and record.made_of == mark]
    return 0 < len(whole) == len(records) and sum(record.rows for record in whole) == one.rows


def _replace(one: Publication, mark: str, failures: Mapping[PartKey, str]) -> None:
    """Write the files beside, compare, and put them in the place of the old ones."""
    source = one.source
    parts = parts_in(source, one.night, one.camera)
    rows = sum(pq.read_metadata(part_path(source, key)).num_rows for key in parts)
    if rows != one.rows or not rows:
        raise IncompleteError(f"{_name(one)}: {rows} rows measured of {one.rows}; run the survey again")
    with replacing_parts(one.root, one.night, one.camera) as swap:
        for span in merged_spans(parts, rows):
            measured = _rows_of(source, parts, span)
            failed = "; ".join(sorted({why for key, why in failures.items() if _overlap(key, span)}))
            named = _identified(measured, one.ids)
            path = swap.folder / part_path(one.root, span).name
            write_rows(PartRecord.of(named, span, mark, failed).attached(named), path)
            _compare(path, measured, one)
        swap.commit()


def _compare(path: Path, measured: pa.Table, one: Publication) -> None:
    """Compare what is read from a file with what went into it."""
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        written = file.read(columns=STORED.names, use_threads=False)
    if RowSum.of(written) != RowSum.of(measured):
        raise IncompleteError(f"{_name(one)}: {path.name} does not hold what was measured")


def _overlap(key: PartKey, other: PartKey) -> bool:
    return key[2] < other[3] and other[2] < key[3]


def _rows_of(source: Path, parts: Sequence[PartKey], span: PartKey) -> pa.Table:
    """Rows of the frames of a span, in order of source and frame."""
    tables = []
    for key in parts:
        if _overlap(key, span):
            with pq.ParquetFile(part_path(source, key), page_checksum_verification=True) as file:
                rows = file.read(columns=STORED.names, use_threads=False)
            frame = rows.column("frame")
            inside = pc.and_(pc.greater_equal(frame, span[2]), pc.less(frame, span[3]))
            tables.append(rows.filter(inside).replace_schema_metadata(None))
    return in_order(pa.concat_tables(tables))


def _identified(rows: pa.Table, ids: Mapping[int, str]) -> pa.Table:
    """Rows with the column ``object_id``."""
    numbers, inverse = np.unique(rows.column("source").to_numpy(), return_inverse=True)
    names = pa.array([ids.get(int(number), "") for number in numbers], pa.string())
    return rows.append_column(OBJECT_ID.field, names.take(pa.array(inverse)))


def withdraw(root: Path, night: str, cameras: Sequence[str]) -> list[str]:
    """Take cameras of a night out of the dataset that it does not have any more; gives their names."""
    gone = [camera for one, camera in camera_folders(root) if one == night and camera not in cameras]
    for camera in gone:
        # renamed first: a reader finds all of it or nothing
        aside = root.parent / f".withdrawn-{uuid.uuid4().hex}"
        camera_folder(root, night, camera).rename(aside)
        shutil.rmtree(aside)
    return gone


def _name(one: Publication) -> str:
    return f"light curves '{one.label}' of {one.night} {one.camera}"
