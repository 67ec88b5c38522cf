"""One folder put in the place of another, and what a stop in the middle of it leaves put right again.

A change is prepared in a folder of its own above the dataset, ``.swap-<random>/``. Then the two folders
change places: in one step where the file system can (Linux, local disks), or else in two renames, between
which the night and camera are absent for an instant. A reader finds the old parts or the new ones, never
both; one that listed the old ones and opens them later finds them gone, and has to list again.

What a process that was stopped leaves behind is cleared away by `recover`, after those parts have been put
back whose frames the dataset does not hold: of a change that stopped half way, or written meanwhile.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from opticam_dask.errors import InputError
from opticam_dask.tables.atomic import to_disk, write_text
from opticam_dask.tables.parts import camera_folder, part_key, parts_in

_PREFIX = ".swap-"
_MANIFEST, _NEW, _OLD = "place.json", "new", "old"
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
    """

    def __init__(self, root: Path, night: str, camera: str) -> None:
        self.root, self.night, self.camera = root, night, camera
        self.target = camera_folder(root, night, camera)
        self.staging = root.parent / f"{_PREFIX}{uuid.uuid4().hex}"
        self.staging.mkdir()
        self.folder.mkdir()
        # the number of the new folder tells which of the two lies here
        place = {"night": night, "camera": camera, "new": self.folder.stat().st_ino}
        write_text(self.staging / _MANIFEST, json.dumps(place))

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
def replacing_parts(root: Path, night: str, camera: str) -> Iterator[Swap]:
    """Prepare new parts of a night and camera; without a commit the old ones stay.

    Raises
    ------
    InputError
        If the dataset cannot be written to, or another process is at work on the same parts.
    """
    try:
        swap = Swap(root, night, camera)
        try:
            yield swap
        finally:
            _clear(root, swap.staging)
    except OSError as error:
        raise InputError(
            f"{camera_folder(root, night, camera)}: cannot be rewritten "
            f"({error.filename or error}: {error.strerror}); let no two runs work on it at once"
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
            # of several that would clear up, the one whose renaming comes first does
            claimed = staging.with_name(f"{_PREFIX}{uuid.uuid4().hex}")
            with suppress(FileNotFoundError):
                staging.rename(claimed)
                _clear(root, claimed)


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
        target = camera_folder(root, place["night"], place["camera"])
        new, old = staging / _NEW, staging / _OLD
        if old.is_dir():
            _put_back(old, target, root)
        elif new.is_dir() and new.stat().st_ino != place["new"]:
            _put_back(new, target, root)
    shutil.rmtree(staging, ignore_errors=True)


def _place(staging: Path) -> dict[str, Any] | None:
    """Night, camera and number of the new folder; without them nothing has changed places yet.

    Raises
    ------
    InputError
        If that cannot be read, and there are old parts which may be nowhere else.
    """
    path = staging / _MANIFEST
    try:
        place: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return {name: place[name] for name in ("night", "camera", "new")}
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        if (staging / _OLD).is_dir():
            raise InputError(
                f"{path}: is damaged; move the parts in {staging / _OLD} back to their night and camera, "
                "or remove the folder, and run again"
            ) from error
        return None


def _put_back(aside: Path, target: Path, root: Path) -> None:
    """Move parts back whose frames are nowhere else."""
    if not target.is_dir():
        aside.rename(target)
        return
    for path in sorted(aside.iterdir()):
        key = part_key(target / path.name)
        if key is not None and not any(
            start < key[3] and key[2] < stop for *_, start, stop in parts_in(root, key[0], key[1])
        ):
            path.rename(target / path.name)
