"""Whether every row of a dataset is there, once, and as it was written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from opticam_dask.tables.coverage import Coverage, doubled
from opticam_dask.tables.parts import PartKey, existing_parts, part_path
from opticam_dask.tables.records import read_record
from opticam_dask.tables.store import ranges

_NO_RECORD = "its end is not that of a whole part, or an earlier version wrote it, without a record"
Kind = Literal["missing", "doubled", "torn", "foreign", "failed", "unreadable"]
Run: TypeAlias = Callable[[Callable[[Any], Any], Sequence[Any]], list[Any]]
"""Calls a function on each of some items, in order: ``run(function, items)``."""

AGAIN = "run the same reduction again"
_REMOVE = f"verify --repair removes it; then {AGAIN}"


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be.

    Parameters
    ----------
    kind : str
        ``missing`` rows, ``doubled`` rows, a ``torn`` part (truncated, or changed since it was written), a
        ``foreign`` one (in another's place, or made with other settings), a block that ``failed`` on all its
        tries, or a table that is ``unreadable``.
    where : str
        File, or night and camera.
    detail, remedy : str
        What is wrong, and what to do.
    part : Path, optional
        The part to be removed, if that is the remedy.
    """

    kind: Kind
    where: str
    detail: str
    remedy: str
    part: Path | None = None

    def __str__(self) -> str:
        return f"{self.kind}: {self.where}: {self.detail}; {self.remedy}"


@dataclass(frozen=True, eq=False)
class Expected:
    """Rows that one night and camera should have: one for each frame and source.

    Parameters
    ----------
    frames : ndarray of int64
        Numbers of the frames, in any order.
    sources : int
        Number of sources.
    """

    frames: NDArray[np.int64]
    sources: int

    def frames_in(self, key: PartKey) -> int:
        """Count the frames that belong in a part."""
        return int(((self.frames >= key[2]) & (self.frames < key[3])).sum())


@dataclass(frozen=True)
class _Place:
    """Where a part lies, and what it should be made of; None if that is not known."""

    root: Path
    key: PartKey
    made_of: str | None

    @property
    def path(self) -> Path:
        return part_path(self.root, self.key)

    def finding(self, kind: Kind, detail: str) -> Finding:
        return Finding(kind, str(self.path), detail, _REMOVE, self.path)


@dataclass(frozen=True)
class _Report:
    """What a look at every row of a part gave."""

    rows: int = 0
    findings: list[Finding] = field(default_factory=list)


def verify_dataset(
    root: str | Path,
    expected: Mapping[tuple[str, str], Expected],
    *,
    made_of: str | None = None,
    run: Run | None = None,
) -> list[Finding]:
    """Read every part of a dataset, and compare with its record and with the rows that should be there.

    Parameters
    ----------
    root : path
        The dataset, a folder of ``night=.../camera=.../part-*.parquet``.
    expected : mapping of (night, camera) to Expected
        All rows there should be.
    made_of : str, optional
        Digest that the records of all parts should have; by default it is not looked at.
    run : callable, optional
        ``run(function, parts)`` calls the function on each, somewhere else perhaps; by default here.

    Returns
    -------
    list of Finding
        In order of night and camera; empty if all is well.
    """
    root = Path(root)
    keys = sorted(existing_parts(root))
    places = [_Place(root, key, made_of) for key in keys]
    reports = dict(zip(keys, (run or _here)(check_part, places), strict=True))
    findings: list[Finding] = []
    for folder in sorted({key[:2] for key in keys} | set(expected)):
        own = {key: report for key, report in reports.items() if key[:2] == folder}
        findings += _of_folder(root, folder, own, expected.get(folder))
    return findings


def repair(findings: Iterable[Finding]) -> list[Path]:
    """Remove the parts which are not what they should be, so that the next run makes them again."""
    parts = sorted({one.part for one in findings if one.part is not None})
    for part in parts:
        part.unlink(missing_ok=True)
    return parts


def _here(function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    return [function(item) for item in items]


def check_part(place: _Place) -> _Report:
    """Read a part whole, and compare it with what its name and its record say."""
    record, key = read_record(place.path), place.key
    if record is None:
        return _Report(findings=[place.finding("torn", _NO_RECORD)])
    try:
        rows = pq.ParquetFile(place.path, page_checksum_verification=True).read(use_threads=False)
    except (OSError, pa.ArrowException) as error:
        return _Report(findings=[place.finding("torn", f"cannot be read ({str(error).splitlines()[0]})")])
    if not record.agrees(rows):
        return _Report(findings=[place.finding("torn", "the checksum of its rows is not what was written")])
    if record.key != key:
        night, camera, start, stop = record.key
        detail = f"holds {night} {camera}, frames {start} to {stop - 1}, by its record"
        return _Report(findings=[place.finding("foreign", detail)])
    if place.made_of and record.made_of and record.made_of != place.made_of:
        return _Report(
            findings=[place.finding("foreign", "was made with other settings, frames or catalogue")]
        )
    found = []
    if twice := _twice(rows):
        found.append(place.finding("doubled", f"{twice} rows are there twice"))
    if record.failed:
        detail = f"frames {key[2]} to {key[3] - 1} failed on all tries ({record.failed})"
        found.append(Finding("failed", str(place.path), detail, AGAIN))
    return _Report(rows.num_rows, found)


def _twice(rows: pa.Table) -> int:
    """Count the rows whose source and frame are those of another."""
    pairs = np.stack([rows.column("source").to_numpy(), rows.column("frame").to_numpy()], axis=1)
    return len(pairs) - len(np.unique(pairs, axis=0))


def _of_folder(
    root: Path, folder: tuple[str, str], reports: dict[PartKey, _Report], expected: Expected | None
) -> list[Finding]:
    """List what is wrong in one night and camera: parts, parts that overlap, frames without rows."""
    findings = [one for report in reports.values() for one in report.findings]
    spoilt = {one.part for one in findings if one.part is not None}
    good = {key: report for key, report in reports.items() if part_path(root, key) not in spoilt}
    twice = doubled(good)
    for key in sorted(twice):
        where = _Place(root, key, None)
        findings.append(where.finding("doubled", "holds frames that another part holds"))
    if expected is None:
        strangers = [_Place(root, key, None) for key in good]
        detail = "no frame of this night and camera, or no catalogue, is known here"
        return findings + [each.finding("foreign", detail) for each in strangers]
    for key in sorted(set(good) - twice):
        wanted = expected.frames_in(key) * expected.sources
        if good[key].rows != wanted:
            detail = f"holds {good[key].rows} rows, not {wanted} ({expected.sources} sources)"
            findings.append(_Place(root, key, None).finding("foreign", detail))
    held = Coverage(set(good) - twice)
    lacking = [int(frame) for frame in np.sort(expected.frames) if not held.holds(folder[0], int(frame))]
    if lacking:
        detail = f"no rows of {len(lacking)} of {len(expected.frames)} frames ({ranges(lacking)})"
        findings.append(Finding("missing", f"{root}: {folder[0]} {folder[1]}", detail, AGAIN))
    return findings
