"""Whatever frames are read from, behind one face: FITS files and stores."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from opticam_dask.io.indexing import AxisIndex
from opticam_dask.io.readers import FrameFile
from opticam_dask.io.zarr_store.layout import split_path
from opticam_dask.types import Image

if TYPE_CHECKING:
    from opticam_dask.io.zarr_store.frames import FrameStore


class Described(Protocol):
    """What is known of a frame before it is read."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the image that holds it; the last two axes are the frame's."""
        ...


class FrameSource(Protocol):
    """A file's frames; see `opticam_dask.io.readers.FrameFile`."""

    path: str

    def describe(self, hdu: int, plane: int = 0) -> Described:
        """Tell the shape of a frame."""
        ...

    def windows(self, hdu: int, plane: int, boxes: NDArray[np.int64]) -> list[tuple[AxisIndex, AxisIndex]]:
        """Parts of a frame to read in order to have some boxes of it."""
        ...

    def read_into(self, out: Image, hdu: int, plane: int, rows: AxisIndex, columns: AxisIndex) -> None:
        """Decode one frame, or a part of it."""
        ...


class OpenFiles:
    """Opens files by path. The last stays open, and a store for all the files that it stands for."""

    def __init__(self) -> None:
        self._open = ExitStack()
        self._file: FrameSource | None = None
        self._store: FrameStore | None = None

    def close(self) -> None:
        """Close what is open."""
        self._open.close()
        self._file = self._store = None

    def of(self, path: str) -> FrameSource:
        """Source of the frames whose path is ``path``.

        Raises
        ------
        FrameReadError
            If the file cannot be opened.
        InputError
            If the tables of a store cannot be read.
        """
        if self._file is None or self._file.path != path:
            self._file = self._of(path)
        return self._file

    def _of(self, path: str) -> FrameSource:
        if self._store is not None and path.startswith(self._store.root + os.sep):
            return self._store.frames(path)
        self.close()
        if (place := split_path(path)) is None:
            return self._open.enter_context(FrameFile(path))
        from opticam_dask.io.zarr_store.frames import FrameStore  # its codecs take long to import

        self._store = self._open.enter_context(FrameStore(place[0]))
        return self._store.frames(path)
