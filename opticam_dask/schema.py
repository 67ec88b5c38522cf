"""Names, units, types and flags of every table: the only place they are spelt."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntFlag
from typing import Literal

import numpy as np
import pyarrow as pa

DIMS = ("time", "y", "x")


class Flag(IntFlag):
    """Quality bits of one measurement (column ``flags``)."""

    EDGE = 1 << 0
    SATURATED = 1 << 1
    NON_FINITE = 1 << 2
    FEW_SKY_PIXELS = 1 << 3
    NOT_MATCHED = 1 << 4
    FORCED = 1 << 5
    NOT_ALIGNED = 1 << 6
    CLOUD = 1 << 7
    BAD_TIME = 1 << 8
    POINTING_BARYCENTRE = 1 << 9
    FIT_FAILED = 1 << 10
    COSMIC_RAY = 1 << 11
    BLENDED = 1 << 12
    NO_BARYCENTRE = 1 << 13
    UNREADABLE = 1 << 14
    QUANTISED_TIME = 1 << 15
    TIME_GAP = 1 << 16
    CROWDED_SKY = 1 << 17
    BLOCK_FAILED = 1 << 18


FLAG_MEANINGS: dict[Flag, str] = {
    Flag.EDGE: "the aperture or profile reaches beyond the frame",
    Flag.SATURATED: "a pixel near the source is at or above the saturation level",
    Flag.NON_FINITE: "a pixel near the source is NaN, infinite or masked",
    Flag.FEW_SKY_PIXELS: "too few sky pixels for a local background",
    Flag.NOT_MATCHED: "the source was not found near its expected place in this frame",
    Flag.FORCED: "measured at the catalogue position, not re-centred",
    Flag.NOT_ALIGNED: "the frame could not be aligned; its transform is taken from its neighbours",
    Flag.CLOUD: "cloud: the frame is far less transparent than the night",
    Flag.BAD_TIME: "the time stamp is missing, doubled, or out of order",
    Flag.POINTING_BARYCENTRE: "BMJD uses the header's pointing, not the target's coordinates",
    Flag.FIT_FAILED: "the measurement, or the local background function, failed",
    Flag.COSMIC_RAY: "a cosmic ray lies in the aperture",
    Flag.BLENDED: "another source lies in the aperture or adds to the flux, or this is more than one star",
    Flag.NO_BARYCENTRE: "no coordinates to barycentre with: BMJD is NaN",
    Flag.UNREADABLE: "the pixels of the frame could not be read",
    Flag.QUANTISED_TIME: "the time stamps of the camera are whole seconds",
    Flag.TIME_GAP: "frames are missing between this one and the one before",
    Flag.CROWDED_SKY: "neighbours take up much of the sky around the source",
    Flag.BLOCK_FAILED: "the frames failed on all tries, or their worker died; run again to try once more",
}

NULL_FLUX_FLAGS = (
    Flag.EDGE
    | Flag.NON_FINITE
    | Flag.FEW_SKY_PIXELS
    | Flag.NOT_MATCHED
    | Flag.NOT_ALIGNED
    | (Flag.FIT_FAILED | Flag.UNREADABLE | Flag.BLOCK_FAILED)
)
"""A NaN flux carries at least one of these."""


CLOUDY = 0.3
"""Transparency, relative to the reference frame, below which a frame is too cloudy to stack."""

CLOUD_MAG = 0.3
"""Extinction [mag], in excess of the clear frames of the night, from which a frame is flagged as cloudy."""


@dataclass(frozen=True)
class Column:
    """One column of a table: arrow type, unit (empty for none) and meaning."""

    name: str
    type: pa.DataType
    unit: str
    meaning: str

    @property
    def field(self) -> pa.Field:
        """Arrow field with the unit and meaning as metadata."""
        return pa.field(self.name, self.type, metadata={"unit": self.unit, "meaning": self.meaning})


def arrow_schema(columns: tuple[Column, ...]) -> pa.Schema:
    """Arrow schema of a table from its columns."""
    return pa.schema([column.field for column in columns])


_f8, _i4, _i8, _s = pa.float64(), pa.int32(), pa.int64(), pa.string()

FRAME_COLUMNS: tuple[Column, ...] = (
    Column("path", _s, "", "absolute path of the file"),
    Column("hdu", _i4, "", "index of the header-data unit in the file"),
    Column("plane", _i4, "", "plane of a 3-D cube; 0 for an image"),
    Column("night", _s, "", "local date of the evening, YYYY-MM-DD"),
    Column("camera", _s, "", "'<arm>:<filter>'"),
    Column("filter", _s, "", "filter"),
    Column("frame", _i8, "", "number within its night and camera, in order of time; -1 if rejected"),
    Column("MJD", _f8, "d", "UTC at mid-exposure"),
    Column("BMJD", _f8, "d", "barycentric TDB at mid-exposure; NaN without coordinates"),
    Column("exposure", _f8, "s", "exposure time"),
    Column("gain", _f8, "electron / adu", "gain"),
    Column("read_noise", _f8, "electron", "read noise; NaN if unknown"),
    Column("dark_current", _f8, "electron / pixel / s", "dark current; NaN if unknown"),
    Column("saturation", _f8, "adu", "saturation level; NaN if unknown"),
    Column("binning", _s, "", "columns x rows, such as 4x4; empty if unknown"),
    Column("shape", _s, "pixel", "rows x columns, such as 512x512"),
    Column("dtype", _s, "", "numpy type of the pixels after scaling"),
    Column("airmass", _f8, "", "airmass at mid-exposure; NaN without coordinates"),
    Column("time_quality", _s, "", "gps, ut, ut-quantised, cadence, duplicate or missing"),
    Column("flags", _i4, "", "quality bits that hold for the whole frame"),
    Column("status", _s, "", "accepted or rejected"),
    Column("reason", _s, "", "why a frame was rejected; empty if accepted"),
    Column("notes", _s, "", "what was assumed, and header traps met, joined by '; '"),
    Column("size", _i8, "byte", "size of the file when scanned"),
    Column("mtime_ns", _i8, "ns", "modification time of the file when scanned"),
    Column("stamp", _s, "", "time stamp of the header, UTC, ISO 8601; empty if missing"),
    Column("time_keyword", _s, "", "header keywords the time stamp came from"),
    Column("ra", _f8, "deg", "right ascension of the header's pointing; NaN if none, or a placeholder"),
    Column("dec", _f8, "deg", "declination of the header's pointing; NaN if none, or a placeholder"),
)

ALIGNMENT_COLUMNS: tuple[Column, ...] = (
    Column("night", _s, "", "local date of the evening"),
    Column("camera", _s, "", "'<arm>:<filter>'"),
    Column("frame", _i8, "", "number of the frame within its night and camera"),
    Column("MJD", _f8, "d", "UTC at mid-exposure"),
    Column("a11", _f8, "", "transform from the catalogue into the frame: x from x"),
    Column("a12", _f8, "", "x from y"),
    Column("a13", _f8, "pixel", "x offset"),
    Column("a21", _f8, "", "y from x"),
    Column("a22", _f8, "", "y from y"),
    Column("a23", _f8, "pixel", "y offset"),
    Column("n_matched", _i4, "", "stars used for the transform"),
    Column("residual", _f8, "pixel", "rms of the stars about the transform"),
    Column("fwhm", _f8, "pixel", "geometric mean FWHM of the stars"),
    Column("background", _f8, "adu / pixel", "median of the sky"),
    Column("background_rms", _f8, "adu / pixel", "scatter of the sky"),
    Column("transparency", _f8, "", "median flux of the stars per second relative to the reference frame"),
    Column("psf_semimajor", _f8, "pixel", "standard deviation of the stars along their major axis"),
    Column("psf_semiminor", _f8, "pixel", "along their minor axis"),
    Column("psf_orientation", _f8, "deg", "position of the major axis, counter-clockwise from +x"),
    Column("shift_x", _f8, "pixel", "shift of the frame's centre against the reference frame along x"),
    Column("shift_y", _f8, "pixel", "along y"),
    Column("rotation", _f8, "deg", "rotation against the reference frame, counter-clockwise"),
    Column("cloud", _f8, "mag", "extinction in excess of the clear frames of the night at this airmass"),
    Column("status", _s, "", "aligned, predicted (from its neighbours), failed or unreadable"),
    Column("reason", _s, "", "why the frame was not aligned"),
)

LIGHT_CURVE_COLUMNS: tuple[Column, ...] = (
    Column("night", _s, "", "local date of the evening"),
    Column("camera", _s, "", "'<arm>:<filter>'"),
    Column("filter", _s, "", "filter"),
    Column("source", _i4, "", "source ID in the camera's catalogue, from 1, brightest first"),
    Column("frame", _i8, "", "number of the frame within its night and camera"),
    Column("BMJD", _f8, "d", "barycentric TDB at mid-exposure; NaN without coordinates"),
    Column("MJD", _f8, "d", "UTC at mid-exposure"),
    Column("flux", _f8, "adu", "total background-subtracted counts; NaN only with a flag that says why"),
    Column("flux_err", _f8, "adu", "1-sigma error of flux"),
    Column("bkg", _f8, "adu / pixel", "local sky level"),
    Column("bkg_err", _f8, "adu / pixel", "scatter of the sky pixels"),
    Column("x", _f8, "pixel", "column of the source in the frame; pixel centres are integers"),
    Column("y", _f8, "pixel", "row of the source in the frame"),
    Column("fwhm", _f8, "pixel", "FWHM of the frame"),
    Column("airmass", _f8, "", "airmass at mid-exposure"),
    Column("exposure", _f8, "s", "exposure time"),
    Column("flags", _i4, "", "quality bits, see opticam_dask.Flag"),
)

RELATIVE_COLUMNS: tuple[Column, ...] = (
    Column("night", _s, "", "local date of the evening"),
    Column("camera", _s, "", "'<arm>:<filter>'"),
    Column("filter", _s, "", "filter"),
    Column("source", _i4, "", "source ID in the camera's catalogue"),
    Column("frame", _i8, "", "number of the frame within its night and camera"),
    Column("BMJD", _f8, "d", "barycentric TDB at mid-exposure; NaN without coordinates"),
    Column("MJD", _f8, "d", "UTC at mid-exposure"),
    Column("rel_flux", _f8, "", "flux over the summed flux of the comparison stars; NaN only with a reason"),
    Column("rel_flux_err", _f8, "", "1-sigma error of rel_flux, that of the comparison stars included"),
    Column("norm_flux", _f8, "", "rel_flux over its median"),
    Column("norm_flux_err", _f8, "", "1-sigma error of norm_flux"),
    Column("transparency", _f8, "", "common mode of the comparison stars over its median in the night"),
    Column("transparency_err", _f8, "", "1-sigma error of transparency: shared by all targets of the frame"),
    Column("n_comparisons", _i4, "", "comparison stars in the frame"),
    Column("airmass", _f8, "", "airmass at mid-exposure"),
    Column("fwhm", _f8, "pixel", "FWHM of the frame"),
    Column("x", _f8, "pixel", "column of the target in the frame"),
    Column("y", _f8, "pixel", "row of the target in the frame"),
    Column("bkg", _f8, "adu / pixel", "local sky level of the target"),
    Column("exposure", _f8, "s", "exposure time"),
    Column("flags", _i4, "", "quality bits of the target, see opticam_dask.Flag"),
    Column("reason", _s, "", "why rel_flux is NaN; empty if it is not"),
)

FRAMES = arrow_schema(FRAME_COLUMNS)
ALIGNMENT = arrow_schema(ALIGNMENT_COLUMNS)
LIGHT_CURVES = arrow_schema(LIGHT_CURVE_COLUMNS)

OBJECT_ID = Column(
    "object_id", _s, "", "the star, the same in all nights and cameras of a survey; empty if not known which"
)
SURVEY_LIGHT_CURVES = arrow_schema((*LIGHT_CURVE_COLUMNS, OBJECT_ID))
"""Light curves as a survey publishes them."""
RELATIVE = arrow_schema(RELATIVE_COLUMNS)


def light_curve_schema(unit: str = "adu") -> pa.Schema:
    """Make the schema of light curves whose counts are in ``unit``, 'adu' or 'electron'."""
    return arrow_schema(
        tuple(replace(column, unit=column.unit.replace("adu", unit)) for column in LIGHT_CURVE_COLUMNS)
    )


LIGHT_CURVE_KEY = ("night", "camera", "source", "frame")

FrameStatus = Literal["accepted", "rejected"]

FRAME_META = np.dtype(
    [
        ("frame", "i8"),
        ("hdu", "i4"),
        ("plane", "i4"),
        ("MJD", "f8"),
        ("BMJD", "f8"),
        ("exposure", "f8"),
        ("gain", "f8"),
        ("read_noise", "f8"),
        ("dark_current", "f8"),
        ("saturation", "f8"),
        ("airmass", "f8"),
        ("flags", "i4"),
    ]
)
"""Per-frame numbers that travel with a block of frames; the columns of the frame index of the same names."""

MEASUREMENT = np.dtype(
    [
        ("flux", "f8"),
        ("flux_err", "f8"),
        ("bkg", "f8"),
        ("bkg_err", "f8"),
        ("x", "f8"),
        ("y", "f8"),
        ("flags", "i4"),
    ]
)
"""One source in one frame, as photometers return it."""
