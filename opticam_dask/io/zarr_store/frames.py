"""Frames of a store, decoded straight into native arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from opticam_dask.errors import FrameReadError
from opticam_dask.io.indexing import AxisIndex
from opticam_dask.io.zarr_store.headers import stored_stamp
from opticam_dask.io.zarr_store.layout import (
    ArrayLayout,
    array_folder,
    read_cameras,
    read_layout,
    shard_path,
)
from opticam_dask.io.zarr_store.shards import Shard, ShardError
from opticam_dask.io.zarr_store.tables import Places, StoredFrame, read_record
from opticam_dask.types import Image


@dataclass(frozen=True)
class StoredPixels:
    """Where the pixels of a frame are.

    Parameters
    ----------
    camera : str
        Camera whose array holds them.
    place : int
        Place along time in the array.
    layout : ArrayLayout
        Layout of the array.
    """

    camera: str
    place: int
    layout: ArrayLayout

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the frame."""
        return self.layout.shape

    @property
    def shard(self) -> int:
        """Number of its shard."""
        return self.place // self.layout.frames_per_shard

    @property
    def place_in_shard(self) -> int:
        """Place of the frame in its shard."""
        return self.place % self.layout.frames_per_shard


class FrameStore:
    """Decoder of the frames of a store; keeps the last shard open.

    Parameters
    ----------
    root : str
        The store.

    Raises
    ------
    InputError
        If its tables cannot be read.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self._places = Places(root, read_cameras(root))
        self._layouts: dict[str, ArrayLayout] = {}
        self._open: tuple[str, int, Shard] | None = None
        self._recorded: tuple[tuple[str, int], dict[int, StoredFrame]] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the shard that is open."""
        if self._open is not None:
            self._open[2].close()
            self._open = None

    def frames(self, path: str) -> StoredFrames:
        """Frames of one original file, by the path that starts with the store's."""
        return StoredFrames(self, path)

    def find(self, original: str, hdu: int, plane: int) -> StoredPixels | None:
        """Where a frame of an original file is; None if the store has no pixels of it."""
        found = self._places.find(original, hdu, plane)
        if found is None:
            return None
        camera, place = found
        if camera not in self._layouts:
            self._layouts[camera], _ = read_layout(self.root, camera)
        return StoredPixels(camera, place, self._layouts[camera])

    def shard(self, pixels: StoredPixels) -> Shard:
        """Open the shard that holds a frame.

        Raises
        ------
        ShardError
            If it cannot be opened.
        """
        if self._open is None or self._open[:2] != (pixels.camera, pixels.shard):
            self.close()
            path = shard_path(self.root, pixels.camera, pixels.shard)
            self._open = (pixels.camera, pixels.shard, Shard(path, pixels.layout))
        return self._open[2]

    def stale(self, pixels: StoredPixels, original: str) -> bool:
        """Whether pixels are not known to be those of the file whose headers the store has.

        While an ingest runs, or after one that stopped, a file that changed has new headers and old pixels.
        """
        made_of = self._record(pixels).get(pixels.place)
        now = stored_stamp(self.root, original)
        return made_of is None or now is None or (made_of.size, made_of.mtime_ns) != now

    def _record(self, pixels: StoredPixels) -> dict[int, StoredFrame]:
        key = (pixels.camera, pixels.shard)
        if self._recorded is None or self._recorded[0] != key:
            record = read_record(self.root, *key)
            frames = () if record is None else record.frames
            self._recorded = key, {frame.place: frame for frame in frames}
        return self._recorded[1]

    def absence(self, pixels: StoredPixels) -> str:
        """Why a frame that has a place has no pixels."""
        frame = self._record(pixels).get(pixels.place)
        return (
            frame.reason if frame is not None and frame.reason else "not ingested yet: run the ingest again"
        )


