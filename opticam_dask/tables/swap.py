"""One folder put in the place of another, and what a stop in the middle of it leaves put right again.

A change is prepared in a folder of its own above the dataset, ``.swap-<random>/``, beside a list
of the parts that it replaces. Then the two folders change places: in one step where the file system can
(Linux, local disks), or else in two renames, between which the night and camera are absent for an instant.
A reader finds the old parts or the new ones, never both; one that listed the old ones and opens them later
finds them gone, and has to list again.

Whatever is left behind by a process that was stopped is cleared away by `recover`, after what belongs in
the dataset has been put back.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from opticam_dask.errors import InputError
from opticam_dask.tables.atomic import to_disk, write_text
from opticam_dask.tables.parts import camera_folder, part_key, parts_in

_PREFIX = ".swap-"
_MANIFEST, _NEW, _OLD = "replaces.json", "new", "old"
_AT_FDCWD, _EXCHANGE = -100, 2
_CANNOT = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)


class Swap:
    """New parts of one night and camera, on their way into the dataset.

    Parameters
    ----------
    root : Path
        The dataset.
    night, camera : str
        Whose parts are replaced.
    replaces : list of str
        Names of the files that the new ones stand for.
    """

    def __init__(self, root: Path, night: str, camera: str, replaces: list[str]) -> None:
        self.root, self.night, self.camera = root, night, camera
        self.target = camera_folder(root, night, camera)
        self.staging = root.parent / f"{_PREFIX}{uuid.uuid4().hex}"
        self.staging.mkdir()
        place = {"night": night, "camera": camera, "replaces": replaces}
        write_text(self.staging / _MANIFEST, json.dumps(place))
        self.folder.mkdir()

    @property
    def folder(self) -> Path:
        """Where the new parts are written."""
        return self.staging / _NEW

    def commit(self) -> None:
        """Put the new parts in the place of the old ones, and remove these."""
        for path in sorted(self.folder.iterdir()):
            to_disk(path)
        to_disk(self.folder)
        if not exchanged(self.folder, self.target):
            self.target.rename(self.staging / _OLD)
            self.folder.rename(self.target)
        to_disk(self.target.parent)
        _clear(self.root, self.staging)


@contextmanager
def replacing_parts(root: Path, night: str, camera: str, replaces: list[str]) -> Iterator[Swap]:
    """Prepare new parts of a night and camera; without a commit the old ones stay.

    Raises
    ------
    InputError
        If the dataset cannot be written to, or another process works on the same parts.
    """
    try:
        swap = Swap(root, night, camera, replaces)
        try:
            yield swap
        finally:
            _clear(root, swap.staging)
    except (PermissionError, FileNotFoundError) as error:
        raise InputError(
            f"{camera_folder(root, night, camera)}: cannot be rewritten "
            f"({error.filename}: {error.strerror}); let no two runs work on it at once"
        ) from error


def recover(root: Path, folder: tuple[str, str] | None = None) -> None:
    """Put right what processes that were stopped in the middle of a swap have left.

    Parameters
    ----------
    root : Path
        The dataset.
    folder : tuple of str, optional
        Night and camera to look after alone, where others may be at work on the rest.
    """
    for staging in root.parent.glob(f"{_PREFIX}*"):
        place = _place(staging)
        if folder is None or (place is not None and folder == (place["night"], place["camera"])):
            _clear(root, staging)


def exchanged(one: Path, other: Path) -> bool:
    """Let two folders change places in one step; False if this system or file system cannot."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        return False
    status = call(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), ctypes.c_uint(_EXCHANGE))
    code = ctypes.get_errno()
    if status != 0 and code not in _CANNOT:
        raise OSError(code, os.strerror(code), str(other))
    return bool(status == 0)


def _clear(root: Path, staging: Path) -> None:
    """Put what belongs in the dataset back there, and remove the rest."""
    place = _place(staging)
    if place is not None:
        target, replaced = camera_folder(root, place["night"], place["camera"]), set(place["replaces"])
        for aside in (staging / _OLD, staging / _NEW):
            if aside.is_dir() and replaced <= {path.name for path in aside.iterdir()}:
                _put_back(aside, target, root, replaced)
    shutil.rmtree(staging, ignore_errors=True)


def _place(staging: Path) -> dict[str, Any] | None:
    """Night, camera and names of the replaced parts; without them nothing has changed places yet."""
    try:
        place: dict[str, Any] = json.loads((staging / _MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return place


def _put_back(aside: Path, target: Path, root: Path, replaced: set[str]) -> None:
    """Old parts go back if nothing has taken their place, and else those alone that came late."""
    if not target.is_dir():
        aside.rename(target)
        return
    for path in aside.iterdir():
        late = part_key(target / path.name)
        if path.name not in replaced and late is not None:
            there = parts_in(root, late[0], late[1])
            if all(stop <= late[2] or late[3] <= start for *_, start, stop in there):
                path.rename(target / path.name)
