"""Headers of calibration frames: kind, detector and exposure; what a science frame needs may be missing."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, Literal

import pandas as pd

from opticam_dask.errors import FrameReadError, HeaderError
from opticam_dask.instrument import Instrument
from opticam_dask.instrument.camera_spec import CameraSpec
from opticam_dask.io.containers import HduHeader, read_headers
from opticam_dask.io.frame_index import size_and_time
from opticam_dask.io.header_camera import camera_and_filter, serial_camera
from opticam_dask.io.header_noise import DETECTOR_ROLES, detector_number
from opticam_dask.io.header_view import HeaderView, binning
from opticam_dask.io.headers import FULL_SCALE, geometry

Kind = Literal["bias", "dark", "flat"]
WORDS: dict[str, frozenset[str]] = {
    "bias": frozenset({"bias", "zero"}),
    "dark": frozenset({"dark", "darks"}),
    "flat": frozenset({"flat", "flats", "skyflat", "domeflat", "flatfield"}),
}
"""Words by which headers name the kinds of calibration frames."""

_EMPTY: dict[str, Any] = {
    "hdu": 0,
    "planes": 1,
    "arm": "",
    "filter": "",
    "kind": "",
    "exposure": math.nan,
    "gain": 1.0,
    "read_noise": math.nan,
    "dark_current": math.nan,
    "saturation": math.nan,
    "binning": "",
    "shape": "",
    "dtype": "",
    "reason": "",
}
COLUMNS = ("path", "size", "mtime_ns", *_EMPTY)


def scan_calibration(paths: Sequence[str], instrument: Instrument, kind: Kind, arm: str = "") -> pd.DataFrame:
    """Read the headers of calibration files.

    Parameters
    ----------
    paths : sequence of str
        Absolute paths.
    instrument : Instrument
        How to read them.
    kind : {'bias', 'dark', 'flat'}
        What they are meant to be.
    arm : str
        Camera they belong to, whatever the headers say; empty to believe the headers.

    Returns
    -------
    DataFrame
        One row per image HDU, columns `COLUMNS`; ``kind`` is what the header calls the frame ('object' for
        anything that is no calibration, empty if it does not say), ``reason`` why it cannot be used.
    """
    records = [record for path in paths for record in _of_file(path, instrument, kind, arm)]
    return pd.DataFrame(records, columns=list(COLUMNS))


def _of_file(path: str, instrument: Instrument, kind: Kind, arm: str) -> list[dict[str, Any]]:
    size, mtime = size_and_time(path) or (0, 0)
    place = {"path": path, "size": size, "mtime_ns": mtime, **_EMPTY}
    try:
        hdus = read_headers(path)
    except (FrameReadError, OSError) as error:
        return [place | {"reason": getattr(error, "detail", "") or f"cannot be read: {error}"}]
    images = [hdu for hdu in hdus if hdu.shape or hdu.problem]
    if not images:
        return [place | {"reason": "the file has no image"}]
    return [place | _of_hdu(hdu, HeaderView(hdu, hdus[0], instrument), kind, arm) for hdu in images]


def _of_hdu(hdu: HduHeader, view: HeaderView, kind: Kind, arm: str) -> dict[str, Any]:
    record: dict[str, Any] = {"hdu": hdu.hdu, "dtype": hdu.dtype, "kind": image_kind(view)}
    try:
        record["planes"], record["shape"] = geometry(hdu.shape)
        record["binning"], _ = binning(view)
        camera, record["filter"] = _camera(view, kind, arm)
        record["arm"] = camera.name
        record["exposure"] = _exposure(view, kind)
        _detector(record, view, camera)
    except HeaderError as error:
        record["reason"] = str(error)
    if hdu.problem:
        record["reason"] = hdu.problem
    return record


def image_kind(view: HeaderView) -> str:
    """Tell 'bias', 'dark', 'flat' or 'object' from the image type; empty if there is none."""
    found = view.find("image_type")
    if found is None:
        return ""
    words = set(re.findall(r"[a-z]+", str(found.value).lower()))
    return next((kind for kind, names in WORDS.items() if words & names), "object")


def _camera(view: HeaderView, kind: Kind, arm: str) -> tuple[CameraSpec, str]:
    """Camera and filter; those of the detector need no filter."""
    given = view.instrument.camera(arm) if arm else None
    try:
        camera, name, _ = camera_and_filter(view)
    except HeaderError:
        if kind == "flat":
            raise
        return given or _detector_camera(view), ""
    serial = serial_camera(view)
    if kind != "flat" and serial is not None:
        camera = serial  # in the dark the filter wheel may stand anywhere
    return given or camera, name


def _detector_camera(view: HeaderView) -> CameraSpec:
    serial = serial_camera(view)
    if serial is not None:
        return serial
    if len(view.instrument.cameras) == 1:
        return view.instrument.cameras[0]
    raise HeaderError(
        "neither serial number nor filter tells the camera; "
        "give the folder of one camera (c1_..., c2_..., c3_...)"
    )


def _exposure(view: HeaderView, kind: Kind) -> float:
    """Exposure time [s]; that of a bias frame is 0 whatever its header says."""
    if kind == "bias":
        return 0.0
    found = view.number("exposure")
    if found is None:
        raise HeaderError(view.missing("exposure"))
    seconds = float(found.value)
    if seconds < 0 or (kind == "dark" and seconds == 0):
        raise HeaderError(f"{found} is no exposure time of a {kind}")
    return seconds


def _detector(record: dict[str, Any], view: HeaderView, camera: CameraSpec) -> None:
    across, down = (int(n) for n in re.findall(r"\d+", record["binning"] or "1x1"))
    for role in DETECTOR_ROLES:
        record[role], _ = detector_number(view, role, camera, across * down)
    if math.isnan(record["saturation"]):
        record["saturation"] = FULL_SCALE.get(record["dtype"], math.nan)
