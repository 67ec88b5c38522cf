"""Frames of one camera: when they were taken, how good they are, and where their sources lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from opticam_dask.catalog.alignment import AFFINE_COLUMNS
from opticam_dask.catalog.frame_psf import frame_psfs
from opticam_dask.kernels.transform import apply
from opticam_dask.schema import CLOUD_MAG, Flag
from opticam_dask.types import XY, PsfModel

if TYPE_CHECKING:
    from opticam_dask.catalog.model import CameraCatalog


class Sources(NamedTuple):
    """Sources in one frame: IDs, places, shape (n, 2) [pixel], and the PSF there."""

    ids: NDArray[np.int64]
    xy: XY
    psf: PsfModel


@dataclass(frozen=True)
class FrameFacts:
    """What is known of one frame.

    Parameters
    ----------
    camera : str
        ``'<arm>:<filter>'``.
    index : int
        Place in the camera's cube, from 0.
    night : str
        Local date of the evening; empty if unknown.
    frame : int
        Number within its night and camera.
    utc : str
        UTC at mid-exposure, ISO 8601 to the millisecond.
    bmjd, exposure_s, airmass, fwhm_px, cloud_mag : float
        Barycentric TDB at mid-exposure [d], exposure time [s], airmass, FWHM [pixel] and extinction by cloud
        [mag]; NaN where unknown.
    status, reason : str
        As in ``alignment.parquet``, and why; ``not catalogued`` where there is no alignment.
    flags : Flag
        Quality bits that hold for the whole frame.
    """

    camera: str
    index: int
    night: str
    frame: int
    utc: str
    bmjd: float
    exposure_s: float
    airmass: float
    fwhm_px: float
    cloud_mag: float
    status: str
    reason: str
    flags: Flag

    @property
    def cloudy(self) -> bool:
        """Whether cloud dims the stars of this frame."""
        return self.cloud_mag >= CLOUD_MAG or Flag.CLOUD in self.flags


class CameraFrames:
    """Frames of one camera in order of night and time; holds tables, never pixels.

    Parameters
    ----------
    camera : str
        ``'<arm>:<filter>'``.
    cube : Dataset
        ``image`` (time, y, x) with coordinate ``time``; of a night opened by this package also the others.
    catalog : CameraCatalog, optional
        Sources and transforms.
    quality : DataFrame, optional
        Rows of `tables.quality.frame_quality` of all cameras.
    """

    def __init__(
        self,
        camera: str,
        cube: xr.Dataset,
        catalog: CameraCatalog | None = None,
        quality: pd.DataFrame | None = None,
    ) -> None:
        self.camera, self.catalog = camera, catalog
        self.shape = cube["image"].shape
        self.unit = str(cube["image"].attrs.get("units", "adu"))
        self._time = cube["time"].to_numpy().astype("datetime64[ns]")
        self._columns = {name: _column(cube, name) for name in ("BMJD", "exposure", "airmass")}
        self._night = _column(cube, "night", "")
        self._frame = _column(cube, "frame", -1)
        self._flags = _column(cube, "flags", 0)
        self._quality = None if quality is None else quality[quality["camera"] == camera]
        self._row_of_quality = self._rows(self._quality)
        self._row = self._rows(None if catalog is None else catalog.alignment)
        self._psfs = None if catalog is None else frame_psfs(catalog.alignment, catalog.psf)

    @property
    def ids(self) -> NDArray[np.int64]:
        """IDs of the catalogued sources, brightest first; none without a catalogue."""
        return np.asarray([] if self.catalog is None else self.catalog.table["source"], np.int64)

    def __len__(self) -> int:
        return self.shape[0]

    def nearest(self, time: np.datetime64) -> int:
        """Index of the frame taken nearest to a time (UTC)."""
        return int(np.argmin(np.abs(self._time - time)))

    def time(self, index: int) -> np.datetime64:
        """UTC at mid-exposure of a frame."""
        moment: np.datetime64 = self._time[index]
        return moment

    def index_of(self, night: str, frame: int) -> int | None:
        """Index of a frame by its night and number; None if it is not here."""
        found = np.flatnonzero((self._frame == frame) & (self._night == night))
        return int(found[0]) if found.size else None

    def facts(self, index: int) -> FrameFacts:
        """Tell what is known of a frame."""
        known = self._known(index)
        flags = int(self._flags[index]) | int(known.get("flags", 0))
        numbers = {name: float(values[index]) for name, values in self._columns.items()}
        return FrameFacts(
            camera=self.camera,
            index=index,
            night=str(self._night[index]),
            frame=int(self._frame[index]),
            utc=str(np.datetime_as_string(self._time[index], unit="ms")),
            bmjd=numbers["BMJD"],
            exposure_s=numbers["exposure"],
            airmass=numbers["airmass"],
            fwhm_px=float(known.get("fwhm", np.nan)),
            cloud_mag=float(known.get("cloud", np.nan)),
            status=str(known.get("status", "not catalogued")),
            reason=str(known.get("reason", "")),
            flags=Flag(flags),
        )

    def sources(self, index: int) -> Sources | None:
        """Carry the sources into a frame by its transform; None without a catalogue or a transform."""
        row = int(self._row[index])
        if self.catalog is None or self._psfs is None or row < 0:
            return None
        affine = self.catalog.alignment[list(AFFINE_COLUMNS)].iloc[row].to_numpy(np.float64).reshape(2, 3)
        if not np.isfinite(affine).all():
            return None
        return Sources(self.ids, apply(affine, self.catalog.xy), PsfModel(*self._psfs[row].tolist()))

    def placed(self) -> NDArray[np.int64]:
        """Find the indices of the frames that have a transform."""
        if self.catalog is None:
            return np.empty(0, np.int64)
        finite = np.isfinite(self.catalog.alignment[list(AFFINE_COLUMNS)].to_numpy(np.float64)).all(axis=1)
        return np.flatnonzero((self._row >= 0) & finite[self._row])

    def _known(self, index: int) -> dict[str, Any]:
        row = int(self._row_of_quality[index])
        if self._quality is None or row < 0:
            return {}
        return dict(self._quality.iloc[row])

    def _rows(self, table: pd.DataFrame | None) -> NDArray[np.int64]:
        """Row of each frame in a table with columns ``night`` and ``frame``; -1 where it has none."""
        if table is None or table.empty:
            return np.full(len(self), -1, np.int64)
        keys = pd.MultiIndex.from_arrays([table["night"].astype(str), table["frame"].astype(np.int64)])
        mine = pd.MultiIndex.from_arrays([self._night.astype(str), self._frame.astype(np.int64)])
        return np.asarray(keys.get_indexer(mine), np.int64)


def _column(cube: xr.Dataset, name: str, default: Any = np.nan) -> NDArray[Any]:
    """Coordinate along time, or the same value everywhere."""
    if name in cube.coords:
        return np.asarray(cube[name].to_numpy())
    return np.full(cube.sizes["time"], default)
