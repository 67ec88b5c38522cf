"""Headers of the ingested files, byte for byte: a store is scanned like the folder it was made from."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from opticam_dask.errors import FrameReadError, InputError
from opticam_dask.io.containers import HduHeader, read_headers
from opticam_dask.io.pixel_format import PixelFormat
from opticam_dask.io.zarr_store.layout import HEADERS, PARTS
from opticam_dask.tables.atomic import replacing, write_text

FILES_PER_PART = 512

Stamp: TypeAlias = tuple[int, int]
"""Size of a file [byte], and its time of modification [ns]."""

_HEADERS = pa.schema(
    [
        pa.field("path", pa.binary()),
        pa.field("size", pa.int64()),
        pa.field("mtime_ns", pa.int64()),
        pa.field("fault", pa.string()),
        pa.field("hdu", pa.int32()),
        pa.field("raw", pa.binary()),
        pa.field("shape", pa.list_(pa.int64())),
        pa.field("data_offset", pa.int64()),
        pa.field("data_bytes", pa.int64()),
        pa.field("compressed", pa.bool_()),
        pa.field("bitpix", pa.int32()),
        pa.field("bscale", pa.float64()),
        pa.field("bzero", pa.float64()),
        pa.field("blank", pa.int64()),
        pa.field("problem", pa.string()),
    ]
)
"""One row per HDU; a file that cannot be read at all is one row with its ``fault``.

