"""Headers of many files -> plain records, in bulk and on any worker; no pixel is read."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd

from opticam_dask.errors import FrameReadError, HeaderError
from opticam_dask.instrument import Instrument
from opticam_dask.instrument.camera_spec import CameraSpec
from opticam_dask.io.containers import HduHeader, read_headers
from opticam_dask.io.coordinates import pointing
from opticam_dask.io.header_camera import camera_and_filter
from opticam_dask.io.header_noise import DETECTOR_ROLES, detector_number
from opticam_dask.io.header_notes import header_notes
from opticam_dask.io.header_view import Found, HeaderView, binning, not_science
from opticam_dask.io.times import read_stamp

Record: TypeAlias = dict[str, Any]

_EMPTY: Record = {
    "hdu": 0,
    "planes": 1,
    "camera": "",
    "filter": "",
    "exposure": math.nan,
    "cadence": math.nan,
    "gain": math.nan,
    "read_noise": math.nan,
    "dark_current": math.nan,
    "saturation": math.nan,
    "binning": "",
    "shape": "",
    "dtype": "",
    "airmass": math.nan,
    "stamp": "",
    "time_keyword": "",
    "ra": math.nan,
    "dec": math.nan,
    "reason": "",
    "notes": "",
}
RECORD_COLUMNS = ("path", "size", "mtime_ns", *_EMPTY)
NOTE_SEPARATOR = "; "
FULL_SCALE = {"uint8": 255.0, "int16": 32767.0, "uint16": 65535.0}
"""Largest number of the pixel types of detectors: what is brighter was cut [adu]."""
LONGEST_S = 86400.0
"""Longest exposure, or time from plane to plane of a cube, that is believed [s]."""


def scan_headers(paths: Sequence[str], instrument: Instrument) -> pd.DataFrame:
    """Read the headers of a batch of files.

    Parameters
    ----------
    paths : sequence of str
        Absolute paths.
    instrument : Instrument
        How to read them.

    Returns
    -------
    DataFrame
        One row per image HDU, cubes not yet taken apart; columns `RECORD_COLUMNS`. ``reason`` is not empty
        where an image, or a whole file, cannot be used. Never raises for a bad file.
    """
    records = [record for path in paths for record in file_records(path, instrument)]
    return pd.DataFrame(records, columns=list(RECORD_COLUMNS))


def file_records(path: str, instrument: Instrument) -> list[Record]:
    """Make the records of one file, at least one."""
    place: Record = {"path": path, "size": 0, "mtime_ns": 0}
    try:
        status = Path(path).stat()
        place |= {"size": status.st_size, "mtime_ns": status.st_mtime_ns}
        hdus = read_headers(path)
    except FrameReadError as error:
        return [place | _EMPTY | {"reason": error.detail}]
    except OSError as error:
        return [place | _EMPTY | {"reason": f"cannot be read: {error.strerror or error}"}]
    images = [hdu for hdu in hdus if hdu.shape or hdu.problem]
    if not images:
        return [place | _EMPTY | {"reason": "the file has no image"}]
    return [place | _hdu_record(hdu, hdus[0], instrument) for hdu in images]


def _hdu_record(hdu: HduHeader, first: HduHeader, instrument: Instrument) -> Record:
    record = _EMPTY | {"hdu": hdu.hdu, "dtype": hdu.dtype}
    try:
        view = HeaderView(hdu, first, instrument)
        _fill(record, hdu, view)
    except HeaderError as error:
        record["reason"] = str(error)
    if hdu.problem:
        record["reason"] = hdu.problem
    return record


def _fill(record: Record, hdu: HduHeader, view: HeaderView) -> None:
    """Fill in as much as the header gives; what cannot be assumed raises HeaderError at its place."""
    record["planes"], record["shape"] = geometry(hdu.shape)
    record["binning"], _ = binning(view)
    if calibration := not_science(view):
        raise HeaderError(calibration)
    camera, record["filter"], notes = camera_and_filter(view)
    record["camera"] = f"{camera.name}:{record['filter']}"
    _fill_times(record, view)
    record["ra"], record["dec"], note = pointing(view)
    more = _fill_detector(record, view, camera)
    every = filter(None, [*notes, note, *more, *header_notes(view)])
    record["notes"] = NOTE_SEPARATOR.join(text.replace(NOTE_SEPARATOR, ", ") for text in every)


def geometry(shape: tuple[int, ...]) -> tuple[int, str]:
    """Count planes and name 'rows x columns'; leading axes of length 1 do not count."""
    axes = list(shape)
    while len(axes) > 3 and axes[0] == 1:
        axes.pop(0)
    if len(axes) not in (2, 3):
        text = "x".join(map(str, shape))
        raise HeaderError(f"an image or a cube is needed, this has {len(shape)} axes ({text})")
    return (axes[0] if len(axes) == 3 else 1), f"{axes[-2]}x{axes[-1]}"


def _fill_times(record: Record, view: HeaderView) -> None:
    record["exposure"] = exposure_time(view)
    cadence = view.number("cadence")
    record["cadence"] = record["exposure"] if cadence is None else _seconds(cadence)
    stamp = read_stamp(view)
    record["stamp"], record["time_keyword"] = stamp.iso, stamp.keyword
    if view.instrument.trust_airmass and (airmass := view.number("airmass")) is not None:
        record["airmass"] = float(airmass.value)


def exposure_time(view: HeaderView) -> float:
    """Exposure time [s] of a header.

    Raises
    ------
    HeaderError
        If it is missing, no number, not positive, or longer than a day.
    """
    found = view.number("exposure")
    if found is None:
        raise HeaderError(view.missing("exposure"))
    return _seconds(found)


def _seconds(found: Found) -> float:
    """Seconds that a frame can take; far longer ones would break the times of every other frame too."""
    value = float(found.value)
    if not value > 0:
        raise HeaderError(f"{found} is not a positive number of seconds")
    if value > LONGEST_S:
        raise HeaderError(f"{found} is longer than a day; is it in seconds?")
    return value


def _fill_detector(record: Record, view: HeaderView, camera: CameraSpec) -> list[str]:
    across, down = (int(n) for n in re.findall(r"\d+", record["binning"] or "1x1"))
    notes = [] if record["binning"] else ["binning unknown, taken as 1x1"]
    for role in DETECTOR_ROLES:
        record[role], note = detector_number(view, role, camera, across * down)
        notes.append(note)
    if math.isnan(record["saturation"]) and record["dtype"] in FULL_SCALE:
        record["saturation"] = FULL_SCALE[record["dtype"]]
        notes.append(f"no saturation level: {record['saturation']:g} adu, the largest {record['dtype']}")
    return notes
