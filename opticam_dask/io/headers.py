"""Headers of many files -> plain records, in bulk and on any worker; no pixel is read."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import pyarrow as pa

from opticam_dask.errors import FrameReadError, HeaderError
from opticam_dask.instrument import Instrument
from opticam_dask.instrument.camera_spec import CameraSpec
from opticam_dask.io.containers import HduHeader, read_headers
from opticam_dask.io.coordinates import pointing
from opticam_dask.io.head_reader import HeadReader
from opticam_dask.io.header_camera import camera_and_filter
from opticam_dask.io.header_memo import CardMemo
from opticam_dask.io.header_noise import DETECTOR_ROLES, detector_number
from opticam_dask.io.header_notes import airmass_note, blank_note, in_order, lasting_notes, placeholder_note
from opticam_dask.io.header_view import Found, HeaderView, binning, not_science
from opticam_dask.io.times import read_stamp
from opticam_dask.io.zarr_store.layout import split_path

Record: TypeAlias = dict[str, Any]

_PLACE: Record = {"path": "", "size": 0, "mtime_ns": 0}
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
_TYPES = {str: pa.string(), int: pa.int64(), float: pa.float64()}
RECORDS = pa.schema({name: _TYPES[type(value)] for name, value in (_PLACE | _EMPTY).items()})
"""Columns of `scan_headers`."""
NOTE_SEPARATOR = "; "
FULL_SCALE = {"uint8": 255.0, "int16": 32767.0, "uint16": 65535.0}
"""Largest number of the pixel types of detectors: what is brighter was cut [adu]."""
LONGEST_S = 86400.0
"""Longest exposure, or time from plane to plane of a cube, that is believed [s]."""


def scan_headers(paths: Sequence[str], instrument: Instrument) -> pa.Table:
    """Read the headers of a batch of files.

    Parameters
    ----------
    paths : sequence of str
        Absolute paths.
    instrument : Instrument
        How to read them.

    Returns
    -------
    Table
        One row per image HDU, cubes not yet taken apart; of schema `RECORDS`. ``reason`` is not empty where
        an image, or a whole file, cannot be used. Never raises for a bad file.
    """
    scanner = HeaderScanner(instrument)
    records = [record for path in paths for record in scanner.file_records(path)]
    columns = {name: [record[name] for record in records] for name in RECORDS.names}
    return pa.Table.from_pydict(columns, schema=RECORDS)


class HeaderScanner:
    """Makes records of headers; what a header shares with those before it is not worked out again.

    Parameters
    ----------
    instrument : Instrument
        How to read them.
    """

    def __init__(self, instrument: Instrument) -> None:
        self._instrument = instrument
        self._reader = HeadReader()
        self._lasting = CardMemo(_lasting)
        self._pointing = CardMemo(pointing)
        self._placeholders = CardMemo(placeholder_note)
        self._airmass = CardMemo(airmass_note)
        self._joined: dict[tuple[str, ...], str] = {}

    def file_records(self, path: str) -> list[Record]:
        """Make the records of one file, at least one."""
        place = _PLACE | {"path": path}
        if not _is_text(path):
            shown = path.encode("utf-8", "backslashreplace").decode()
            return [place | _EMPTY | {"path": shown, "reason": "the name is not UTF-8; rename the file"}]
        try:
            place["size"], place["mtime_ns"], only = self._start(path)
            hdus = read_headers(path) if only is None else [only]
        except FrameReadError as error:
            return [place | _EMPTY | {"reason": error.detail}]
        except OSError as error:
            return [place | _EMPTY | {"reason": f"cannot be read: {error.strerror or error}"}]
        images = [hdu for hdu in hdus if hdu.shape or hdu.problem]
        if not images:
            return [place | _EMPTY | {"reason": "the file has no image"}]
        return [place | self._hdu_record(hdu, hdus[0]) for hdu in images]

    def _start(self, path: str) -> tuple[int, int, HduHeader | None]:
        """Size and time of modification of a file, and its header if a look at its start tells all."""
        if (where := split_path(path)) is not None:
            from opticam_dask.io.zarr_store.headers import stored_file

            kept = stored_file(*where)
            return kept.size, kept.mtime_ns, None
        status, only = self._reader.only_header(path)
        return status.st_size, status.st_mtime_ns, only

    def _hdu_record(self, hdu: HduHeader, first: HduHeader) -> Record:
        record = {**_EMPTY, "hdu": hdu.hdu, "dtype": hdu.dtype}
        try:
            self._fill(record, hdu, HeaderView(hdu, first, self._instrument, self._reader.layouts))
        except HeaderError as error:
            record["reason"] = str(error)
        if hdu.problem:
            record["reason"] = hdu.problem
        return record

    def _fill(self, record: Record, hdu: HduHeader, view: HeaderView) -> None:
        """Fill in as much as the header gives; what cannot be assumed raises HeaderError at its place."""
        lasting = self._lasting(view, hdu.shape, record["dtype"])
        record |= lasting.before_time
        if lasting.error:
            raise HeaderError(lasting.error)
        stamp = read_stamp(view)
        record["stamp"], record["time_keyword"] = stamp.iso, stamp.keyword
        if view.instrument.trust_airmass and (airmass := view.number("airmass")) is not None:
            record["airmass"] = float(airmass.value)
        record["ra"], record["dec"], note = self._pointing(view)
        record |= lasting.after_time
        more = in_order(lasting.notes, self._placeholders(view), blank_note(view), self._airmass(view))
        record["notes"] = self._join((*lasting.camera_notes, note, *lasting.detector_notes, *more))

    def _join(self, notes: tuple[str, ...]) -> str:
        joined = self._joined.get(notes)
        if joined is None:
            texts = [text.replace(NOTE_SEPARATOR, ", ") for text in notes if text]
            joined = self._joined[notes] = NOTE_SEPARATOR.join(texts)
        return joined


def _is_text(path: str) -> bool:
    """Whether a path can be written down: bytes of a name that are no UTF-8 become lone surrogates."""
    return path.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in path)


@dataclass(slots=True)
class _Lasting:
    """What a header says that seldom changes from frame to frame."""

    before_time: Record = field(default_factory=dict)
    after_time: Record = field(default_factory=dict)
    camera_notes: tuple[str, ...] = ()
    detector_notes: tuple[str, ...] = ()
    notes: tuple[str, str, str] = ("", "", "")
    error: str = ""


def _lasting(view: HeaderView, shape: tuple[int, ...], dtype: str) -> _Lasting:
    """Fill in as much as the header gives, up to the first thing that cannot be assumed."""
    found = _Lasting()
    try:
        camera, found.camera_notes = _fill_camera(found.before_time, view, shape)
        _fill_seconds(found.before_time, view)
    except HeaderError as error:
        found.error = str(error)
        return found
    found.detector_notes = _detector(found.after_time, view, camera, found.before_time["binning"], dtype)
    found.notes = lasting_notes(view)
    return found


def _fill_camera(
    record: Record, view: HeaderView, shape: tuple[int, ...]
) -> tuple[CameraSpec, tuple[str, ...]]:
    record["planes"], record["shape"] = geometry(shape)
    record["binning"], _ = binning(view)
    if calibration := not_science(view):
        raise HeaderError(calibration)
    camera, record["filter"], notes = camera_and_filter(view)
    record["camera"] = f"{camera.name}:{record['filter']}"
    return camera, notes


def geometry(shape: tuple[int, ...]) -> tuple[int, str]:
    """Count planes and name 'rows x columns'; leading axes of length 1 do not count."""
    axes = list(shape)
    while len(axes) > 3 and axes[0] == 1:
        axes.pop(0)
    if len(axes) not in (2, 3):
        text = "x".join(map(str, shape))
        raise HeaderError(f"an image or a cube is needed, this has {len(shape)} axes ({text})")
    return (axes[0] if len(axes) == 3 else 1), f"{axes[-2]}x{axes[-1]}"


def _fill_seconds(record: Record, view: HeaderView) -> None:
    record["exposure"] = exposure_time(view)
    cadence = view.number("cadence")
    record["cadence"] = record["exposure"] if cadence is None else _seconds(cadence)


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


def _detector(
    record: Record, view: HeaderView, camera: CameraSpec, binned: str, dtype: str
) -> tuple[str, ...]:
    across, down = (int(n) for n in re.findall(r"\d+", binned or "1x1"))
    notes = [] if binned else ["binning unknown, taken as 1x1"]
    for role in DETECTOR_ROLES:
        record[role], note = detector_number(view, role, camera, across * down)
        notes.append(note)
    if math.isnan(record["saturation"]) and dtype in FULL_SCALE:
        record["saturation"] = FULL_SCALE[dtype]
        notes.append(f"no saturation level: {record['saturation']:g} adu, the largest {dtype}")
    return tuple(notes)
