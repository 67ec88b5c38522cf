"""Merge the many small parts of a night and camera into one or a few, in which a curve lies together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from opticam_dask.tables.lock import held
from opticam_dask.tables.parts import PartKey, camera_folders, in_order, part_path, parts_in, write_rows
from opticam_dask.tables.records import METADATA, PartRecord, record_in
from opticam_dask.tables.row_sums import RowSum
from opticam_dask.tables.store import dataset_root, find_dataset, labels
from opticam_dask.tables.swap import recover, replacing_parts

# Rows of a merged part at most: a few hundred megabytes while it is made.
_MOST_ROWS = 2**20

Folder = tuple[str, str]
"""Night and camera."""

Run = Callable[[Callable[[Folder, Path], Any], Sequence[Folder], Path], list[Any]]
"""Calls a function on each folder of parts of a dataset: ``run(function, folders, root)``."""


@dataclass(frozen=True)
class Compacted:
    """What became of the parts of one night and camera.

    Parameters
    ----------
    night, camera : str
        Whose parts.
    before, after : int
        Number of files.
    rows : int
        Rows in them, the same before and after.
    reason : str
        Why nothing was done, if something stands in the way; empty otherwise.
    """

    night: str
    camera: str
    before: int
    after: int
    rows: int
    reason: str = ""


def compact(
    out: str | Path, *, label: str | None = None, least: int = 2, run: Run | None = None
) -> list[Compacted]:
    """Merge the parts of each night and camera, so that a light curve is read from few files.

    The table is the same before and after, in every reader: not a row more, less, or changed. While one
    night and camera changes from many parts to few, a reader finds the old files or the new ones. One
    that listed the old files and opens them afterwards finds them gone, and has to list again. Where the file
    system cannot exchange two folders in one step (NFS), there is an instant at which a reader finds neither.

    It may be stopped and run again at any time, and again when nights were added; what is merged already is
    left as it is. Merged parts hold the same bytes whatever parts they are made of.

    Parameters
    ----------
    out : path
        Output directory of the reduction.
    label : str, optional
        Photometer, such as ``optimal_annulus``; by default all.
    least : int
        Nights and cameras with fewer parts are left as they are.
    run : callable, optional
        ``run(function, folders, root)`` calls the function on each (night, camera), somewhere else perhaps;
        by default one after the other, here.

    Returns
    -------
    list of Compacted
        One for each night and camera that has several parts. One whose parts are damaged is left as it is,
        with the reason.

    Raises
    ------
    InputError
        If there are no light curves, none of this label, or they cannot be rewritten.
    BusyError
        If another process is at work there.
    """
    available = labels(out)
    with held(out, "compact"):
        roots = _roots(out, available, label)
        return [one for root in roots for one in compact_dataset(root.resolve(), least=least, run=run)]


def _roots(out: str | Path, available: Sequence[str], label: str | None) -> list[Path]:
    """Datasets to compact; such as an earlier merge was stopped in are mended before they are looked at."""
    chosen = available if label is None else [label]
    for each in chosen:
        recover(dataset_root(out, each))
    filled = [each for each in chosen if label is not None or camera_folders(dataset_root(out, each))]
    return [find_dataset(out, each) for each in filled] or [find_dataset(out, None)]


def compact_dataset(root: Path, *, least: int = 2, run: Run | None = None) -> list[Compacted]:
    """Merge the parts of a dataset; see `compact`."""
    recover(root)
    folders = [folder for folder in camera_folders(root) if len(parts_in(root, *folder)) >= max(2, least)]
    if run is None:
        return [compact_folder(folder, root) for folder in folders]
    return run(compact_folder, folders, root) if folders else []


def compact_folder(folder: Folder, root: Path) -> Compacted:
    """Merge the parts of one night and camera, after a look at every row of what was written."""
    recover(root, folder)
    parts = parts_in(root, *folder)
    try:
        rows = sum(_rows(part_path(root, key)) for key in parts)
        spans = merged_spans(parts, rows) if parts else parts
        if spans == parts:
            return Compacted(*folder, len(parts), len(parts), rows)
        with replacing_parts(root, *folder) as swap:
            _merge(root, parts, spans, swap.folder, rows)
            swap.commit()
    except UnfinishedPartError as error:
        return Compacted(*folder, len(parts), len(parts), 0, f"{error}; run the photometry again")
    except DamagedPartError as error:
        remedy = "'opticam-dask verify --repair' removes it; then run the photometry again"
        return Compacted(*folder, len(parts), len(parts), 0, f"{error}; {remedy}")
    return Compacted(*folder, len(parts), len(spans), rows)


def _rows(path: Path) -> int:
    try:
        return int(pq.read_metadata(path).num_rows)
    except (pa.ArrowException, OSError) as error:
        raise DamagedPartError(f"{path}: {error}") from error


class DamagedPartError(ValueError):
    """Rows are missing, doubled, or not what they were."""


class UnfinishedPartError(ValueError):
    """Frames of a part could not be measured, and are to be tried again."""


def merged_spans(parts: Sequence[PartKey], rows: int) -> list[PartKey]:
    """Plan the merged parts: cut by the number of a frame, which does not depend on the blocks.

    Parameters
    ----------
    parts : sequence of PartKey
        Parts of one night and camera, in order.
    rows : int
        Rows in all of them.

    Returns
    -------
    list of PartKey
        Spans that hold the same frames: a gap between parts, not measured yet, stays a gap.

    Raises
    ------
    DamagedPartError
        If parts overlap.
    """
    frames = sum(stop - start for *_, start, stop in parts)
    length = max(1, _MOST_ROWS // max(1, -(-rows // frames)))
    spans = []
    for night, camera, start, stop in _runs(parts):
        edges = [start, *range((start // length + 1) * length, stop, length), stop]
        spans += [(night, camera, a, b) for a, b in pairwise(edges)]
    return spans


def _runs(parts: Sequence[PartKey]) -> list[PartKey]:
    """Unbroken runs of frames."""
    runs: list[PartKey] = []
    for key in parts:
        if runs and key[2] < runs[-1][3]:
            raise DamagedPartError(f"{key[0]} {key[1]}: parts overlap at frame {key[2]}")
        if runs and key[2] == runs[-1][3]:
            runs[-1] = (*key[:2], runs[-1][2], key[3])
        else:
            runs.append(key)
    return runs


def _merge(root: Path, parts: Sequence[PartKey], spans: Sequence[PartKey], folder: Path, rows: int) -> None:
    """Write the merged parts into a folder, and read them again to compare."""
    schema, made_of = _common_schema([part_path(root, key) for key in parts])
    reader, written = _Reader(root, parts, schema), RowSum()
    for span in spans:
        path, merged = folder / part_path(root, span).name, in_order(reader.take(span[3]))
        write_rows(PartRecord.of(merged, span, made_of).attached(merged), path)
        written += _checked(path)
    taken = reader.sum
    if taken != written or taken.rows != rows:
        raise DamagedPartError(
            f"{parts[0][0]} {parts[0][1]}: {rows} rows, {taken.rows} read, {written.rows} written"
        )


def _common_schema(paths: Sequence[Path]) -> tuple[pa.Schema, str]:
    """Take the schema from the parts, and what they are made of.

    Their versions differ where a run went on after an update. Parts of frames that could not be measured are
    to be made again, by themselves.
    """
    schemas = [pq.read_schema(path) for path in paths]
    words: dict[bytes, set[bytes]] = {}
    digests = set()
    for path, schema in zip(paths, schemas, strict=True):
        record = record_in(schema)
        if record is not None and record.failed:
            raise UnfinishedPartError(f"{path}: its frames could not be measured ({record.failed})")
        digests.add("" if record is None else record.made_of)
        for name, text in (schema.metadata or {}).items():
            words.setdefault(name, set()).add(text)
    if len(digests) > 1:
        raise DamagedPartError(f"{paths[0].parent}: parts were made with different settings")
    words.pop(METADATA, None)
    joined = {name: b", ".join(sorted(words[name])) for name in sorted(words)}
    return schemas[0].with_metadata(joined or None), digests.pop()


class _Reader:
    """Reads parts in order of frames, and sums up what they hold."""

    def __init__(self, root: Path, parts: Sequence[PartKey], schema: pa.Schema) -> None:
        self._tables: Iterator[tuple[int, pa.Table]] = (
            (key[3], _read(part_path(root, key), schema)) for key in parts
        )
        self._rest: list[pa.Table] = []
        self._read_to = -1
        self.sum = RowSum()

    def take(self, stop: int) -> pa.Table:
        """Rows of the frames before ``stop`` that were not taken yet."""
        while self._read_to < stop:
            self._read_to, table = next(self._tables, (stop, None))
            if table is not None:
                self.sum += RowSum.of(table)
                self._rest.append(table)
        rows = pa.concat_tables(self._rest)
        before = pc.less(rows.column("frame"), stop)
        self._rest = [rows.filter(pc.invert(before))]
        return rows.filter(before)


def _read(path: Path, schema: pa.Schema) -> pa.Table:
    try:
        table = pq.ParquetFile(path, page_checksum_verification=True).read(use_threads=False)
        return table.select(schema.names).cast(schema)
    except (pa.ArrowException, KeyError, OSError) as error:
        raise DamagedPartError(f"{path}: {error}") from error


def _checked(path: Path) -> RowSum:
    """Sum over the rows of a merged part as it lies on disk; they must be in order, each there once."""
    file, total, last = pq.ParquetFile(path, page_checksum_verification=True), RowSum(), (-1, -1)
    for number in range(file.num_row_groups):
        table = file.read_row_group(number, use_threads=False)
        source, frame = table.column("source").to_numpy(), table.column("frame").to_numpy()
        source, frame = np.append(last[0], source), np.append(last[1], frame)
        after = (source[1:] > source[:-1]) | ((source[1:] == source[:-1]) & (frame[1:] > frame[:-1]))
        if not after.all():
            raise DamagedPartError(f"{path.name}: a row is doubled")
        last = (int(source[-1]), int(frame[-1]))
        total += RowSum.of(table)
    return total
