"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from opticam_dask.errors import StorageError

# What no other block or try will find different: all work that writes there had better stop.
_CANNOT_WRITE = (errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST, errno.EROFS)
_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def replacing(path: Path, staging: Path | None = None) -> Iterator[Path]:
    """Give a temporary name to write to; when the block ends well, it becomes ``path``.

    Parameters
    ----------
    path : Path
        Final name; its folder is made.
    staging : Path, optional
        Folder of the temporary file, on the same file system; by default the folder of ``path``.

    Raises
    ------
    StorageError
        If the folder cannot be written to, or the disk is full.
    """
    folder = staging or path.parent
    # Two workers may run one task at once (a worker given up for lost): each writes a file of its own.
    temporary = folder / f".{path.name}.{uuid.uuid4().hex}.tmp"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        yield temporary
        to_disk(temporary)
        temporary.replace(path)
        to_disk(path.parent)
    except OSError as error:
        told = storage_error(path, error)
        if told is None:
            raise
        raise told from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def storage_error(path: Path | str, error: OSError) -> StorageError | None:
    """Say in one line, with the remedy, that nothing can be written to a place; None if that is not it."""
    if error.errno in _FULL:
        remedy = "make room and run again: what is finished is kept"
    elif error.errno in _CANNOT_WRITE:
        remedy = "choose a folder you can write to"
    else:
        return None
    return StorageError(f"{path}: cannot be written ({error.strerror}); {remedy}")


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def forget(folder: Path, first: Path) -> None:
    """Remove results that do not fit the settings any more.

    What says that they hold goes `first`: whenever this stops, what is left is not taken for results.
    """
    first.unlink(missing_ok=True)
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def sweep(*folders: Path) -> None:
    """Remove what writers that were stopped left in folders: files that never became whole."""
    for path in [path for folder in folders for path in folder.glob(".*.tmp")]:
        path.unlink(missing_ok=True)


def to_disk(path: Path) -> None:
    """Wait until a file, or the names in a folder, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
