"""What an instrument makes of one file's header, role by role."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from opticam_dask.errors import FrameReadError, HeaderError
from opticam_dask.instrument import Instrument
from opticam_dask.instrument.camera_spec import CameraSpec
from opticam_dask.io.containers import HduHeader, read_headers
from opticam_dask.io.coordinates import pointing
from opticam_dask.io.header_camera import camera_and_filter, serial_camera
from opticam_dask.io.header_noise import DETECTOR_ROLES, detector_number
from opticam_dask.io.header_notes import header_notes
from opticam_dask.io.header_view import FIXED, HeaderView, binning, not_science
from opticam_dask.io.headers import exposure_time
from opticam_dask.io.times import read_stamp

Status = Literal["found", "assumed", "missing"]


@dataclass(frozen=True)
class RoleCheck:
    """One role: found in the header, assumed, or missing, and the value or remedy."""

    role: str
    status: Status
    detail: str
    needed: bool = False


@dataclass(frozen=True)
class HeaderCheck:
    """What an instrument makes of one header; print it.

    Parameters
    ----------
    file : str
        The file looked at.
    instrument : str
        Name of the instrument.
    roles : tuple of RoleCheck
        One per role.
    notes : tuple of str
        Traps of the header.
    """

    file: str
    instrument: str
    roles: tuple[RoleCheck, ...]
    notes: tuple[str, ...]

    @property
    def missing(self) -> tuple[str, ...]:
        """Roles without which the file is rejected."""
        return tuple(check.role for check in self.roles if check.needed and check.status == "missing")

    @property
    def ok(self) -> bool:
        """Whether the file can be used."""
        return not self.missing

    def __str__(self) -> str:
        wide = max(len(check.role) for check in self.roles)
        lines = [f"{self.file} read as {self.instrument}:"]
        lines += [f"  {check.role:{wide}}  {check.status:8} {check.detail}" for check in self.roles]
        lines += [f"  note: {note}" for note in self.notes]
        verdict = "can be used" if self.ok else f"cannot be used: missing {', '.join(self.missing)}"
        return "\n".join([*lines, f"The file {verdict}."])


def check_header(file: str | Path, instrument: Instrument) -> HeaderCheck:
    """Check the header of a file's first image; see `Instrument.check`."""
    hdus = read_headers(file)
    hdu = _first_image(hdus, str(file))
    view = HeaderView(hdu, hdus[0], instrument)
    needed = [_needed(role, how, view) for role, how in _NEEDED.items()]
    useful = [_binning(view), _pointing(view), _airmass(view), _site(instrument)]
    useful += [_rolling_shutter(view, hdu.shape)]
    detector = [_detector(role, view) for role in DETECTOR_ROLES]
    return HeaderCheck(str(file), instrument.name, (*needed, *detector, *useful), tuple(header_notes(view)))


def _first_image(hdus: list[HduHeader], file: str) -> HduHeader:
    for hdu in hdus:
        if hdu.shape:
            return hdu
    raise FrameReadError(file, "the file has no image")


def _exposure(view: HeaderView) -> tuple[Status, str]:
    seconds = exposure_time(view)
    found = view.find("exposure")
    return _source(found.keyword if found else FIXED), f"{found.keyword if found else FIXED} = {seconds:g} s"


def _source(keyword: str) -> Status:
    return "assumed" if keyword == FIXED else "found"


def _time(view: HeaderView) -> tuple[Status, str]:
    stamp = read_stamp(view)
    return (
        "found",
        f"{stamp.keyword} = {stamp.iso} UTC, the {view.instrument.time_convention} of the exposure",
    )


def _filter(view: HeaderView) -> tuple[Status, str]:
    found = view.find("filter")
    if found is None:
        raise HeaderError(view.missing("filter"))
    _, name, _ = camera_and_filter(view)
    return _source(found.keyword), f"{found}, read as {name!r}"


def _camera(view: HeaderView) -> tuple[Status, str]:
    camera, name, notes = camera_and_filter(view)
    return "found", f"'{camera.name}:{name}' from the {view.instrument.camera_from}{_in_brackets(notes)}"