class StoredFrames:
    """Frames that came from one original file; what `opticam_dask.io.readers.FrameFile` is to a FITS file.

    Parameters
    ----------
    store : FrameStore
        The open store.
    path : str
        Path of the frames: the store's, then the original file's.
    """

    def __init__(self, store: FrameStore, path: str) -> None:
        self.path, self._store = path, store
        self._found: tuple[int, int, StoredPixels] | None = None

    def describe(self, hdu: int, plane: int = 0) -> StoredPixels:
        """Shape and place of a frame.

        Raises
        ------
        FrameReadError
            If its pixels are not in the store.
        """
        if self._found is None or self._found[:2] != (hdu, plane):
            pixels = self._store.find(self.path[len(self._store.root) :], hdu, plane)
            if pixels is None:
                detail = "its pixels are not in the store: the scan at ingest rejected it"
                raise self._error(hdu, plane, detail)
            self._found = hdu, plane, pixels
        return self._found[2]

    def windows(self, hdu: int, plane: int, boxes: NDArray[np.int64]) -> list[tuple[AxisIndex, AxisIndex]]:
        """Parts of a frame to read in order to have some boxes of it: runs of tiles, each tile once.

        Parameters
        ----------
        hdu, plane : int
            Place of the frame.
        boxes : ndarray, shape (n, 4)
            First row, row after the last, first column and column after the last of each; within the frame.

        Raises
        ------
        FrameReadError
            If its pixels are not in the store, or could not be read when it was ingested: also where no box
            wants any.
        """
        pixels = self.describe(hdu, plane)
        self._shard(pixels, hdu, plane)
        layout = pixels.layout
        (ty, tx), (ny, nx) = layout.tile, layout.shape
        wanted = np.zeros(layout.tiles, bool)
        for top, bottom, left, right in boxes.tolist():
            wanted[top // ty : -(-bottom // ty), left // tx : -(-right // tx)] = True
        return [
            (_run(y * ty, min((y + 1) * ty, ny)), _run(first * tx, min(stop * tx, nx)))
            for y, row in enumerate(wanted)
            for first, stop in np.flatnonzero(np.diff(row, prepend=False, append=False)).reshape(-1, 2)
        ]

    def read_into(self, out: Image, hdu: int, plane: int, rows: AxisIndex, columns: AxisIndex) -> None:
        """Decode one frame, or a part of it, into ``out``; see `opticam_dask.io.readers.FrameFile.read_into`.

        Only the tiles that hold some of it are read.

        Raises
        ------
        FrameReadError
            If the frame could not be read when it was ingested, its bytes are missing or damaged, or it has
            another type than ``out``.
        """
        pixels = self.describe(hdu, plane)
        if not np.can_cast(pixels.layout.dtype, out.dtype):
            detail = f"expected pixels of type {out.dtype.name}, the store has {pixels.layout.dtype}"
            raise self._error(hdu, plane, detail)
        shard = self._shard(pixels, hdu, plane)
        try:
            shard.read_into(out, pixels.place_in_shard, rows, columns)
        except ShardError as error:
            raise self._damage(pixels, hdu, plane, error) from error

    def _shard(self, pixels: StoredPixels, hdu: int, plane: int) -> Shard:
        """Open the shard of a frame that has pixels."""
        try:
            shard = self._store.shard(pixels)
        except ShardError as error:
            raise self._damage(pixels, hdu, plane, error) from error
        if not shard.holds(pixels.place_in_shard):
            raise self._error(hdu, plane, self._store.absence(pixels))
        if self._store.stale(pixels, self.path[len(self._store.root) :]):
            detail = "the file has changed since its pixels were ingested: run the ingest again"
            raise self._error(hdu, plane, detail)
        return shard

    def _damage(self, pixels: StoredPixels, hdu: int, plane: int, error: ShardError) -> FrameReadError:
        array = array_folder("", pixels.camera)
        detail = f"array {array}, frame {pixels.place}, shard {pixels.shard}: {error}; ingest it again"
        return self._error(hdu, plane, detail)

    def _error(self, hdu: int, plane: int, detail: str) -> FrameReadError:
        return FrameReadError(self.path, detail, hdu=hdu, plane=plane)


def _run(start: int, stop: int) -> AxisIndex:
    return AxisIndex(slice(int(start), int(stop), 1), int(stop - start))
