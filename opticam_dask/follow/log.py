"""The log of a followed night: which frame got which number, and how it is aligned. It alone is the truth.

A batch is written, whole or not at all, before its frames are measured: whatever happens afterwards, their
numbers stand, and parts of the light curves that are missing are made again. Files of several batches are
joined from time to time; one that a longer file encloses is what a stop in the middle of that has left.
"""

from __future__ import annotations

import re
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from opticam_dask.errors import InputError
from opticam_dask.schema import ALIGNMENT, FRAMES
from opticam_dask.tables.atomic import replacing

if TYPE_CHECKING:
    import pandas as pd

_NAME = re.compile(r"batches-(\d{8})-(\d{8})\.parquet")
_ALIGNED = "aligned."
_FIELDS = [pa.field("batch", pa.int64()), *(field.remove_metadata() for field in FRAMES)]
_FIELDS += [pa.field(_ALIGNED + field.name, field.type) for field in ALIGNMENT]
LOG = pa.schema(_FIELDS)
"""Columns of a batch: its number, those of the frame index, and those of the alignment under a prefix."""
JOIN_FROM = 32
"""Files of the log that are joined into one."""


class FollowLog:
    """Batches of frames on disk, in the order in which they came.

    Parameters
    ----------
    folder : Path
        Where the files are; made when the first is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.last = max((stop for _, stop in self._spans()), default=0)

    def append(self, frames: pd.DataFrame, alignment: pd.DataFrame) -> int:
        """Write a batch: rows of the frame index, and those of the alignment of its accepted frames.

        Returns
        -------
        int
            Its number.
        """
        import pandas as pd

        number = self.last + 1
        keys = [alignment[name] for name in ("night", "camera", "frame")]
        index = pd.MultiIndex.from_arrays([frames[name] for name in ("night", "camera", "frame")])
        aligned = alignment.set_index(pd.MultiIndex.from_arrays(keys)).reindex(index)
        columns = [pa.array([number] * len(frames), pa.int64())]
        columns += [pa.array(frames[name], field.type, from_pandas=True) for name, field in _named(FRAMES)]
        columns += [
            pa.array(aligned[name], field.type, from_pandas=True) for name, field in _named(ALIGNMENT)
        ]
        self._write(pa.table(columns, schema=LOG), number, number)
        self.last = number
        return number

    def read(self) -> pa.Table:
        """Read all batches, in order, with the columns of `LOG`.

        Raises
        ------
        InputError
            If a file is damaged; it is named.
        """
        tables = [self._read(span) for span in self._spans()]
        return pa.concat_tables(tables) if tables else LOG.empty_table()

    def join(self, least: int = JOIN_FROM) -> None:
        """Join so many short files into one, so many of these into a longer one, and so on."""
        longest = 1
        while True:
            longest *= least
            tail = _shorter(self._spans(), longest)
            if len(tail) < least:
                return
            self._write(pa.concat_tables([self._read(span) for span in tail]), tail[0][0], tail[-1][1])
            for span in tail:
                self._path(*span).unlink()

    def _spans(self) -> list[tuple[int, int]]:
        """First and last batch of each file; what a longer file holds as well is removed."""
        names = [_NAME.fullmatch(path.name) for path in self.folder.glob("batches-*.parquet")]
        found = sorted(((int(name[1]), int(name[2])) for name in names if name), key=lambda s: (s[0], -s[1]))
        spans: list[tuple[int, int]] = []
        for span in found:
            if spans and span[1] <= spans[-1][1]:
                self._path(*span).unlink(missing_ok=True)
            else:
                spans.append(span)
        return spans

    def _path(self, first: int, last: int) -> Path:
        return self.folder / f"batches-{first:08d}-{last:08d}.parquet"

    def _write(self, table: pa.Table, first: int, last: int) -> None:
        with replacing(self._path(first, last)) as temporary:
            pq.write_table(table, temporary, compression="zstd")

    def _read(self, span: tuple[int, int]) -> pa.Table:
        path = self._path(*span)
        try:
            return pq.read_table(path, schema=LOG)
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{path}: cannot be read ({error}); --overwrite follows anew") from error


def _shorter(spans: list[tuple[int, int]], length: int) -> list[tuple[int, int]]:
    """Spans at the end that are shorter than so many batches."""
    return sorted(takewhile(lambda span: span[1] - span[0] + 1 < length, reversed(spans)))


def frames_in(log: pa.Table) -> pd.DataFrame:
    """Rows of the frame index in (a part of) the log, with the column ``batch`` first."""
    return _pandas(log.select(["batch", *FRAMES.names]))


def alignment_in(log: pa.Table) -> pd.DataFrame:
    """Rows of the alignment table in (a part of) the log."""
    names = [_ALIGNED + name for name in ALIGNMENT.names]
    table = log.select(names).rename_columns(ALIGNMENT.names)
    return _pandas(table.filter(table.column("frame").is_valid()))


def _pandas(table: pa.Table) -> pd.DataFrame:
    found: pd.DataFrame = table.to_pandas()
    return found


def _named(schema: pa.Schema) -> list[tuple[str, pa.Field]]:
    return [(field.name, field) for field in schema]