Paths are bytes, as the file system has them: names that are no text are told by the scan, not lost here.
"""


@dataclass(frozen=True)
class HeaderPart:
    """One file of headers.

    Parameters
    ----------
    name : str
        Digest of the files it is made from, their sizes and times.
    first, last : str
        The range of their paths.
    """

    name: str
    first: str
    last: str

    def path(self, root: str | os.PathLike[str]) -> Path:
        """File of the part."""
        return Path(root, HEADERS, f"{self.name}.parquet")


@dataclass(frozen=True, eq=False)
class StoredFile:
    """An original file as it was when it was ingested.

    Parameters
    ----------
    size, mtime_ns : int
        Size [byte] and time of modification [ns]; 0 of a file that was not there.
    headers : list of HduHeader
        As `opticam_dask.io.containers.read_headers` gave them.
    fault : str
        Why there are none.
    """

    size: int
    mtime_ns: int
    headers: list[HduHeader]
    fault: str = ""


def plan_parts(files: dict[str, tuple[int, int]]) -> list[tuple[HeaderPart, list[str]]]:
    """Divide files, with their sizes and times, among parts.

    Returns
    -------
    list of (HeaderPart, list of str)
        Each part with its files, in order.
    """
    paths = sorted(files)
    batches = [paths[i : i + FILES_PER_PART] for i in range(0, len(paths), FILES_PER_PART)]
    return [(HeaderPart(_name(files, batch), batch[0], batch[-1]), batch) for batch in batches]


def _name(files: dict[str, tuple[int, int]], batch: Sequence[str]) -> str:
    text = "\0".join(f"{path}\0{files[path]}" for path in batch)
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()


def write_part(batch: tuple[HeaderPart, list[str]], root: str) -> int:
    """Read the headers of some files into a part, unless it is there; returns the number of files."""
    part, paths = batch
    final = part.path(root)
    if not final.is_file():
        rows = [row for path in paths for row in _rows(path)]
        with replacing(final) as temporary:
            pq.write_table(pa.Table.from_pylist(rows, _HEADERS), temporary, compression="zstd")
    return len(paths)


def _rows(path: str) -> list[dict[str, Any]]:
    row: dict[str, Any] = {"path": os.fsencode(path), "size": 0, "mtime_ns": 0, "fault": ""}
    try:
        status = Path(path).stat()
        row |= {"size": status.st_size, "mtime_ns": status.st_mtime_ns}
        hdus = read_headers(path)
    except FrameReadError as error:
        return [row | {"fault": error.detail}]
    except OSError as error:
        return [row | {"fault": f"cannot be read: {error.strerror or error}"}]
    return [row | _hdu_row(hdu) for hdu in hdus]


def _hdu_row(hdu: HduHeader) -> dict[str, Any]:
    names = ("hdu", "raw", "data_offset", "data_bytes", "compressed", "problem")
    pixels = {} if hdu.pixels is None else asdict(hdu.pixels)
    return {name: getattr(hdu, name) for name in names} | {"shape": list(hdu.shape)} | pixels


def _hdu(row: dict[str, Any]) -> HduHeader:
    pixels = None
    if row["bitpix"] is not None:
        pixels = PixelFormat(row["bitpix"], row["bscale"], row["bzero"], row["blank"])
    names = ("hdu", "raw", "data_offset", "data_bytes", "compressed", "problem")
    return HduHeader(**{name: row[name] for name in names}, shape=tuple(row["shape"]), pixels=pixels)


def read_parts(root: str | os.PathLike[str]) -> list[HeaderPart]:
    """Parts of a store in the order they were made; of a file in several, the last counts.

    Raises
    ------
    InputError
        If the list cannot be read.
    """
    path = Path(root, PARTS)
    try:
        stamp = path.stat().st_mtime_ns
    except OSError:
        return []
    return _parts(str(path), stamp)


@lru_cache(maxsize=8)
def _parts(path: str, _stamp: int) -> list[HeaderPart]:
    try:
        return [HeaderPart(**part) for part in json.loads(Path(path).read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path}: cannot be read ({error}); run the ingest again") from error


def write_parts(root: str | os.PathLike[str], parts: list[HeaderPart]) -> None:
    """Write the list of the parts that count."""
    write_text(Path(root, PARTS), json.dumps([asdict(part) for part in parts]) + "\n")


@lru_cache(maxsize=4)
def _load(path: str) -> dict[str, StoredFile]:
    """Files of a part: a part never changes, since its name is a digest."""
    try:
        rows = pq.read_table(path, schema=_HEADERS).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: cannot be read ({error}); delete it and run the ingest again") from error
    files: dict[str, StoredFile] = {}
    for row in rows:
        entry = StoredFile(row["size"], row["mtime_ns"], [], row["fault"])
        entry = files.setdefault(os.fsdecode(row["path"]), entry)
        if not row["fault"]:
            entry.headers.append(_hdu(row))
    return files


def stored_files(root: str | os.PathLike[str]) -> dict[str, Stamp]:
    """Sizes [byte] and times of modification [ns] of all files of a store, by original path."""
    files: dict[str, Stamp] = {}
    for part in read_parts(root):
        files |= _stamps(str(part.path(root)))
    return files


@lru_cache(maxsize=8)
def _stamps(path: str) -> dict[str, Stamp]:
    """Sizes and times of the files of a part."""
    table = pq.read_table(path, columns=["path", "size", "mtime_ns"])
    columns = (table.column(name).to_pylist() for name in ("path", "size", "mtime_ns"))
    return {os.fsdecode(path): (size, mtime) for path, size, mtime in zip(*columns, strict=True)}


def stored_stamp(root: str, original: str) -> Stamp | None:
    """Size and time of modification of a file when its headers were kept; None if there are none."""
    for part in reversed(read_parts(root)):
        if part.first <= original <= part.last:
            found = _stamps(str(part.path(root))).get(original)
            if found is not None:
                return found
    return None


def stored_file(root: str, original: str) -> StoredFile:
    """Give what a store keeps of a file.

    Raises
    ------
    FrameReadError
        If it has no such file.
    """
    for part in reversed(read_parts(root)):
        if part.first <= original <= part.last:
            found = _load(str(part.path(root))).get(original)
            if found is not None:
                return found
    raise FrameReadError(root + original, "the store has no such file; ingest it, or scan the store again")


def stored_headers(root: str, original: str) -> list[HduHeader]:
    """Headers of a file as they were when it was ingested; see `opticam_dask.io.containers.read_headers`.

    Raises
    ------
    FrameReadError
        If the store has no such file, or it could not be read.
    """
    found = stored_file(root, original)
    if found.fault:
        raise FrameReadError(root + original, found.fault)
    return found.headers


def stored_paths(root: str) -> list[str]:
    """Paths of all files that a store stands for: the store's, then the original one."""
    return [root + path for path in stored_files(root)]
