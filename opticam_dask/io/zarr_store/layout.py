"""Names inside a store, and the metadata that make it one of Zarr version 3.

::

    night.zarr/zarr.json                              a group
    night.zarr/1%3Ag/image/c/0/0/0                    a shard of an array (time, y, x), one per camera
    night.zarr/files/headers/<digest>.parquet         headers of the files, rejected ones too
    night.zarr/files/frames.parquet                   which frame is where
    night.zarr/files/shards/1%3Ag/00000000.json       what a finished shard holds

``files`` is an array without elements: Zarr tools list nothing inside an array, so that tables beside the
pixels are no stray objects to them. A frame of ``/data/a.fits`` has the path ``night.zarr/data/a.fits``:
files keep their names and their order.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from opticam_dask.errors import InputError
from opticam_dask.schema import DIMS
from opticam_dask.tables.atomic import write_text

SUFFIX = ".zarr"
FORMAT = 1
SETTINGS = Path("files", "settings.json")
FRAMES = Path("files", "frames.parquet")
PLACES = Path("files", "places.npy")
HEADERS = Path("files", "headers")
PARTS = Path("files", "headers.json")
SHARDS = Path("files", "shards")

# Near 256 x 256: small enough to skip what is far from stars, large enough to decode at full speed.
_TILE = 256
_JSON = "zarr.json"


def split_path(path: str) -> tuple[str, str] | None:
    """Store and original file of a frame's path; None if it lies in no store."""
    cut = path.find(f"{SUFFIX}{os.sep}")
    while cut >= 0:
        root = path[: cut + len(SUFFIX)]
        if is_store(root):
            return root, path[len(root) :]
        cut = path.find(f"{SUFFIX}{os.sep}", cut + 1)
    return None


def is_store(path: str | os.PathLike[str]) -> bool:
    """Whether a path is that of a store that this package wrote."""
    name = os.fspath(path)
    return name.endswith(SUFFIX) and Path(name, SETTINGS).is_file()


def array_folder(root: str | os.PathLike[str], camera: str) -> Path:
    """Folder of a camera's array."""
    return Path(root, quote(camera, safe=""), "image")


def shard_path(root: str | os.PathLike[str], camera: str, number: int) -> Path:
    """Shard ``number`` along time of a camera's array."""
    return array_folder(root, camera) / "c" / str(number) / "0" / "0"


def record_path(root: str | os.PathLike[str], camera: str, number: int) -> Path:
    """File of what is known of a finished shard."""
    return Path(root, SHARDS, quote(camera, safe=""), f"{number:08d}.json")


