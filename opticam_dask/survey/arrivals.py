"""Which nights the files under the root belong to, reading the headers of new and changed files alone."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opticam_dask.survey.folders import Folder
from opticam_dask.survey.inventory import UNDATED, Inventory, KnownFolder, NightRecord

if TYPE_CHECKING:
    import pandas as pd

    from opticam_dask.observation import MapHeaders
    from opticam_dask.survey.options import SurveyOptions

UNDATED_FRAMES = "undated.parquet"


def nights_folder(out: Path) -> Path:
    """Folder of the nights' output trees."""
    return out / "nights"


def index_path(out: Path, night: str) -> Path:
    """Frame index of a night, or of the frames that have none."""
    return out / UNDATED_FRAMES if night == UNDATED else nights_folder(out) / night / "frames.parquet"


@dataclass(frozen=True)
class Arrivals:
    """What came to light since the last run.

    Parameters
    ----------
    inventory : Inventory
        Folders and nights as they are now.
    frames : dict of str to DataFrame
        Frame index of each night in the folders that changed; not of those all of whose files are gone.
    changed : bool
        Whether anything came to light.
    """

    inventory: Inventory
    frames: dict[str, pd.DataFrame] = field(default_factory=dict)
    changed: bool = False

    def save(self, out: Path) -> None:
        """Write frame indexes, then the inventory: what stands there is never newer than they are."""
        from opticam_dask.io.frame_index import write_frames

        for night, frames in sorted(self.frames.items()):
            path = index_path(out, night)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_frames(frames, path)
        self.inventory.save(out)


def changed_folders(
    out: Path, folders: Mapping[str, Folder], inventory: Inventory, scanned: str
) -> tuple[list[str], list[str]]:
    """Names of the folders that are new or changed, and of those that are gone.

    A folder counts as changed too where the frame index of one of its nights is lost, and all do if headers
    are to be read with other settings.
    """
    known = inventory.folders
    lost = {night for night in _nights(known.values()) if not index_path(out, night).is_file()}
    changed = [
        name
        for name, folder in folders.items()
        if inventory.scanned != scanned
        or name not in known
        or known[name].digest != folder.digest
        or lost & set(known[name].nights)
    ]
    return changed, [name for name in known if name not in folders]


def _nights(folders: Any) -> set[str]:
    return {night for folder in folders for night in folder.nights}


def find_arrivals(
    root: Path,
    out: Path,
    folders: Mapping[str, Folder],
    inventory: Inventory,
    options: SurveyOptions,
    scanned: str,
    map_headers: MapHeaders | None = None,
) -> Arrivals:
    """Sort what is new under a root into nights; nothing is written.

    Parameters
    ----------
    root, out : Path
        Where the frames are, resolved, and the survey.
    folders : mapping of str to Folder
        Folders under the root as they are now.
    inventory : Inventory
        As it was.
    options : SurveyOptions
        How to read headers.
    scanned : str
        Digest of the settings the headers are read with.
    map_headers : callable, optional
        Distributes the header reading.
    """
    changed, gone = changed_folders(out, folders, inventory, scanned)
    if not changed and not gone:
        return Arrivals(inventory)
    stale = {name for name in (*changed, *gone) if name in inventory.folders}
    nights = _nights(inventory.folders[name] for name in stale)
    old = _read(out, nights)
    rows = _scanned(root, [folders[name] for name in changed], old, options, map_headers)
    known = {name: entry for name, entry in inventory.folders.items() if name not in stale}
    same = {_place(root, name) for name in known}
    kept = old[old["path"].map(_Places()).isin(same)] if len(old) else old
    frames = _by_night(kept, rows, nights, options)
    places = _nights_by_place(frames)
    known |= {
        name: KnownFolder(folders[name].digest, tuple(sorted(places.get(_place(root, name), ()))))
        for name in changed
    }
    records = {night: _record(inventory.nights.get(night), table) for night, table in frames.items()}
    nights_now = {**inventory.nights, **{night: each for night, each in records.items() if night != UNDATED}}
    # what is known of frames that are gone stays
    left = {night: table for night, table in frames.items() if len(table) or night == UNDATED}
    return Arrivals(Inventory(scanned, known, nights_now), left, changed=True)


def _place(root: Path, name: str) -> str:
    return str(root / name)


class _Places:
    """Tells the folder, or the store, of a file by its path; each folder is looked at once."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def __call__(self, path: str) -> str:
        folder = path.rpartition(os.sep)[0]
        if folder not in self._known:
            from opticam_dask.io.zarr_store.layout import split_path

            inside = split_path(path)
            self._known[folder] = folder if inside is None else inside[0]
        return self._known[folder]


def _read(out: Path, nights: set[str]) -> pd.DataFrame:
    """Frame indexes of some nights, as one; where one is lost, its headers are read again."""
    import pandas as pd

    from opticam_dask.io.frame_index import read_frames
    from opticam_dask.io.frame_table import empty_frames

    paths = [index_path(out, night) for night in sorted(nights)]
    found = [read_frames(path) for path in paths if path.is_file()]
    tables = [table for table in found if len(table)]
    return pd.concat(tables, ignore_index=True) if tables else empty_frames()


def _scanned(
    root: Path,
    folders: Sequence[Folder],
    old: pd.DataFrame,
    options: SurveyOptions,
    map_headers: MapHeaders | None,
) -> pd.DataFrame:
    from opticam_dask.io.frame_files import find_files
    from opticam_dask.io.frame_index import scan
    from opticam_dask.io.frame_table import empty_frames

    files = [path for folder in folders for path in find_files(_place(root, folder.name))]
    if not files:
        return empty_frames()
    return scan(files, options.instrument, target=options.target, previous=old, map_headers=map_headers)


def _by_night(
    kept: pd.DataFrame, rows: pd.DataFrame, nights: set[str], options: SurveyOptions
) -> dict[str, pd.DataFrame]:
    """Frame index of each night; a file belongs to the first night of its frames."""
    import pandas as pd

    from opticam_dask.io.frame_table import empty_frames, number_frames

    tables = [table for table in (kept, rows) if len(table)]
    every = pd.concat(tables, ignore_index=True) if tables else empty_frames()
    dates = every["night"].where(every["night"] != UNDATED)
    first = dates.groupby(every["path"]).transform("min").fillna(UNDATED)
    attrs = (rows if len(rows) else kept).attrs
    frames = {}
    for night in sorted(nights | set(first)):
        some = every[first == night]
        numbered = number_frames(some, options.instrument) if len(some) else empty_frames()
        numbered.attrs.update(attrs)
        frames[night] = numbered
    return frames


def _nights_by_place(frames: Mapping[str, pd.DataFrame]) -> dict[str, set[str]]:
    """Nights of the files of each folder or store."""
    found: dict[str, set[str]] = {}
    place = _Places()
    for night, table in frames.items():
        for path in table["path"].unique():
            found.setdefault(place(path), set()).add(night)
    return found


def _record(old: NightRecord | None, frames: pd.DataFrame) -> NightRecord:
    files = frames.drop_duplicates("path").sort_values("path")
    columns = (files[name].tolist() for name in ("path", "size", "mtime_ns"))
    total = hashlib.blake2b(digest_size=16)
    for stamp in zip(*columns, strict=True):
        total.update(os.fsencode("\t".join(map(str, stamp))) + b"\n")
    new = NightRecord(total.hexdigest(), len(files))
    return new if old is None else replace(old, files=new.files, n_files=new.n_files)
