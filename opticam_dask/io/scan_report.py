"""A frame index in words: what was found, how it is spread in time, what was rejected and why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np
import pandas as pd

from opticam_dask.io.frame_index import accepted
from opticam_dask.io.headers import NOTE_SEPARATOR
from opticam_dask.schema import Flag

_DAY_S = 86400.0
_GAPS_SHOWN = 5
_FILES_SHOWN = 3


@dataclass(frozen=True)
class Sampling:
    """How the frames of one camera in one night are spread in time.

    Parameters
    ----------
    night, camera : str
        Whose frames.
    n_frames : int
        Number of accepted frames.
    start, end : float
        First and last mid-exposure, MJD [d], UTC.
    cadence : float
        Median time between frames [s]; NaN for one frame.
    gaps : tuple of (int, float)
        Frame before each gap and its length [s]; see `opticam_dask.io.cadence.time_gaps`.
    """

    night: str
    camera: str
    n_frames: int
    start: float
    end: float
    cadence: float
    gaps: tuple[tuple[int, float], ...]


def sampling(frames: pd.DataFrame) -> list[Sampling]:
    """Cadence and gaps of the accepted frames, per camera and night."""
    groups = accepted(frames).groupby(["camera", "night"], sort=True)
    return [_sampling(str(night), str(camera), group) for (camera, night), group in groups]


def _sampling(night: str, camera: str, group: pd.DataFrame) -> Sampling:
    ordered = group.sort_values("frame")
    times, numbers = ordered["MJD"].to_numpy(dtype=float), ordered["frame"].to_numpy()
    steps = np.diff(times) * _DAY_S
    cadence = float(np.median(steps)) if len(steps) else float("nan")
    # With most stamps doubled the median is 0; then the mean step is the better guess.
    if len(steps) and cadence <= 0:
        cadence = float(steps.mean())
    after_gap = (ordered["flags"].to_numpy()[1:] & int(Flag.TIME_GAP)) != 0
    gaps = tuple((int(numbers[i]), float(steps[i])) for i in np.flatnonzero(after_gap))
    return Sampling(night, camera, len(times), float(times[0]), float(times[-1]), cadence, gaps)


def scan_report(frames: pd.DataFrame) -> str:
    """Text of a frame index.

    Parameters
    ----------
    frames : DataFrame
        As `opticam_dask.io.frame_index.scan` gives it.

    Returns
    -------
    str
        Binning, filters and number of images per camera; time span, cadence and gaps; rejected files by
        reason; notes, each with the number of frames it holds for.
    """
    good = accepted(frames)
    lines = list(_counts(good))
    for rows in sampling(frames):
        lines += _times(rows)
    lines += _rejected(frames[frames["status"] != "accepted"], len(frames))
    lines += _notes(good)
    return "\n".join(lines)


def _counts(good: pd.DataFrame) -> Iterator[str]:
    if good.empty:
        yield "No frame can be used."
        return
    per_camera = good.groupby("camera", sort=True)["binning"].agg(["first", "size"])
    binnings = per_camera["first"].replace("", "unknown")
    if (binnings == binnings.iloc[0]).all():
        yield f"Binning: {binnings.iloc[0]}"
    else:
        yield f"Binning: {', '.join(f'{camera} {text}' for camera, text in binnings.items())}"
    yield f"Filters: {', '.join(map(str, per_camera.index))}"
    for camera, number in per_camera["size"].items():
        yield f"{number} {camera} image{'s' if number != 1 else ''}."


def _utc(mjd: float) -> str:
    return f"{np.datetime64('1858-11-17') + np.timedelta64(round(mjd * _DAY_S * 1e3), 'ms')}"


def _times(rows: Sampling) -> list[str]:
    head = f"{rows.camera}, night {rows.night}: {_utc(rows.start)}"
    if rows.n_frames == 1:
        return [f"{head} UTC, one frame"]
    n_gaps = f"{len(rows.gaps)} gap{'s' if len(rows.gaps) != 1 else ''}" if rows.gaps else "no gaps"
    lines = [f"{head} to {_utc(rows.end)} UTC, cadence {rows.cadence:.4g} s, {n_gaps}"]
    longest = sorted(rows.gaps, key=lambda gap: -gap[1])[:_GAPS_SHOWN]
    lines += [f"  gap of {length:.4g} s after frame {frame}" for frame, length in sorted(longest)]
    hidden = len(rows.gaps) - len(longest)
    return lines + ([f"  and {hidden} shorter gaps"] if hidden else [])


def _rejected(bad: pd.DataFrame, n_found: int) -> Iterator[str]:
    if bad.empty:
        return
    yield f"Rejected: {len(bad)} of {n_found}"
    groups = sorted(bad.groupby("reason", sort=True), key=lambda item: -len(item[1]))
    for reason, rows in groups:
        yield f"  {len(rows)} x {reason}: {_names(rows)}"


def _names(rows: pd.DataFrame) -> str:
    some = rows.head(_FILES_SHOWN)
    names = [_name(*place) for place in zip(some["path"], some["hdu"], some["plane"], strict=True)]
    more = len(rows) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


def _name(path: str, hdu: int, plane: int) -> str:
    inside = f"[hdu {hdu}, plane {plane}]" if plane else (f"[hdu {hdu}]" if hdu else "")
    return PurePath(path).name + inside


def _notes(good: pd.DataFrame) -> Iterator[str]:
    counts: dict[str, int] = {}
    for notes, number in good["notes"].value_counts(sort=False).items():
        for note in filter(None, str(notes).split(NOTE_SEPARATOR)):
            counts[note] = counts.get(note, 0) + int(number)
    if counts:
        yield "Notes:"
    for note, number in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        yield f"  {number} frame{'s' if number != 1 else ''}: {note}"
