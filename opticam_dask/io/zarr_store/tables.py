"""Tables of a store: which frame is where, what each finished shard holds, what the store was made with."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from opticam_dask.errors import InputError
from opticam_dask.io.zarr_store.layout import FRAMES, PLACES, record_path
from opticam_dask.tables.atomic import replacing, write_text

Place: TypeAlias = tuple[str, int]
"""Camera of a frame, and its place along time in the camera's array."""

FRAME_TABLE = pa.schema(
    [
        pa.field("camera", pa.string()),
        pa.field("place", pa.int64()),
        pa.field("path", pa.string()),
        pa.field("hdu", pa.int32()),
        pa.field("plane", pa.int32()),
        pa.field("size", pa.int64()),
        pa.field("mtime_ns", pa.int64()),
        pa.field("dtype", pa.string()),
    ]
)
"""Frames of a store; ``path`` is that of the original file."""


@dataclass(frozen=True)
class StoredFrame:
    """One frame of a finished shard.

    Parameters
    ----------
    place : int
        Place along time in the array.
    path : str
        Original file.
    hdu, plane : int
        Place in that file.
    size, mtime_ns : int
        Of the file when it was read.
    crc32c : str
        Checksum of the pixels, hexadecimal, little-endian; empty for a frame that could not be read.
    reason : str
        Why it could not be read.
    """

    place: int
    path: str
    hdu: int
    plane: int
    size: int
    mtime_ns: int
    crc32c: str = ""
    reason: str = ""

    @property
    def source(self) -> tuple[Any, ...]:
        """What the frame was made from, and where it goes."""
        return self.place, self.path, self.hdu, self.plane, self.size, self.mtime_ns


@dataclass(frozen=True)
class ShardRecord:
    """What a finished shard holds, and how large its file is [byte]."""

    size: int
    frames: tuple[StoredFrame, ...]


def read_record(root: str | os.PathLike[str], camera: str, number: int) -> ShardRecord | None:
    """Record of a shard; None if there is none, or it cannot be used."""
    try:
        found = json.loads(record_path(root, camera, number).read_text(encoding="utf-8"))
        return ShardRecord(int(found["size"]), tuple(StoredFrame(**frame) for frame in found["frames"]))
    except (OSError, ValueError, LookupError, TypeError):
        return None


def write_record(root: str | os.PathLike[str], camera: str, number: int, record: ShardRecord) -> None:
    """Record a shard as finished."""
    write_text(record_path(root, camera, number), json.dumps(asdict(record)) + "\n")


def read_frame_table(root: str | os.PathLike[str]) -> pd.DataFrame:
    """Read which frame is where; empty if nothing was planned yet.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    path = Path(root, FRAMES)
    if not path.is_file():
        return pd.DataFrame(FRAME_TABLE.empty_table().to_pandas())
    try:
        return pd.DataFrame(pq.read_table(path, schema=FRAME_TABLE).to_pandas())
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: cannot be read ({error}); ingest again with --overwrite") from error


def write_frame_table(root: str | os.PathLike[str], frames: pd.DataFrame, cameras: list[str]) -> None:
    """Write which frame is where, and the index that readers look places up in.

    Parameters
    ----------
    root : path
        The store.
    frames : DataFrame
        Columns of `FRAME_TABLE`.
    cameras : list of str
        Cameras of the store, in an order that later runs keep.
    """
    table = pa.Table.from_pandas(frames, schema=FRAME_TABLE, preserve_index=False)
    with replacing(Path(root, PLACES)) as temporary, temporary.open("wb") as file:
        np.save(file, _index_of(frames, cameras))
    with replacing(Path(root, FRAMES)) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def _index_of(frames: pd.DataFrame, cameras: list[str]) -> NDArray[np.uint64]:
    """Keys, cameras and places as three rows, in order of the keys."""
    keys = zip(frames["path"], frames["hdu"], frames["plane"], strict=True)
    key = np.array([_key(path, int(hdu), int(plane)) for path, hdu, plane in keys], np.uint64)
    order = np.argsort(key)
    if (np.diff(key[order]) == 0).any():
        raise InputError("two frames of the store have one key: ingest them into stores of their own")
    numbers = frames["camera"].map({camera: number for number, camera in enumerate(cameras)})
    places = [numbers.to_numpy(np.uint64), frames["place"].to_numpy(np.uint64)]
    return np.stack([key, *places])[:, order]


def _key(path: str, hdu: int, plane: int) -> int:
    text = f"{path}\0{hdu}\0{plane}".encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


class Places:
    """Where each frame of a store is; a million take 24 MB on disk, and of memory only what is looked up.

    Parameters
    ----------
    root : path
        The store.
    cameras : list of str
        Its cameras, as `write_frame_table` was given them.

    Raises
    ------
    InputError
        If the index is missing or damaged.
    """

    def __init__(self, root: str | os.PathLike[str], cameras: list[str]) -> None:
        path = Path(root, PLACES)
        self._cameras = cameras
        try:
            index: NDArray[np.uint64] = np.load(path, mmap_mode="r")
            self._keys, self._numbers, self._places = index
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: cannot be read ({error}); run the ingest again") from error

    def find(self, path: str, hdu: int, plane: int) -> Place | None:
        """Place of a frame of an original file; None if its pixels are not in the store."""
        key = np.uint64(_key(path, hdu, plane))
        at = int(np.searchsorted(self._keys, key))
        if at == len(self._keys) or self._keys[at] != key:
            return None
        return self._cameras[int(self._numbers[at])], int(self._places[at])
