"""Times of each source of a block: light travels less far to one edge of the field, and rows differ."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opticam_dask.instrument import Instrument, RollingShutter
from opticam_dask.io.barycentre import unit_vectors
from opticam_dask.io.observer import DAY_S, Site, observer_at, site_of, terrestrial_time
from opticam_dask.schema import Flag

Floats = NDArray[np.float64]

_OF_POINTING = int(Flag.POINTING_BARYCENTRE | Flag.NO_BARYCENTRE)
_STEP_S = 1.0


@dataclass(frozen=True, eq=False)
class SourceClock:
    """Clock of the sources of one camera; small, and the same on every worker.

    Parameters
    ----------
    ra, dec : ndarray, shape (n_sources,)
        ICRS coordinates [degrees]; NaN for sources that have none.
    site : Site
        Where the observer is.
    shutter : RollingShutter, optional
        Delays of the rows of the files; None if all rows are exposed at once.
    to_file_row : (float, float)
        Factor and offset from rows of the frames measured to those of the files, where frames are cropped
        or binned on reading.

    Notes
    -----
    Barycentric times differ by up to 0.7 s over a field of 5 arcminutes, and by 10 ms over 4 arcseconds. So
    coordinates matter beyond a millisecond even if they are only those of a rough WCS.
    """

    ra: Floats
    dec: Floats
    site: Site = None
    shutter: RollingShutter | None = None
    to_file_row: tuple[float, float] = (1.0, 0.0)

    @classmethod
    def of_camera(
        cls,
        instrument: Instrument,
        camera: str,
        rows: int,
        binning: str,
        ra: Floats,
        dec: Floats,
        *,
        to_file_row: tuple[float, float] = (1.0, 0.0),
    ) -> SourceClock:
        """Clock of a camera whose files have ``rows`` rows and are binned 'columns x rows'."""
        spec = instrument.camera(camera)
        shutter = None if spec is None else spec.rolling_shutter(rows, binning)
        return cls(np.asarray(ra, float), np.asarray(dec, float), site_of(instrument), shutter, to_file_row)

    def digest(self) -> str:
        """Short text that changes with whatever the times depend on, but for the frames' own."""
        content = np.ascontiguousarray([self.ra, self.dec]).tobytes()
        content += repr((self.site, self.shutter, self.to_file_row)).encode()
        known = int(self.located.sum())
        return f"{known} sources with coordinates, {hashlib.sha256(content).hexdigest()[:16]}"

    @property
    def located(self) -> NDArray[np.bool_]:
        """Which sources have coordinates of their own, shape (n_sources,)."""
        return np.isfinite(self.ra) & np.isfinite(self.dec)

    def times(self, meta: NDArray[Any], y: Floats) -> tuple[Floats, Floats]:
        """Mid-exposure times of the sources.

        Parameters
        ----------
        meta : ndarray of `schema.FRAME_META`, shape (n_frames,)
            Numbers of the frames; MJD and BMJD are used.
        y : ndarray, shape (n_frames, n_sources)
            Rows of the sources in the frames [pixel]; NaN takes the row read first.

        Returns
        -------
        mjd : ndarray, shape (n_frames, n_sources)
            MJD [d], UTC.
        bmjd : ndarray, shape (n_frames, n_sources)
            Barycentric MJD [d], TDB. Without coordinates of its own a source has the frame's, plus the delay
            of its row as an observer at rest would see it (within 3 microseconds at 25 ms).
        """
        shape = (len(meta), len(self.ra))
        row = self.to_file_row[0] * np.broadcast_to(y, shape) + self.to_file_row[1]
        delay = np.zeros(shape) if self.shutter is None else self.shutter.delay_s(row)
        mjd = meta["MJD"][:, None] + delay / DAY_S
        bmjd = meta["BMJD"][:, None] + delay / DAY_S
        own = np.flatnonzero(self.located)
        timed = np.flatnonzero(np.isfinite(meta["MJD"]))
        if len(own) and len(timed):
            bmjd[np.ix_(timed, own)] = self._barycentric(
                meta["MJD"][timed], delay[np.ix_(timed, own)], unit_vectors(self.ra[own], self.dec[own])
            )
        return mjd, bmjd

    def flags(self, flags: NDArray[np.int32]) -> NDArray[np.int32]:
        """Spread flags of frames over their sources, shape (n_frames, n_sources).

        Those about the coordinates behind BMJD do not hold for sources that have their own.
        """
        unwanted = np.where(self.located, _OF_POINTING, 0).astype(np.int32)
        return np.asarray(flags[:, None] & ~unwanted, dtype=np.int32)

    def _barycentric(self, mjd: Floats, delay: Floats, directions: Floats) -> Floats:
        tt = terrestrial_time(mjd)
        place, offset = observer_at(tt, self.site)
        seconds = offset[:, None] + delay + _projected(place, directions)
        if self.shutter is not None:  # the observer moves on while the rows are read
            later, later_offset = observer_at((tt[0], tt[1] + _STEP_S / DAY_S), self.site)
            speed = _projected((later - place) / _STEP_S, directions)
            seconds = seconds + delay * (speed + ((later_offset - offset) / _STEP_S)[:, None])
        return np.asarray(tt[0][:, None] + (tt[1][:, None] + seconds / DAY_S), dtype=float)


def _projected(vectors: Floats, directions: Floats) -> Floats:
    """Dot products, shape (n, m), summed in the same order however many there are."""
    x, y, z = (vectors[:, k, None] * directions[:, k] for k in range(3))
    return x + y + z
