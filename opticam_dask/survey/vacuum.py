"""Free the space of what nothing refers to any more."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from opticam_dask.errors import BusyError, InputError
from opticam_dask.survey.arrivals import nights_folder
from opticam_dask.survey.inventory import Inventory, NightRecord
from opticam_dask.survey.outdated import mark_outdated, outdated_rows
from opticam_dask.survey.plan import IDS
from opticam_dask.survey.settings import PHOTOMETRY, label_key
from opticam_dask.tables.lock import held, holder
from opticam_dask.tables.parts import camera_folder
from opticam_dask.tables.store import dataset_root

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


def vacuum(
    out: str | Path, *, gone: bool = False, outdated: bool = False, dry_run: bool = False
) -> list[Rubbish]:
    """Remove what nothing refers to from the output directory of a survey, or of a reduction.

    - temporary files that processes left when they were killed
    - rows in the trees of single nights that are published, which was checked, or that belong to catalogues
      made anew since
    - if asked for, all there is of nights whose frames are no longer under the root; object IDs stay
    - if asked for, published rows that were made of frames or catalogues that are no more

    Parameters
    ----------
    out : path
        Output directory.
    gone : bool
        Whether nights without frames go as well.
    outdated : bool
        Whether outdated rows of the other nights go as well; the ledger tells which these are.
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
        old = _outdated(out, inventory, leaving) if outdated else {}
        found += [_rubbish(path, why) for path, why in old.items()]
        if not dry_run:
            _remove(found)
            _forget(out, inventory, leaving)
            _note_removed(out, {path.parent.name.removeprefix("night=") for path in old})
    return found


def _outdated(out: Path, inventory: Inventory, leaving: Sequence[str]) -> dict[Path, str]:
    """Folders of published rows that are outdated, and why."""
    found = [
        one
        for night, record in sorted(inventory.nights.items())
        if night not in leaving
        for one in outdated_rows(out, night, record)
    ]
    return {camera_folder(dataset_root(out, one.label), one.night, one.camera): one.why for one in found}


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


def _note_removed(out: Path, nights: Collection[str]) -> None:
    """Tell readers and the ledger that nothing of some nights is outdated any more."""
    from opticam_dask.survey.ledger import read_ledger, update_ledger

    for night in sorted(nights):
        mark_outdated(out, night, ())
    if nights:
        ledger = read_ledger(out)
        rows = ledger[ledger["night"].isin(nights)].assign(outdated=0, outdated_for="")
        update_ledger(out, {str(night): some for night, some in rows.groupby("night")})


def _forget(out: Path, inventory: Inventory, nights: Sequence[str]) -> None:
    """Take nights out of ledger and inventory, once their files are gone."""
    from opticam_dask.survey.ledger import empty, update_ledger

    if nights:
        update_ledger(out, {night: empty() for night in nights})
        for night in nights:
            mark_outdated(out, night, ())
        left = {night: record for night, record in inventory.nights.items() if night not in nights}
        replace(inventory, nights=left).save(out)
