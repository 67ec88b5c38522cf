"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from opticam_dask.errors import InputError


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
    InputError
        If the folder cannot be written to.
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
    except (PermissionError, NotADirectoryError, FileExistsError) as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror}); choose a folder you can write to"
        ) from error
    finally:
        temporary.unlink(missing_ok=True) if folder.is_dir() else None


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


def to_disk(path: Path) -> None:
    """Wait until a file, or the names in a folder, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
