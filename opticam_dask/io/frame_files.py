"""Which files a source means: a folder, a list of paths, or a pattern."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from glob import has_magic
from pathlib import Path
from typing import TypeAlias

from opticam_dask.errors import InputError
from opticam_dask.io.zarr_store.layout import is_store

Source: TypeAlias = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]

_FITS_NAME = re.compile(r"\.(fits?|fts)(\.(gz|bz2|fz))?\Z", re.IGNORECASE)


def is_fits_name(name: str) -> bool:
    """Whether a file's name ends like a FITS file: .fit, .fits or .fts, maybe .gz, .bz2 or .fz after it."""
    return _FITS_NAME.search(name) is not None


def find_files(source: Source, *, recursive: bool = False) -> list[str]:
    """FITS files of a source, or those that a store stands for.

    Parameters
    ----------
    source : path, pattern, or iterable of paths
        A folder, a store, a file, a glob pattern (``**`` descends), or any number of these.
    recursive : bool
        Whether to look into folders inside folders.

    Returns
    -------
    list of str
        Absolute paths, sorted, each once. Files with other endings, and hidden ones, are left out; a listed
        file that does not exist is kept, to be told as unreadable.

    Raises
    ------
    InputError
        If a folder does not exist, or there is no FITS file.
    """
    single = isinstance(source, str | os.PathLike)
    items = [os.fspath(item) for item in ([source] if isinstance(source, str | os.PathLike) else source)]
    files = {path for item in items for path in _expand(item, recursive, single)}
    if not files:
        raise InputError(f"no FITS file in {_short(items)}: {_remedy(recursive)}")
    return sorted(files)


def _short(items: list[str]) -> str:
    more = f" and {len(items) - 3} more" if len(items) > 3 else ""
    return (", ".join(items[:3]) or "an empty list") + more


def _remedy(recursive: bool) -> str:
    deeper = "" if recursive else "; use recursive=True for folders inside it"
    return f"names must end in .fit, .fits or .fts, maybe with .gz, .bz2 or .fz{deeper}"


def _expand(item: str, recursive: bool, single: bool) -> Iterator[str]:
    path = Path(item).expanduser()
    if path.is_dir():
        yield from _walk(path.resolve(), recursive)
    elif has_magic(item) and not path.exists():
        for match in _matches(path):
            yield from _walk(match.resolve(), recursive) if match.is_dir() else _named(match)
    elif single and not path.exists():
        raise InputError(
            f"{item} does not exist: give a folder, a list of files, or a pattern such as 'night/*.fits'"
        )
    else:
        yield from _named(path)


def _matches(pattern: Path) -> Iterator[Path]:
    parts = pattern.parts
    fixed = next(number for number, part in enumerate(parts) if has_magic(part))
    return Path(*parts[:fixed]).glob(str(Path(*parts[fixed:])))


def _named(path: Path) -> Iterator[str]:
    if is_fits_name(path.name) and not path.name.startswith("."):
        # The folder is resolved, a link to a file keeps its name: as when the folder is walked.
        yield str(path.parent.resolve() / path.name)


def _walk(folder: Path, recursive: bool) -> Iterator[str]:
    if is_store(folder):
        from opticam_dask.io.zarr_store.headers import stored_paths

        yield from stored_paths(str(folder))
        return
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        raise InputError(f"{folder} cannot be listed: {error.strerror}") from error
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if is_fits_name(entry.name) and not entry.is_dir():
            yield entry.path
        elif recursive and entry.is_dir():
            yield from _walk(Path(entry.path), recursive)
