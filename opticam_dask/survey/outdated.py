"""Rows of the dataset that do not go with what is known of their night any more, and why they are kept.

A night may change, or be made with other settings, and then give no light curves, or not all sets of them
that it had. What was published stays until `vacuum` is asked to remove it: the frames it was made of may be
no more. Ledger, readers and `verify` know of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from opticam_dask.survey.inventory import NightRecord
from opticam_dask.survey.settings import label_key
from opticam_dask.tables.outdated import mark_nights
from opticam_dask.tables.parts import cameras_of_night, part_path, parts_in
from opticam_dask.tables.store import dataset_root, labels


@dataclass(frozen=True)
class Outdated:
    """Rows of one photometer, night and camera that are outdated.

    Parameters
    ----------
    label, night, camera : str
        Whose rows.
    rows : int
        How many.
    why : str
        What became of the night.
    """

    label: str
    night: str
    camera: str
    rows: int
    why: str


def why_outdated(record: NightRecord, label: str) -> str:
    """Why published rows of a night are outdated; empty if they hold, or are about to be made again."""
    if record.status == "excluded":
        return "the night changed, or settings did, and gives no light curves now"
    if label_key(label) in record.made or record.status == "pending":
        return ""
    if record.status == "reduced":
        return "catalogues were made anew, and these light curves not asked for again"
    return "the night changed, or settings did, and its reduction failed since"


def outdated_rows(out: Path, night: str, record: NightRecord) -> list[Outdated]:
    """All there is of a night in the dataset that is outdated, in order of label and camera."""
    found = []
    for label in labels(out):
        why, root = why_outdated(record, label), dataset_root(out, label)
        for camera in cameras_of_night(root, night) if why else ():
            rows = sum(_rows(part_path(root, key)) for key in parts_in(root, night, camera))
            found.append(Outdated(label, night, camera, rows, why))
    return found


def _rows(path: Path) -> int:
    try:
        return int(pq.read_metadata(path).num_rows)
    except (pa.ArrowException, OSError):
        # torn: `verify` finds it
        return 0


def mark_outdated(out: Path, night: str, found: Sequence[Outdated]) -> None:
    """Let readers know what is outdated of a night, and what is not (any more)."""
    why = {one.label: one.why for one in found}
    for label in labels(out):
        mark_nights(dataset_root(out, label), {night: why.get(label, "")})


def by_camera(found: Sequence[Outdated]) -> dict[str, tuple[int, str]]:
    """Rows of each camera, and words that name their labels."""
    told = {}
    for camera in sorted({one.camera for one in found}):
        own = [one for one in found if one.camera == camera]
        words = "; ".join(f"{one.rows} rows of '{one.label}': {one.why}" for one in own)
        told[camera] = (sum(one.rows for one in own), words)
    return told
