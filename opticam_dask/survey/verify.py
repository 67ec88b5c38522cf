"""Verify the dataset of a survey: every row of every night, once, with its object, as it was written."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from opticam_dask.survey.inventory import Inventory
from opticam_dask.survey.plan import IDS
from opticam_dask.survey.settings import PHOTOMETRY, label_key
from opticam_dask.tables.store import dataset_root, labels

if TYPE_CHECKING:
    from opticam_dask.survey.publish import Publication
    from opticam_dask.tables.verify import Expected, Finding, Run


def is_survey(out: str | Path) -> bool:
    """Whether a directory is the output of a survey."""
    return (Path(out) / "survey.json").is_file()


def verify_survey(out: str | Path, *, label: str | None = None, run: Run | None = None) -> list[Finding]:
    """Recompute checksums and row counts of a survey, against the frames and catalogues of its nights.

    Parameters
    ----------
    out : path
        Output directory of a survey.
    label : str, optional
        Set of light curves; by default all.
    run : callable, optional
        As for `opticam_dask.tables.verify.verify_dataset`.

    Returns
    -------
    list of Finding
        Empty if all is well.
    """
    import numpy as np

    from opticam_dask.tables.verify import Expected, verify_dataset

    out = Path(out).resolve()
    by_label: dict[str, list[Publication]] = {}
    for job in _publications(out):
        if label in (None, job.label):
            by_label.setdefault(job.label, []).append(job)
    findings: list[Finding] = []
    nights = set(Inventory.load(out).nights)
    for name in labels(out) if label is None else [label]:
        jobs, root = by_label.get(name, []), dataset_root(out, name)
        unsettled = nights - {job.night for job in jobs}
        expected = {
            (job.night, job.camera): Expected(np.arange(job.frames, dtype=np.int64), job.sources)
            for job in jobs
        }
        findings += verify_dataset(root, expected | _as_published(root, unsettled), run=run)
        findings += _other_ids(jobs)
    return findings


def _as_published(root: Path, nights: Iterable[str]) -> dict[tuple[str, str], Expected]:
    """Rows of nights that are outdated or to be made again: what the parts say that they hold."""
    import numpy as np

    from opticam_dask.tables.parts import cameras_of_night, part_path, parts_in
    from opticam_dask.tables.records import read_record
    from opticam_dask.tables.verify import Expected

    expected = {}
    for night in sorted(nights):
        for camera in cameras_of_night(root, night):
            keys = parts_in(root, night, camera)
            records = [record for key in keys if (record := read_record(part_path(root, key)))]
            spans = [np.arange(*record.key[2:], dtype=np.int64) for record in records]
            frames = np.concatenate([np.empty(0, np.int64), *spans])
            rows = sum(record.rows for record in records)
            expected[night, camera] = Expected(frames, rows // max(1, len(frames)))
    return expected


def _other_ids(jobs: Iterable[Publication]) -> list[Finding]:
    """Whole parts whose objects are not those of the master table."""
    from opticam_dask.survey.publish import is_published
    from opticam_dask.tables.parts import part_path, parts_in
    from opticam_dask.tables.records import read_record
    from opticam_dask.tables.verify import AGAIN, Finding

    found = []
    for job in jobs:
        paths = [part_path(job.root, key) for key in parts_in(job.root, job.night, job.camera)]
        if paths and all(read_record(path) for path in paths) and not is_published(job):
            where = f"{job.night} {job.camera}, {job.label}"
            found.append(
                Finding("foreign", where, "not what its night holds", f"verify --repair, then {AGAIN}")
            )
    return found


def repair_survey(out: str | Path) -> list[str]:
    """Have the next run make again what is not in the dataset as it should be; gives the nights.

    Call it once damaged parts were removed, with the lock of the survey held.
    """
    from opticam_dask.survey.publish import is_published

    out = Path(out).resolve()
    inventory = Inventory.load(out)
    lacking = sorted({(job.night, job.label) for job in _publications(out) if not is_published(job)})
    for night, label in lacking:
        inventory.nights[night].made.pop(label_key(label), None)
    if lacking:
        inventory.save(out)
    return sorted({night for night, _ in lacking})


def _publications(out: Path) -> list[Publication]:
    """All that should be in the dataset: of nights that are reduced, and not about to be made again."""
    from opticam_dask.matching import Master
    from opticam_dask.survey.publications import publications_of

    master, found = Master.load(out), []
    for night, record in sorted(Inventory.load(out).nights.items()):
        if record.status == "reduced" and IDS in record.made:
            names = [name for name in record.made if name.startswith(PHOTOMETRY)]
            labels = [name.removeprefix(f"{PHOTOMETRY}.") for name in names]
            found += publications_of(out, night, labels, master)
    return found
