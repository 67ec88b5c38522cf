"""What an instrument may say: roles, their common keywords, and the checks of its values."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from opticam_dask.errors import InstrumentError
from opticam_dask.instrument.names import safe_name
from opticam_dask.instrument.rolling_shutter import Readout

if TYPE_CHECKING:
    from opticam_dask.instrument.camera_spec import CameraSpec
    from opticam_dask.instrument.model import Instrument

COMMON_KEYWORDS: dict[str, tuple[str, ...]] = {
    "exposure": ("EXPTIME", "EXPOSURE", "EXP_TIME"),
    "cadence": ("CADENCE", "KCT"),
    "gps": ("GPSTIME",),
    "time": ("DATE-OBS", "DATE-BEG", "UT", "UTC", "TIME-OBS"),
    "date": ("DATE-OBS", "DATE-BEG"),
    "mjd": ("MJD-OBS", "MJD-BEG"),
    "filter": ("FILTER", "FILTNAM", "FILTER1"),
    "gain": ("EGAIN", "GAIN"),
    "read_noise": ("RDNOISE", "READNOIS", "RON"),
    "dark_current": ("DARKCURR",),
    "saturation": ("SATURATE", "SATLEVEL", "DATAMAX"),
    "binning": ("BINNING", "CCDSUM"),
    "binning_x": ("XBINNING", "CCDXBIN"),
    "binning_y": ("YBINNING", "CCDYBIN"),
    "ra": ("OBJCTRA", "RA"),
    "dec": ("OBJCTDEC", "DEC"),
    "airmass": ("AIRMASS",),
    "serial": ("SERIALN", "SERIAL", "CAMSERNO"),
    "camera": ("CAMERA", "INSTRUME", "DETECTOR"),
    "image_type": ("IMGTYPE", "IMAGETYP", "OBSTYPE", "FRAME"),
}
"""Roles of header keywords, and the keywords tried where an instrument names none."""

ROLES = tuple(COMMON_KEYWORDS)

_NUMBERS = frozenset(
    {"exposure", "cadence", "gain", "read_noise", "dark_current", "saturation", "airmass", "mjd"}
)


def tidy_mapping(name: str, values: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    """Copy of a mapping whose single values become tuples of one."""
    scalar = (str, int, float)
    return {key: (value,) if isinstance(value, scalar) else tuple(value) for key, value in values.items()}


def texts(name: str, values: Iterable[Any] | str) -> tuple[str, ...]:
    """Tuple of non-empty texts; a single text becomes a tuple of one."""
    single = isinstance(values, str) or not isinstance(values, Iterable)
    found = (values,) if single else tuple(values)
    if not all(isinstance(text, str) and text for text in found):
        raise InstrumentError(f"{name} of a camera must be non-empty texts, not {values!r}")
    return found


def check_table(name: str, values: Any) -> None:
    """Refuse anything but a table of keys and values."""
    if not isinstance(values, Mapping):
        raise InstrumentError(f"{name} must be a table of keys and values, not {values!r}")


def check_camera(camera: CameraSpec) -> None:
    """Refuse a camera whose values make no sense."""
    if not isinstance(camera.name, str) or safe_name(camera.name) != camera.name:
        raise InstrumentError(f"camera name {camera.name!r} must be made of letters, digits and _ ' + . -")
    for item in ("pixel_scale", "gain", "saturation"):
        _check_number(f"{item} of camera {camera.name}", getattr(camera, item), above=0.0)
    for item in ("read_noise", "dark_current"):
        _check_number(f"{item} of camera {camera.name}", getattr(camera, item), least=0.0)
    _check_rolling_shutter(camera)


def _check_rolling_shutter(camera: CameraSpec) -> None:
    _check_number(f"row_delay_s of camera {camera.name}", camera.row_delay_s, least=0.0, most=1.0)
    _check_number(f"centre_row of camera {camera.name}", camera.centre_row)
    if camera.readout not in get_args(Readout):
        options = ", ".join(map(repr, get_args(Readout)))
        raise InstrumentError(f"readout of camera {camera.name} must be {options}, not {camera.readout!r}")


def check_instrument(instrument: Instrument) -> None:
    """Refuse an instrument whose values are unknown, out of range or contradict each other."""
    if not isinstance(instrument.name, str) or not instrument.name.strip():
        raise InstrumentError(f"name must be a text, not {instrument.name!r}")
    _check_site(instrument)
    _check_roles(instrument)
    _check_cameras(instrument)
    if instrument.trust_airmass and not instrument.keywords_of("airmass"):
        raise InstrumentError("trust_airmass needs keywords for the role airmass")


def _check_site(instrument: Instrument) -> None:
    if (instrument.longitude_deg is None) != (instrument.latitude_deg is None):
        raise InstrumentError("longitude_deg and latitude_deg must be given together, or neither")
    _check_number("longitude_deg", instrument.longitude_deg, least=-360.0, most=360.0)
    _check_number("latitude_deg", instrument.latitude_deg, least=-90.0, most=90.0)
    _check_number("height_m", instrument.height_m, least=-500.0, most=1e5)
    _check_number("diameter_m", instrument.diameter_m, above=0.0)


def _check_roles(instrument: Instrument) -> None:
    for name in ("keywords", "fixed"):
        for role in getattr(instrument, name):
            if role not in COMMON_KEYWORDS:
                raise InstrumentError(f"{name}: unknown role {role!r}; roles are {', '.join(ROLES)}")
    for role, keywords in instrument.keywords.items():
        if not all(isinstance(keyword, str) and keyword.strip() for keyword in keywords):
            raise InstrumentError(f"keywords: {role} must list header keywords, not {keywords!r}")
    for role, value in instrument.fixed.items():
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise InstrumentError(f"fixed: {role} must be a text or a number, not {value!r}")
        if role in _NUMBERS:
            _check_number(f"fixed: {role}", value, least=0.0)


def _check_cameras(instrument: Instrument) -> None:
    names = [camera.name for camera in instrument.cameras]
    if not names or len(set(names)) < len(names):
        raise InstrumentError(f"cameras must be at least one, each of its own name, not {names}")
    for item in ("filters", "serials"):
        listed = [value for camera in instrument.cameras for value in getattr(camera, item)]
        doubled = sorted({value for value in listed if listed.count(value) > 1})
        if doubled and (item == "serials" or instrument.camera_from == "filter"):
            raise InstrumentError(f"cameras: {item} {', '.join(doubled)} belong to more than one camera")
    if instrument.camera_from == "filter" and len(names) > 1 and not _all_have(instrument, "filters"):
        raise InstrumentError("camera_from = 'filter' needs filters for every camera")
    if instrument.camera_from == "serial" and not _all_have(instrument, "serials"):
        raise InstrumentError("camera_from = 'serial' needs serials for every camera")
    if instrument.camera_from == "keyword" and not instrument.keywords_of("camera"):
        raise InstrumentError("camera_from = 'keyword' needs keywords for the role camera")


def _all_have(instrument: Instrument, item: str) -> bool:
    return all(getattr(camera, item) for camera in instrument.cameras)


def _check_number(
    name: str,
    value: Any,
    *,
    least: float = -math.inf,
    above: float = -math.inf,
    most: float = math.inf,
) -> None:
    if value is None:
        return
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or not (least <= value <= most and value > above):
        low = f"above {above:g}" if math.isfinite(above) else f"at least {least:g}"
        high = f" and at most {most:g}" if math.isfinite(most) else ""
        raise InstrumentError(f"{name} must be a number {low}{high}, not {value!r}")


def read_mapping(path: Path) -> dict[str, Any]:
    """Table of a TOML or JSON file.

    Raises
    ------
    InstrumentError
        If the file cannot be read or holds no table.
    """
    readers = {".toml": tomllib.loads, ".json": json.loads}
    if path.suffix.lower() not in readers:
        raise InstrumentError("an instrument file ends in .toml or .json")
    try:
        values = readers[path.suffix.lower()](path.read_text("utf-8"))
    except OSError as error:
        raise InstrumentError(f"cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InstrumentError(f"not valid {path.suffix[1:].upper()}: {error}") from error
    if not isinstance(values, dict):
        raise InstrumentError("must hold a table of keys and values")
    return values
