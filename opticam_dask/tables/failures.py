"""What a reduction could not do: blocks of frames that failed on all tries, in either pass."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from opticam_dask.tables.parts import existing_parts, part_path
from opticam_dask.tables.records import read_record
from opticam_dask.tables.store import dataset_root, labels

BLOCK_FAILED = "block failed: "
"""How the reason of a frame begins, in the alignment table, whose block failed on all tries."""


@dataclass(frozen=True)
class FailedBlock:
    """Frames that could not be dealt with.

    Parameters
    ----------
    night, camera : str
        Whose frames.
    start, stop : int
        First frame, and the one after the last.
    label : str
        Set of light curves they lack in; empty if they could not be aligned.
    reason : str
        What happened.
    """

    night: str
    camera: str
    start: int
    stop: int
    label: str
    reason: str

    def __str__(self) -> str:
        where = f"{self.camera}: night {self.night}, frames {self.start} to {self.stop - 1}"
        if self.label:
            return f"{where}: not measured for '{self.label}' ({self.reason}); run the same command again"
        return f"{where}: not aligned ({self.reason}); --overwrite makes the catalogues and light curves anew"


def failed_blocks(out: str | Path) -> list[FailedBlock]:
    """Blocks of a reduction that failed on all tries, as its tables say; only footers are read of parts.

    Parameters
    ----------
    out : path
        Output directory of a reduction.

    Returns
    -------
    list of FailedBlock
        Those of the catalogue pass first.
    """
    return [*not_aligned(out), *not_measured(out)]


def not_measured(out: str | Path) -> list[FailedBlock]:
    """Blocks that failed in photometry, as the records of their parts say."""
    found = []
    for label in labels(out):
        root = dataset_root(out, label)
        for key in sorted(existing_parts(root)):
            record = read_record(part_path(root, key))
            if record is not None and record.failed:
                found.append(FailedBlock(*key, label, record.failed))
    return found


def not_aligned(out: str | Path) -> list[FailedBlock]:
    """Blocks that failed in the catalogue pass; a table that cannot be read tells of none."""
    path = Path(out) / "alignment.parquet"
    columns = ["camera", "night", "frame", "reason"]
    try:
        rows = pq.read_table(path, columns=columns)
    except (OSError, pa.ArrowException):
        return []
    rows = rows.filter(pc.starts_with(rows["reason"], BLOCK_FAILED))
    found: list[FailedBlock] = []
    for row in rows.sort_by([(name, "ascending") for name in columns]).to_pylist():
        reason, frame = row["reason"].removeprefix(BLOCK_FAILED), row["frame"]
        one = FailedBlock(row["night"], row["camera"], frame, frame + 1, "", reason)
        last = found[-1] if found else None
        if last is not None and (*_of(last), last.stop) == (*_of(one), frame):
            found[-1] = FailedBlock(one.night, one.camera, last.start, one.stop, "", reason)
        else:
            found.append(one)
    return found


def _of(block: FailedBlock) -> tuple[str, str, str]:
    return block.night, block.camera, block.reason
