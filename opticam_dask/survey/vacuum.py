"""Free the space of what nothing refers to any more."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from opticam_dask.errors import BusyError, InputError
from opticam_dask.survey.arrivals import nights_folder
from opticam_dask.survey.inventory import Inventory, NightRecord
from opticam_dask.survey.plan import IDS
from opticam_dask.survey.settings import PHOTOMETRY, label_key
from opticam_dask.tables.lock import held, holder

_UNFINISHED = (".*.tmp", ".withdrawn-*")
_MARKS = ("inventory.json", "frames.parquet")


@dataclass(frozen=True)
class Rubbish:
    """A file or folder that is not needed.

    Parameters
    ----------
    path : Path
        Where it is.
    size : int
        What it takes [byte].
    why : str
        Why it is not needed.
    """

    path: Path
    size: int
    why: str


def vacuum(out: str | Path, *, gone: bool = False, dry_run: bool = False) -> list[Rubbish]:
    """Remove what nothing refers to from the output directory of a survey, or of a reduction.

    - temporary files that processes left when they were killed
    - rows in the trees of single nights that are published, which was checked, or that belong to catalogues
      made anew since
    - if asked for, all there is of nights whose frames are no longer under the root; object IDs stay

    Parameters
    ----------
    out : path
        Output directory.
    gone : bool
        Whether nights without frames go as well.
    dry_run : bool
        Whether to say only what would be removed.

    Returns
    -------
    list of Rubbish
        What was removed, or would be.

    Raises
    ------
    InputError
        If the directory is no output directory, or something cannot be removed.
    BusyError
        If a run is at work there.
    """
    out = Path(out).resolve()
    if not any((out / name).is_file() for name in _MARKS):
        raise InputError(f"{out}: neither a survey nor a reduction; give an output directory")
    with ExitStack() as stack:
        if not dry_run:
            stack.enter_context(held(out, "vacuum"))
        elif (who := holder(out)) is not None:
            raise BusyError(f"{out}: {who} is at work there; wait until it has ended")
        inventory = Inventory.load(out)
        leaving = [night for night, record in inventory.nights.items() if gone and record.is_gone]
        found = [_rubbish(path, why) for path, why in _find(out, inventory, leaving)]
        if not dry_run:
            _remove(found)
            _forget(out, inventory, leaving)
    return found


def _find(out: Path, inventory: Inventory, leaving: Sequence[str]) -> Iterator[tuple[Path, str]]:
    trees = [out, *(nights_folder(out) / night for night in inventory.nights)]
    for tree in trees:
        if tree == out or holder(tree) is None:
            yield from ((path, "never finished") for path in _unfinished(tree))
    for night in leaving:
        why = "its frames are no longer under the root"
        yield from ((path, why) for path in _of_night(out, night) if path.exists())
    for night, record in sorted(inventory.nights.items()):
        if night not in leaving and record.status == "reduced" and IDS in record.made:
            yield from _superfluous(out, night, record)


def _unfinished(tree: Path) -> list[Path]:
    """Temporary files and folders of a tree, those of its nights left out."""
    folders = [tree, *(tree / name for name in ("cat", "cat/stacked_images", "cal", "diag", "lcs", "misc"))]
    folders += [path for path in (tree / "lcs").glob("*") if path.is_dir()]
    return sorted({path for folder in folders for kind in _UNFINISHED for path in folder.glob(kind)})


def _of_night(out: Path, night: str) -> list[Path]:
    published = sorted(out.glob(f"lcs/*/light_curves/night={night}"))
    return [*published, nights_folder(out) / night]


def _superfluous(out: Path, night: str, record: NightRecord) -> Iterator[tuple[Path, str]]:
    """Parts in a night's own tree that are published, or of catalogues that are no more."""
    published: set[str] | None = None
    for parts in sorted((nights_folder(out) / night / "lcs").glob("*/light_curves")):
        label = parts.parent.name
        if label_key(label) not in record.made:
            yield parts.parent, "measured with catalogues made anew since"
            continue
        published = _published(out, night, record) if published is None else published
        if label in published:
            yield parts, "published"


def _published(out: Path, night: str, record: NightRecord) -> set[str]:
    """Labels all of whose rows of a night are in the dataset of the survey; footers are read."""
    from opticam_dask.matching import Master
    from opticam_dask.survey.publications import publications_of
    from opticam_dask.survey.publish import is_published

    labels = [name.removeprefix(f"{PHOTOMETRY}.") for name in record.made if name.startswith(PHOTOMETRY)]
    jobs = publications_of(out, night, labels, Master.load(out))
    lacking = {job.label for job in jobs if not is_published(job)}
    return {job.label for job in jobs} - lacking


def _rubbish(path: Path, why: str) -> Rubbish:
    return Rubbish(path, _size(path), why)


def _size(path: Path) -> int:
    if not path.is_dir():
        return path.lstat().st_size
    return sum(Path(folder, name).lstat().st_size for folder, _, names in os.walk(path) for name in names)


def _remove(found: Sequence[Rubbish]) -> None:
    for one in found:
        try:
            if one.path.is_dir():
                shutil.rmtree(one.path)
            else:
                one.path.unlink(missing_ok=True)
        except OSError as error:
            raise InputError(f"{one.path}: cannot be removed ({error.strerror}); make it writable") from error


def _forget(out: Path, inventory: Inventory, nights: Sequence[str]) -> None:
    """Take nights out of ledger and inventory, once their files are gone."""
    from opticam_dask.survey.ledger import empty, update_ledger

    if nights:
        update_ledger(out, {night: empty() for night in nights})
        left = {night: record for night, record in inventory.nights.items() if night not in nights}
        replace(inventory, nights=left).save(out)