def _in_brackets(notes: tuple[str, ...]) -> str:
    return f" ({'; '.join(notes)})" if notes else ""


def _image_type(view: HeaderView) -> tuple[Status, str]:
    if why := not_science(view):
        raise HeaderError(why)
    found = view.find("image_type")
    return ("assumed", "no image type: a science frame") if found is None else ("found", str(found))


_Checker: TypeAlias = Callable[[HeaderView], tuple[Status, str]]
_NEEDED: dict[str, _Checker] = {
    "image_type": _image_type,
    "exposure": _exposure,
    "time": _time,
    "filter": _filter,
    "camera": _camera,
}


def _needed(role: str, how: _Checker, view: HeaderView) -> RoleCheck:
    try:
        status, detail = how(view)
    except HeaderError as error:
        return RoleCheck(role, "missing", str(error), needed=True)
    return RoleCheck(role, status, detail, needed=True)


def _detector(role: str, view: HeaderView) -> RoleCheck:
    camera = _camera_spec(view)
    text, _ = binning(view)
    across, _, down = text.partition("x")
    value, note = detector_number(view, role, camera, int(across or 1) * int(down or 1))
    found = view.in_header(role)
    if value != value:  # NaN: unknown
        return RoleCheck(role, "missing", f"{note or 'not in the header'}; {_how_to_give(role)}")
    if found is not None and getattr(camera, role) is None and float(found.value) == value:
        return RoleCheck(role, "found", f"{found.keyword} = {value:g}")
    return RoleCheck(role, "assumed", note)


def _camera_spec(view: HeaderView) -> CameraSpec:
    try:
        return camera_and_filter(view)[0]
    except HeaderError:
        return serial_camera(view) or CameraSpec(name="1")


def _how_to_give(role: str) -> str:
    return f"give it with fixed={{'{role}': ...}} or in a CameraSpec"


def _binning(view: HeaderView) -> RoleCheck:
    text, keyword = binning(view)
    if not text:
        return RoleCheck("binning", "assumed", f"1x1: {view.missing('binning')}")
    return RoleCheck("binning", _source(keyword), f"{keyword} = {text}")


def _pointing(view: HeaderView) -> RoleCheck:
    ra, dec, note = pointing(view)
    if ra != ra:  # NaN: none
        why = note or "no coordinates, or placeholders"
        return RoleCheck("ra, dec", "missing", f"{why}: BMJD would be NaN; give target='hh:mm:ss dd:mm:ss'")
    return RoleCheck("ra, dec", "found", f"{ra:.5f}, {dec:+.5f} degrees")


def _airmass(view: HeaderView) -> RoleCheck:
    found = view.in_header("airmass")
    if view.instrument.trust_airmass and found is not None:
        return RoleCheck("airmass", "found", str(found))
    ra, _, _ = pointing(view)
    lacking = [
        what for what, lacks in (("site", not view.instrument.has_site), ("coordinates", ra != ra)) if lacks
    ]
    if lacking:
        return RoleCheck("airmass", "missing", f"NaN without {' and '.join(lacking)}")
    return RoleCheck("airmass", "assumed", "computed from site, coordinates and time")


def _site(instrument: Instrument) -> RoleCheck:
    if not instrument.has_site:
        return RoleCheck(
            "site", "missing", "no airmass, BMJD up to 21 ms off; give longitude_deg, latitude_deg, height_m"
        )
    east, north = instrument.east_longitude_deg, instrument.latitude_deg
    return RoleCheck("site", "assumed", f"{east:+.6f} east, {north:+.6f}, {instrument.height_m or 0.0:g} m")


def _rolling_shutter(view: HeaderView, shape: tuple[int, ...]) -> RoleCheck:
    camera = _camera_spec(view)
    text, _ = binning(view)
    shutter = camera.rolling_shutter(shape[-2], text) if len(shape) > 1 else None
    if shutter is None:
        return RoleCheck("row delay", "assumed", "none: every row at the frame's time")
    last = f"the last {shutter.longest_s * 1e3:.3g} ms after the first"
    step = f"{shutter.row_delay_s * 1e6:.4g} us from row to row"
    return RoleCheck("row delay", "assumed", f"{step}, {shutter.readout}: {last}")
