"""What a part says of itself in its footer: whose frames, made of what, how many rows, their checksum.

The record is written with the rows, in one file: a part is there with its record or not at all. A look at the
footer tells a part that is torn, stands in another's place or was made with other settings; only a look at
every row (`opticam_dask.tables.verify`) tells one that was damaged inside.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import google_crc32c
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from opticam_dask.tables.parts import PartKey

METADATA = b"opticam_record"
"""Name of the record in the metadata of a part's schema."""


@dataclass(frozen=True)
class PartRecord:
    """What a part holds.

    Parameters
    ----------
    key : PartKey
        Night, camera, first frame, and the frame after the last.
    made_of : str
        Digest of inputs, settings and catalogue; empty if nobody keeps one.
    rows : int
        Number of rows.
    checksum : str
        CRC-32C of the columns, see `checksum_of`.
    failed : str
        Why the frames could not be measured; empty if they were. The part is made again by the next run.
    """

    key: PartKey
    made_of: str
    rows: int
    checksum: str
    failed: str = ""

    @classmethod
    def of(cls, rows: pa.Table, key: PartKey, made_of: str = "", failed: str = "") -> PartRecord:
        """Record of rows that are about to be written, in their order."""
        return cls(key, made_of, rows.num_rows, checksum_of(rows), failed)

    def attached(self, rows: pa.Table) -> pa.Table:
        """Rows with this record in their metadata."""
        text = json.dumps(asdict(self), sort_keys=True, ensure_ascii=True).encode()
        return rows.replace_schema_metadata({**(rows.schema.metadata or {}), METADATA: text})

    def agrees(self, rows: pa.Table) -> bool:
        """Whether rows, read back, are those that were written."""
        return replace(self, rows=rows.num_rows, checksum=checksum_of(rows)) == self


def checksum_of(rows: pa.Table) -> str:
    """CRC-32C over the columns in order of name, each as little-endian numbers, every bit of NaN included.

    A column of text counts as its different words in order of appearance, followed by their numbers.
    """
    crc = 0
    for name in sorted(rows.column_names):
        column = rows.column(name)
        if pa.types.is_string(column.type):
            coded = column.combine_chunks().dictionary_encode()
            crc = int(google_crc32c.extend(crc, "\0".join(coded.dictionary.to_pylist()).encode()))
            numbers = coded.indices.to_numpy()
        else:
            numbers = column.to_numpy()
        content = np.asarray(numbers, numbers.dtype.newbyteorder("<")).tobytes()
        crc = int(google_crc32c.extend(crc, content))
    return f"{crc:08x}"


def record_in(schema: pa.Schema) -> PartRecord | None:
    """Record in a part's schema; None if there is none that can be read."""
    try:
        found = json.loads((schema.metadata or {})[METADATA])
        night, camera, start, stop = found.pop("key")
        return PartRecord((night, camera, start, stop), **found)
    except (KeyError, ValueError, TypeError):
        return None


def read_record(path: Path) -> PartRecord | None:
    """Record of a part, if its footer is whole and agrees with it; only the footer is read."""
    try:
        with pq.ParquetFile(path) as file:
            rows, record = file.metadata.num_rows, record_in(file.schema_arrow)
    except (OSError, pa.ArrowException):
        return None
    return record if record is not None and rows == record.rows > 0 else None


def fault_of(path: Path, key: PartKey, made_of: str) -> str:
    """Say why a part cannot be taken for what belongs in its place; empty if it can.

    Parameters
    ----------
    path : Path
        The part.
    key : PartKey
        Frames that its name promises.
    made_of : str
        Digest that it should have.

    Returns
    -------
    str
        ``'damaged'``, ``'another part'``, ``'made with other settings'``, ``'failed'`` or nothing.
    """
    record = read_record(path)
    if record is None:
        return "damaged"
    if record.key != key:
        return "another part"
    if record.made_of != made_of:
        return "made with other settings"
    return "failed" if record.failed else ""