@dataclass(frozen=True)
class ArrayLayout:
    """How frames of one camera are cut into tiles and shards.

    Parameters
    ----------
    shape : (ny, nx)
        Shape of a frame.
    dtype : str
        Native numpy type of the pixels.
    frames_per_shard : int
        Frames of one file.
    tile : (rows, columns)
        Shape of the pieces that are compressed, and can be read, on their own.
    """

    shape: tuple[int, int]
    dtype: str
    frames_per_shard: int
    tile: tuple[int, int]

    @classmethod
    def of_frames(cls, shape: tuple[int, int], dtype: str, shard_bytes: int) -> ArrayLayout:
        """Layout of frames of a shape in shards of at most so many bytes of pixels, and at least a frame."""
        frame_bytes = shape[0] * shape[1] * np.dtype(dtype).itemsize
        tile = (_piece(shape[0]), _piece(shape[1]))
        return cls(shape, dtype, max(1, shard_bytes // max(frame_bytes, 1)), tile)

    @property
    def tiles(self) -> tuple[int, int]:
        """Tiles of a frame along y and x."""
        return -(-self.shape[0] // self.tile[0]), -(-self.shape[1] // self.tile[1])

    def metadata(self, n_frames: int) -> dict[str, Any]:
        """Zarr metadata of the array (time, y, x)."""
        padded = [count * length for count, length in zip(self.tiles, self.tile, strict=True)]
        pixels = np.dtype(self.dtype)
        order = [{"name": "bytes", "configuration": {"endian": "little"}}]
        if pixels.itemsize == 1:
            order = [{"name": "bytes"}]
        codecs = [*order, {"name": "blosc", "configuration": blosc_settings(self)}, {"name": "crc32c"}]
        sharding = {
            "chunk_shape": [1, *self.tile],
            "codecs": codecs,
            "index_codecs": [
                {"name": "bytes", "configuration": {"endian": "little"}},
                {"name": "crc32c"},
            ],
            "index_location": "end",
        }
        return _array(
            [n_frames, *self.shape],
            [self.frames_per_shard, *padded],
            pixels,
            [{"name": "sharding_indexed", "configuration": sharding}],
            DIMS,
        )


def blosc_settings(layout: ArrayLayout) -> dict[str, Any]:
    """Compression of a tile: bytes of equal weight side by side, then zstd, all of the tile at once.

    On frames of 10 adu of noise this is a third of the pixels' bytes, smaller than Rice or gzip, and decodes
    faster than either.
    """
    size = np.dtype(layout.dtype).itemsize
    return {
        "typesize": size,
        "cname": "zstd",
        "clevel": 1,
        "shuffle": "shuffle" if size > 1 else "noshuffle",
        "blocksize": math.prod(layout.tile) * size,
    }


def _piece(length: int) -> int:
    """Length near `_TILE` that divides an axis with little left over."""
    count = max(1, round(length / _TILE))
    return max(1, -(-length // count))


def _array(
    shape: list[int], chunks: list[int], dtype: np.dtype[Any], codecs: list[Any], dims: tuple[str, ...]
) -> dict[str, Any]:
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": shape,
        "data_type": dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunks}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": "NaN" if dtype.kind == "f" else 0,
        "codecs": codecs,
        "dimension_names": list(dims),
        "attributes": {"units": "adu"} if len(dims) > 1 else {},
    }


def write_store(root: Path, cameras: list[str]) -> None:
    """Make a folder a store of some cameras, or let it have more of them."""
    tables = _array([0], [1], np.dtype("u1"), [{"name": "bytes"}], ("file",))
    _write(root / "files" / _JSON, tables)
    _write(root / _JSON, _group({"format": FORMAT, "cameras": cameras}))


def write_array(root: Path, camera: str, layout: ArrayLayout, n_frames: int) -> None:
    """Make the array of a camera, or let it grow."""
    folder = array_folder(root, camera)
    _write(folder.parent / _JSON, _group({"camera": camera}))
    _write(folder / _JSON, layout.metadata(n_frames))


def _group(attributes: dict[str, Any]) -> dict[str, Any]:
    return {"zarr_format": 3, "node_type": "group", "attributes": attributes}


def _write(path: Path, document: dict[str, Any]) -> None:
    text = json.dumps(document, indent=1) + "\n"
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)


def read_cameras(root: str | os.PathLike[str]) -> list[str]:
    """Cameras of a store, in the order they came; none if it is no store yet.

    Raises
    ------
    InputError
        If the store was written by another version, or its metadata cannot be read.
    """
    path = Path(root, _JSON)
    if not path.is_file():
        return []
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["attributes"]
        cameras, version = [str(camera) for camera in found["cameras"]], found["format"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InputError(f"{path}: cannot be read as a store of frames ({error})") from error
    if version != FORMAT:
        raise InputError(f"{path}: a store of format {version}, not {FORMAT}; ingest again into a new store")
    return cameras


def read_layout(root: str | os.PathLike[str], camera: str) -> tuple[ArrayLayout, int]:
    """Layout of a camera's array, and its length along time.

    Raises
    ------
    InputError
        If the array is missing, or is none of those this package writes.
    """
    path = array_folder(root, camera) / _JSON
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        sharding = found["codecs"][0]["configuration"]
        shape, chunks = found["shape"], found["chunk_grid"]["configuration"]["chunk_shape"]
        layout = ArrayLayout(
            (shape[1], shape[2]), found["data_type"], chunks[0], tuple(sharding["chunk_shape"][1:])
        )
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InputError(f"{path}: is not the array of a camera ({error}); ingest again") from error
    if layout.metadata(shape[0]) != found:
        raise InputError(f"{path}: written by another program or version; ingest again into a new store")
    return layout, shape[0]
