"""Instruments that need no file."""

from __future__ import annotations

from pathlib import Path

from opticam_dask.errors import InstrumentError
from opticam_dask.instrument.camera_spec import CameraSpec
from opticam_dask.instrument.model import Instrument

OPTICAM_MX = Instrument(
    name="OPTICAM-MX",
    longitude_deg=-115.463611,
    latitude_deg=31.044167,
    height_m=2790.0,
    diameter_m=2.1,
    cameras=(
        CameraSpec(
            name="1",
            filters=("u", "g"),
            serials=("VSC-05535",),
            pixel_scale=0.1397,
            read_noise=1.1,
            digital_binning=True,
        ),
        CameraSpec(
            name="2",
            filters=("r",),
            serials=("VSC-05530",),
            pixel_scale=0.1406,
            read_noise=1.1,
            digital_binning=True,
        ),
        CameraSpec(
            name="3",
            filters=("i", "z"),
            serials=("VSC-05522",),
            pixel_scale=0.1661,
            read_noise=1.1,
            digital_binning=True,
        ),
    ),
    keywords={
        "exposure": ("EXPOSURE",),
        "gps": ("GPSTIME",),
        "time": ("UT",),
        "date": ("DATE-OBS",),
        "filter": ("FILTER",),
        "gain": ("GAIN",),
        "read_noise": ("RDNOISE",),
        "dark_current": ("DARKCURR",),
        "saturation": ("SATLEVEL",),
        "binning": ("BINNING",),
        "binning_x": ("CCDXBIN",),
        "binning_y": ("CCDYBIN",),
        "ra": ("RA",),
        "dec": ("DEC",),
        "serial": ("SERIALN",),
        "camera": ("INSTRUME",),
        "image_type": ("IMGTYPE",),
    },
    ra_unit="hourangle",
    placeholders={
        "RA": ("0",),
        "DEC": ("31",),
        "JD": (0.0,),
        "TSTART": (0.0,),
        "TSTOP": (0.0,),
        "UTMIDDLE": ("00:00:00.0000",),
        "ST": ("00:00:00.0000",),
        "CAM_TIME": ("0.000000",),
        "INITTIME": ("",),
        "CCDMODE": ("000 MHz",),
        "TAIR": (99.9,),
        "HUMIDITY": (99.9,),
    },
)
"""OPTICAM on the 2.1 m telescope at OAN-SPM, Mexico; every value can be changed by calling it."""

GENERIC = Instrument(name="generic", fixed={"filter": "clear", "gain": 1.0})
"""Any camera: common keywords, one arm; without FILTER the filter is 'clear', without GAIN the gain is 1."""

BUILT_IN: dict[str, Instrument] = {"OPTICAM_MX": OPTICAM_MX, "GENERIC": GENERIC}


def get_instrument(name: str | Path) -> Instrument:
    """Instrument by the name of a built-in one, or from a TOML or JSON file.

    Raises
    ------
    InstrumentError
        If there is neither.
    """
    built_in = BUILT_IN.get(str(name).upper().replace("-", "_"))
    if built_in is not None:
        return built_in
    if not Path(name).is_file():
        raise InstrumentError(f"{name}: neither a file nor a built-in instrument ({', '.join(BUILT_IN)})")
    return Instrument.from_file(name)
