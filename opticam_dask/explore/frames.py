"""Frames read when they are shown, and a few of them kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import xarray as xr

from opticam_dask.errors import FrameReadError, OpticamError
from opticam_dask.types import Image

MOST_BYTES = 128 * 2**20
"""Pixels kept, in bytes: a dozen frames of 2048 x 2048, so that going back and forth reads nothing."""

Window: TypeAlias = tuple[slice, slice]

_Lazy: TypeAlias = Any  # a dask array


class FrameStore:
    """Frames of lazy cubes, read one at a time; those last shown are kept.

    Parameters
    ----------
    cubes : mapping of str to Dataset
        ``image`` (time, y, x) of each camera.
    most_bytes : int
        Pixels to keep at most; the frame shown last is always kept.

    Attributes
    ----------
    frames_read, parts_read : int
        Whole frames, and parts of frames, that were read from their files so far.
    """

    def __init__(self, cubes: Mapping[str, xr.Dataset], most_bytes: int = MOST_BYTES) -> None:
        self._cubes, self._most_bytes = cubes, most_bytes
        self._kept: OrderedDict[tuple[str, int], Image] = OrderedDict()
        self.frames_read = 0
        self.parts_read = 0

    @property
    def kept_bytes(self) -> int:
        """Bytes of the frames kept."""
        return sum(image.nbytes for image in self._kept.values())

    def whole(self, camera: str, index: int) -> Image:
        """Pixels of one frame, shape (ny, nx); read if it is not among those kept.

        Raises
        ------
        FrameReadError
            If it cannot be read.
        """
        key = (camera, index)
        if key not in self._kept:
            self.frames_read += 1
            self._kept[key] = self._computed(camera, index, self._pixels(camera, index))
        self._kept.move_to_end(key)
        while len(self._kept) > 1 and self.kept_bytes > self._most_bytes:
            self._kept.popitem(last=False)
        return self._kept[key]

    def parts(self, camera: str, wanted: Sequence[tuple[int, Window]]) -> list[Image | FrameReadError]:
        """Windows of frames, or why a frame gives none; of a plain file only their rows are read."""
        missing = [number for number, (index, _) in enumerate(wanted) if (camera, index) not in self._kept]
        lazy = {number: self._pixels(camera, wanted[number][0])[wanted[number][1]] for number in missing}
        self.parts_read += len(missing)
        read = self._together(camera, wanted, lazy)
        return [
            read[number] if number in read else self._kept[camera, index][window]
            for number, (index, window) in enumerate(wanted)
        ]

    def _pixels(self, camera: str, index: int) -> _Lazy:
        """Lazy pixels of one frame: of the graph only its own task is left."""
        return self._cubes[camera]["image"].data[index]

    def _together(
        self, camera: str, wanted: Sequence[tuple[int, Window]], lazy: Mapping[int, _Lazy]
    ) -> dict[int, Image | FrameReadError]:
        """Compute at once, so that a cluster reads side by side; a damaged frame costs only itself."""
        named = {str(n): ((f"y{n}", f"x{n}"), part) for n, part in lazy.items()}
        try:
            done = xr.Dataset(named).compute()
            return {number: done[str(number)].to_numpy() for number in lazy}
        except (OpticamError, OSError):
            return {n: self._or_error(camera, wanted[n][0], part) for n, part in lazy.items()}

    def _or_error(self, camera: str, index: int, part: _Lazy) -> Image | FrameReadError:
        try:
            return self._computed(camera, index, part)
        except FrameReadError as error:
            return error

    def _computed(self, camera: str, index: int, lazy: _Lazy) -> Image:
        try:
            image: Image = lazy.compute()
        except FrameReadError:
            raise
        except Exception as error:  # a cluster's workers and schedulers fail in ways of their own
            why = str(error).strip() or type(error).__name__
            raise FrameReadError(self._path(camera, index), why.splitlines()[0]) from error
        return image

    def _path(self, camera: str, index: int) -> str:
        cube = self._cubes[camera]
        return str(cube["path"].to_numpy()[index]) if "path" in cube.coords else f"{camera}, frame {index}"
