"""Folders of frames as they are now: what the file system tells of them, without opening a file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from opticam_dask.errors import InputError
from opticam_dask.io.frame_files import is_fits_name
from opticam_dask.io.zarr_store.layout import is_store

_SUM_BYTES = 16


@dataclass(frozen=True)
class Folder:
    """One folder that holds frames, or one store of frames.

    Parameters
    ----------
    name : str
        Its path below the root of the survey; ``'.'`` is the root itself.
    files : int
        Number of files: FITS files of a folder, all files of a store.
    digest : str
        Of their names, sizes and times of modification: another one where a file came, went or changed.
    """

    name: str
    files: int
    digest: str


def folders_of(root: Path, skip: Collection[Path] = ()) -> dict[str, Folder]:
    """Look at every folder below a root: names, sizes and times of modification alone.

    Parameters
    ----------
    root : path
        Where the nights are, in folders of any depth, or mixed in one.
    skip : collection of path
        Folders that hold FITS files which are no frames of the survey: its own output, calibration frames.

    Returns
    -------
    dict of str to Folder
        Folders with frames, by name, sorted.

    Raises
    ------
    InputError
        If the root, or a folder in it, cannot be listed.
    """
    root = root.resolve()
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; give the folder that holds the nights")
    found = (_folder(root, path) for path in _below(root, {path.resolve() for path in skip}))
    return {folder.name: folder for folder in sorted(found, key=lambda each: each.name) if folder.files}


def signature(path: Path) -> str:
    """Digest of the FITS files in a folder and those inside it, or of one file: names, sizes, times."""
    path = path.resolve()
    if not path.is_dir():
        return _digest([_stamp(path.name, path.stat())])
    lines = [_folder(path, folder).digest for folder in sorted(_below(path, set()))]
    return _digest(lines)


def _below(root: Path, skip: set[Path]) -> Iterator[Path]:
    """Folders from a root down, each once however many links lead there."""
    todo, seen = [root], set(skip)
    while todo:
        folder = todo.pop()
        real = folder.resolve()
        if real in seen:
            continue
        seen.add(real)
        yield folder
        if not is_store(folder):
            inside = (entry for entry in _entries(folder) if entry.is_dir())
            todo += [Path(entry.path) for entry in inside]


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise InputError(f"{folder}: cannot be listed ({error.strerror}); make it readable") from error


def _folder(root: Path, path: Path) -> Folder:
    stamps = sorted(_of_store(path) if is_store(path) else _of_frames(path))
    return Folder(path.relative_to(root).as_posix(), len(stamps), _digest(stamps))


def _of_frames(folder: Path) -> Iterator[str]:
    for entry in _entries(folder):
        if is_fits_name(entry.name) and not entry.is_dir():
            try:
                yield _stamp(entry.name, entry.stat())
            except FileNotFoundError:
                # gone since it was listed, or a link to nowhere
                yield entry.name


def _of_store(store: Path) -> Iterator[str]:
    for folder, _, names in os.walk(store):
        for name in names:
            path = Path(folder, name)
            yield _stamp(path.relative_to(store).as_posix(), path.stat())


def _stamp(name: str, status: os.stat_result) -> str:
    return f"{name}\t{status.st_size}\t{status.st_mtime_ns}"


def _digest(lines: list[str]) -> str:
    total = hashlib.blake2b(digest_size=_SUM_BYTES)
    for line in lines:
        # names are bytes to the file system
        total.update(os.fsencode(line) + b"\n")
    return total.hexdigest()
