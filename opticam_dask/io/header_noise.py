"""Gain, read noise, dark current and saturation of a frame."""

from __future__ import annotations

import math

from opticam_dask.errors import HeaderError
from opticam_dask.instrument.camera_spec import CameraSpec
from opticam_dask.io.header_view import FIXED, HeaderView

_UNITS = {
    "gain": "electron/adu",
    "read_noise": "electron",
    "dark_current": "electron/pixel/s",
    "saturation": "adu",
}
_LEAST_ABOVE = {"gain": 0.0, "saturation": 0.0}
DETECTOR_ROLES = tuple(_UNITS)


def detector_number(
    view: HeaderView, role: str, camera: CameraSpec, pixels_per_bin: int
) -> tuple[float, str]:
    """Find a number that describes the detector, for one pixel of the frame.

    Parameters
    ----------
    view : HeaderView
        Header of the frame.
    role : str
        One of `DETECTOR_ROLES`.
    camera : CameraSpec
        The frame's camera; its own value replaces the header's.
    pixels_per_bin : int
        Detector pixels in one pixel of the frame. Dark current adds up over them; read noise adds in
        quadrature where the binning is digital. Values of headers are taken as they stand.

    Returns
    -------
    value : float
        NaN if unknown; the gain is then 1.
    note : str
        What was assumed or replaced; empty if the header's value was taken silently.
    """
    own = getattr(camera, role)
    if own is not None:
        value = own * _binned(role, camera, pixels_per_bin)
        return value, _own_note(view, role, value)
    try:
        found = view.number(role)
        if found is not None and float(found.value) < 0:
            raise HeaderError(f"{found} is negative")
    except HeaderError as error:
        return _default(role, f"{error}")
    if found is None or float(found.value) <= _LEAST_ABOVE.get(role, -1.0):
        return _default(role, f"no {role.replace('_', ' ')} in the header")
    return float(found.value), _taken_note(view, role, found.keyword, float(found.value))


def _binned(role: str, camera: CameraSpec, pixels: int) -> float:
    if role == "dark_current":
        return float(pixels)
    return math.sqrt(pixels) if role == "read_noise" and camera.digital_binning else 1.0


def _own_note(view: HeaderView, role: str, value: float) -> str:
    found = view.in_header(role)
    name = role.replace("_", " ")
    instead = f"instead of {found}" if found is not None else f"no {name} in the header"
    return f"{name} {value:.4g} {_UNITS[role]} from the instrument, {instead}"


def _taken_note(view: HeaderView, role: str, keyword: str, value: float) -> str:
    name = role.replace("_", " ")
    if keyword == FIXED:
        known = " or ".join(view.instrument.keywords_of(role)) or f"{name} keyword"
        return f"no {known}: {name} {value:g} {_UNITS[role]} assumed"
    if role == "saturation":
        return f"saturation {keyword} {value:g} adu, as the header has it"
    return ""


def _default(role: str, why: str) -> tuple[float, str]:
    if role == "gain":
        return 1.0, f"{why}: gain 1 electron/adu assumed"
    if role == "read_noise":
        return math.nan, f"{why}: unknown"
    return math.nan, "" if why.startswith("no ") else why
