"""Which camera and filter a frame belongs to."""

from __future__ import annotations

from opticam_dask.errors import HeaderError
from opticam_dask.instrument import Instrument
from opticam_dask.instrument.camera_spec import CameraSpec
from opticam_dask.instrument.names import safe_name
from opticam_dask.io.header_view import FIXED, Found, HeaderView


def camera_and_filter(view: HeaderView) -> tuple[CameraSpec, str, tuple[str, ...]]:
    """Camera and filter of a frame.

    Parameters
    ----------
    view : HeaderView
        Header of the frame.

    Returns
    -------
    camera : CameraSpec
        The arm; one made up of the name alone if the camera keyword names one that is not listed.
    filter : str
        Safe name of the filter, as the camera spells it (``g'`` is ``g`` for a camera that has ``g``).
    notes : tuple of str
        What was assumed.

    Raises
    ------
    HeaderError
        If filter or camera are missing, unknown, or not usable as names.
    """
    found = view.find("filter")
    if found is None:
        raise HeaderError(view.missing("filter"))
    name = _name(found, "filter")
    notes = (_assumed(view, name),) if found.keyword == FIXED else ()
    way = {"filter": _by_filter, "serial": _by_serial, "keyword": _by_keyword}[view.instrument.camera_from]
    camera, more = way(view, name)
    return camera, _spelling(camera, name), notes + more


def serial_camera(view: HeaderView) -> CameraSpec | None:
    """Camera whose detector has the header's serial number."""
    found = view.find("serial")
    known = view.instrument.cameras
    return None if found is None else next((c for c in known if str(found.value) in c.serials), None)


def _assumed(view: HeaderView, name: str) -> str:
    keywords = " or ".join(view.instrument.keywords_of("filter")) or "filter keyword"
    return f"no {keywords}: filter {name!r} assumed"


def _name(found: Found, what: str) -> str:
    name = safe_name(str(found.value))
    if not name:
        text = f"{found.keyword} {str(found.value)[:40]!r}"
        raise HeaderError(f"{text} cannot name a {what}: use letters, digits and _ ' + . -")
    return name


def _spelling(camera: CameraSpec, name: str) -> str:
    return name if name in camera.filters or not name.endswith("'") else _bare(camera, name)


def _bare(camera: CameraSpec, name: str) -> str:
    return name.rstrip("'") if name.rstrip("'") in camera.filters else name


def _has(camera: CameraSpec, name: str) -> bool:
    return not camera.filters or _spelling(camera, name) in camera.filters


def _by_filter(view: HeaderView, name: str) -> tuple[CameraSpec, tuple[str, ...]]:
    camera = next((camera for camera in view.instrument.cameras if _has(camera, name)), None)
    by_serial = serial_camera(view)
    if camera is not None:
        return camera, _contradiction(view, camera, by_serial, name)
    if by_serial is not None:
        return by_serial, (f"filter {name!r} is not listed: camera {by_serial.name} from the serial number",)
    raise HeaderError(_unknown_filter(view.instrument, name))


def _contradiction(
    view: HeaderView, camera: CameraSpec, by_serial: CameraSpec | None, name: str
) -> tuple[str, ...]:
    if by_serial is None or by_serial.name == camera.name:
        return ()
    serial = view.find("serial")
    return (
        f"{serial} belongs to camera {by_serial.name}, filter {name!r} to {camera.name}: filter believed",
    )


def _unknown_filter(instrument: Instrument, name: str) -> str:
    known = ", ".join(item for camera in instrument.cameras for item in camera.filters)
    return (
        f"filter {name!r} belongs to no camera of {instrument.name} (they have {known}); "
        "add it to the filters of a CameraSpec, or use camera_from='serial' or 'keyword'"
    )


def _by_serial(view: HeaderView, name: str) -> tuple[CameraSpec, tuple[str, ...]]:
    found = view.find("serial")
    if found is None:
        raise HeaderError(view.missing("serial"))
    camera = serial_camera(view)
    if camera is None:
        raise HeaderError(f"{found} is the serial number of no camera; add it to the serials of a CameraSpec")
    return camera, () if _has(camera, name) else (f"filter {name!r} is not listed for camera {camera.name}",)


def _by_keyword(view: HeaderView, name: str) -> tuple[CameraSpec, tuple[str, ...]]:
    found = view.find("camera")
    if found is None:
        raise HeaderError(view.missing("camera"))
    arm = _name(found, "camera")
    camera = view.instrument.camera(arm)
    if camera is not None:
        return camera, () if _has(camera, name) else (f"filter {name!r} is not listed for camera {arm}",)
    return CameraSpec(name=arm), (f"{found} is not among the listed cameras",)
