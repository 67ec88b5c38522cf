"""One camera of an instrument."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from opticam_dask.errors import InstrumentError
from opticam_dask.instrument.rolling_shutter import Readout, RollingShutter
from opticam_dask.instrument.rules import check_camera, texts


@dataclass(frozen=True, kw_only=True)
class CameraSpec:
    """One camera (arm) of an instrument.

    Parameters
    ----------
    name : str
        Name of the arm, such as '1'; the camera of a frame is ``'<name>:<filter>'``.
    filters : tuple of str
        Filters this camera can have; empty for any.
    serials : tuple of str
        Serial numbers of the detector as headers spell them.
    pixel_scale : float, optional
        Scale [arcsec per unbinned pixel].
    gain, read_noise, saturation, dark_current : float, optional
        Gain [electron / adu], read noise [electron per unbinned pixel], saturation level [adu per pixel of
        the frame] and dark current [electron / s per unbinned pixel]. What is given here replaces the
        header's.
    digital_binning : bool
        Whether pixels are binned after the read-out, as sCMOS detectors do: the read noise of a binned pixel
        is then that of its pixels added in quadrature. CCDs bin on the chip and read once.
    row_delay_s : float, optional
        Of a rolling shutter: time from the exposure of one unbinned detector row to that of the next [s].
        None takes every row at the frame's time. The Andor Zyla 4.2 of OPTICAM needs about 24 microseconds at
        216 MHz and 9.8 at 540 MHz (25 or 10 ms from the centre to the edge of the detector); its headers do
        not tell which, hence it is off there.
    readout : {'centre-out', 'bottom-up', 'top-down'}
        Order of the rows: both halves at once from the centre row outwards (Andor Zyla), from row 0 of the
        frame on, or from its last row. The time of a frame is that of the row read first.
    centre_row : float, optional
        Of 'centre-out': where the halves meet, in unbinned rows from the lower edge of the frame; it may lie
        outside. The middle of the frame unless given, as regions of interest are centred by default.

    Raises
    ------
    InstrumentError
        If a value is of the wrong type or out of range.
    """

    name: str
    filters: tuple[str, ...] = ()
    serials: tuple[str, ...] = ()
    pixel_scale: float | None = None
    gain: float | None = None
    read_noise: float | None = None
    saturation: float | None = None
    dark_current: float | None = None
    digital_binning: bool = False
    row_delay_s: float | None = None
    readout: Readout = "centre-out"
    centre_row: float | None = None

    def __post_init__(self) -> None:
        for name in ("filters", "serials"):
            object.__setattr__(self, name, texts(name, getattr(self, name)))
        check_camera(self)

    def rolling_shutter(self, rows: int, binning: str) -> RollingShutter | None:
        """Delays of the rows of a frame of ``rows`` rows, binned 'columns x rows'; None if all rows are one.

        An empty ``binning`` counts as 1x1.
        """
        if not self.row_delay_s:
            return None
        return RollingShutter(
            row_delay_s=self.row_delay_s,
            readout=self.readout,
            rows=rows,
            binning_rows=int(binning.partition("x")[2] or 1),
            centre_row=self.centre_row,
        )


def as_camera(item: CameraSpec | Mapping[str, Any]) -> CameraSpec:
    """Make a camera of a table of plain values; a CameraSpec is taken as it is."""
    if isinstance(item, CameraSpec):
        return item
    if not isinstance(item, Mapping):
        raise InstrumentError(f"cameras must be CameraSpec or tables, not {item!r}")
    known = [spec.name for spec in dataclasses.fields(CameraSpec)]
    if unknown := set(item) - set(known):
        raise InstrumentError(
            f"cameras: unknown key {', '.join(sorted(unknown))}; known are {', '.join(known)}"
        )
    if "name" not in item:
        raise InstrumentError("cameras: a camera has no name")
    return CameraSpec(**item)
