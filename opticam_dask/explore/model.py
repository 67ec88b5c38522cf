"""What the explorer shows, without a widget."""

from __future__ import annotations

import math
from os import PathLike
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from opticam_dask.catalog.order import spread
from opticam_dask.errors import FrameReadError, InputError
from opticam_dask.explore.camera import CameraFrames, FrameFacts, Sources
from opticam_dask.explore.frames import MOST_BYTES, FrameStore
from opticam_dask.explore.night import Explored, open_night
from opticam_dask.kernels.annulus import R_IN, R_OUT
from opticam_dask.tables.store import light_curve
from opticam_dask.types import XY, Image

if TYPE_CHECKING:
    import pandas as pd

    from opticam_dask.explore.frames import Window

CURVE_COLUMNS = ("night", "frame", "MJD", "BMJD", "flux", "flux_err", "flags")
_MARGIN = 1.15  # of a cutout around the annulus
_LEAST_HALF, _MOST_HALF = 6, 64


class Cutout(NamedTuple):
    """Surroundings of a star in one frame.

    Parameters
    ----------
    facts : FrameFacts
        The frame.
    image : ndarray, shape (2 half + 1, 2 half + 1), float64
        Pixels around the star; NaN beyond the edges of the frame, and everywhere if it cannot be read.
    xy : ndarray, shape (2,)
        The star in pixels of the cutout.
    problem : str
        Why the frame cannot be read; empty if it can.
    """

    facts: FrameFacts
    image: Image
    xy: XY
    problem: str = ""


class ExplorerModel:
    """Frames, sources, light curves and cutouts of a night, read as they are asked for.

    Parameters
    ----------
    source : path, Reducer or DataTree
        See `open_night`.
    out_directory : path, optional
        Output directory with catalogues and light curves, where `source` does not tell.
    annulus : pair of float
        Inner and outer axes of the sky annulus in standard deviations of the PSF.
    label : str, optional
        Photometer whose light curves are shown; default: the first.
    most_bytes : int
        Pixels of frames to keep.

    Raises
    ------
    InputError
        If there is no frame, or an argument is wrong.
    """

    def __init__(
        self,
        source: Explored,
        out_directory: str | PathLike[str] | None = None,
        *,
        annulus: tuple[float, float] = (R_IN, R_OUT),
        label: str | None = None,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        if not 0 < annulus[0] < annulus[1]:
            raise InputError(f"an annulus needs 0 < inner < outer, not {annulus}")
        night = open_night(source, out_directory)
        self.out, self.labels, self.annulus = night.out, night.labels, annulus
        if label is not None and label not in self.labels:
            raise InputError(f"no light curves {label!r}; there are: {', '.join(self.labels) or 'none'}")
        self.label = label or next(iter(self.labels), None)
        self.store = FrameStore(night.cubes, most_bytes)
        self._cameras = {
            camera: CameraFrames(camera, cube, night.catalogs.get(camera), night.quality)
            for camera, cube in night.cubes.items()
        }

    @property
    def cameras(self) -> list[str]:
        """Names of the cameras."""
        return list(self._cameras)

    def frames(self, camera: str) -> CameraFrames:
        """Frames of a camera.

        Raises
        ------
        InputError
            If there is no such camera.
        """
        if camera not in self._cameras:
            raise InputError(f"no camera {camera!r}; there are: {', '.join(self.cameras)}")
        return self._cameras[camera]

    def pixels(self, camera: str, index: int) -> Image:
        """Pixels of a frame, shape (ny, nx); the only call that reads a whole frame.

        Raises
        ------
        FrameReadError
            If it cannot be read.
        """
        return self.store.whole(camera, index)

    def same_moment(self, camera: str, index: int, other: str) -> int:
        """Index of the frame of another camera taken nearest to one of this."""
        return self.frames(other).nearest(self.frames(camera).time(index))

    def star_at(self, camera: str, index: int, x: float, y: float, reach: float) -> int | None:
        """Source nearest to a place in a frame [pixel]; None if none is within reach."""
        sources = self.frames(camera).sources(index)
        if sources is None or not len(sources.xy):
            return None
        distance = np.hypot(*(sources.xy - (x, y)).T)
        nearest = int(np.argmin(distance))
        return int(sources.ids[nearest]) if distance[nearest] <= reach else None

    def curve(self, camera: str, source: int) -> pd.DataFrame:
        """Light curve of a source: columns `CURVE_COLUMNS`, sorted by time; NaN fluxes have a flag.

        Raises
        ------
        InputError
            If there are no light curves, or none of this source.
        """
        if self.out is None or self.label is None:
            raise InputError("no light curves here; explore the output directory of a reduction")
        return light_curve(self.out, camera=camera, source=source, label=self.label, columns=CURVE_COLUMNS)

    def cutouts(self, camera: str, source: int, number: int = 8) -> list[Cutout]:
        """Surroundings of a source in frames evenly spread over time, in order.

        Parameters
        ----------
        camera : str
            Camera.
        source : int
            ID in its catalogue.
        number : int
            Frames at most; of each, only the part around the star is read where its file allows.

        Raises
        ------
        InputError
            If the catalogue has no such source.
        """
        frames = self.frames(camera)
        placed = frames.placed()
        if not placed.size:
            return []
        chosen = [(int(i), frames.sources(int(i))) for i in spread(placed, number)]
        if source not in frames.ids:
            raise InputError(f"{camera}: no source {source}; the catalogue has {len(frames.ids)}")
        places = [(i, found.xy[found.ids == source][0]) for i, found in chosen if found is not None]
        half = self.half_of_cutout(chosen[0][1])
        windows = [(i, _window(xy, half, frames.shape[1:])) for i, xy in places]
        parts = self.store.parts(camera, windows)
        return [
            _cutout(frames.facts(i), xy, half, window, part)
            for (i, xy), (_, window), part in zip(places, windows, parts, strict=True)
        ]

    def half_of_cutout(self, sources: Sources | None) -> int:
        """Half the width of a cutout: the annulus and a margin [pixel]."""
        reach = 0.0 if sources is None else self.annulus[1] * sources.psf.semimajor_sigma * _MARGIN
        return min(max(_LEAST_HALF, math.ceil(reach)), _MOST_HALF)


def _window(xy: NDArray[np.float64], half: int, shape: tuple[int, ...]) -> Window:
    """Rows and columns of a frame around a place; nothing of a frame that does not hold it."""
    x, y = (round(float(value)) for value in xy)
    rows = slice(min(max(y - half, 0), shape[0]), min(max(y + half + 1, 0), shape[0]))
    return rows, slice(min(max(x - half, 0), shape[1]), min(max(x + half + 1, 0), shape[1]))


def _cutout(
    facts: FrameFacts, xy: NDArray[np.float64], half: int, window: Window, part: Image | FrameReadError
) -> Cutout:
    corner = np.rint(xy).astype(int) - half
    image = np.full((2 * half + 1, 2 * half + 1), np.nan)
    problem = str(part) if isinstance(part, FrameReadError) else ""
    if not isinstance(part, FrameReadError) and part.size:
        rows, columns = (slice(w.start - c, w.stop - c) for w, c in zip(window, corner[::-1], strict=True))
        image[rows, columns] = part
    return Cutout(facts, image, xy - corner, problem)
