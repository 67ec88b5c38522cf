"""How far the times of frames can be trusted, judged from all frames of a camera."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from opticam_dask.instrument import Instrument
from opticam_dask.io.cadence import out_of_order, overlaps, time_gaps
from opticam_dask.io.frame_marks import mark
from opticam_dask.io.times import is_whole_second
from opticam_dask.schema import Flag

WHOLE_SECONDS = "every time stamp is a whole second: times may be cut to seconds"
DUPLICATE = "the time stamp is that of another frame of the camera"
OUT_OF_ORDER = "the time stamp does not follow those of the files numbered before and after"
OVERLAP = "the exposure began before the one before had ended: time stamp or exposure time is wrong"
TIME_NOTES = (WHOLE_SECONDS, DUPLICATE, OUT_OF_ORDER, OVERLAP)
TIME_FLAGS = Flag.BAD_TIME | Flag.QUANTISED_TIME | Flag.TIME_GAP

_NUMBER = re.compile(r"(\d+)")


def judge_times(frames: pd.DataFrame, instrument: Instrument) -> None:
    """Set ``time_quality``, and flags and notes about time, in place.

    Flags are QUANTISED_TIME on frames of a camera whose stamps are all whole seconds, BAD_TIME on doubled
    times and on those out of order, TIME_GAP on the first frame after a gap. Overlapping exposures are noted.
    """
    frames["time_quality"] = _sources(frames, instrument)
    _mark_whole_seconds(frames)
    _mark_duplicates(frames)
    _mark_out_of_order(frames)
    _mark_gaps(frames)


def _sources(frames: pd.DataFrame, instrument: Instrument) -> NDArray[np.str_]:
    gps = frames["time_keyword"].isin(instrument.keywords_of("gps"))
    in_cube = frames.groupby(["path", "hdu"])["plane"].transform("max") > 0
    missing = frames["MJD"].isna()
    return np.select([missing, in_cube, gps], ["missing", "cadence", "gps"], "ut")


def _mark_whole_seconds(frames: pd.DataFrame) -> None:
    ut = (frames["status"] == "accepted") & (frames["time_quality"] == "ut")
    whole = frames["stamp"].map({stamp: is_whole_second(stamp) for stamp in frames["stamp"].unique()})
    some = pd.DataFrame({"camera": frames["camera"][ut], "whole": whole[ut].astype(bool)})
    every = some.groupby("camera")["whole"].transform("all")
    rows = _rows(frames, every.index[every])
    frames.loc[rows, "time_quality"] = "ut-quantised"
    mark(frames, rows, WHOLE_SECONDS, Flag.QUANTISED_TIME)


def _mark_duplicates(frames: pd.DataFrame) -> None:
    good = frames[frames["status"] == "accepted"]
    doubled = good.duplicated(["camera", "MJD"], keep=False)
    rows = _rows(frames, doubled.index[doubled])
    frames.loc[rows, "time_quality"] = "duplicate"
    mark(frames, rows, DUPLICATE, Flag.BAD_TIME)


def _mark_out_of_order(frames: pd.DataFrame) -> None:
    rows = np.zeros(len(frames), dtype=bool)
    for group in _nights(frames):
        plain = group.sort_values(["path", "hdu", "plane"])
        if not plain["MJD"].is_monotonic_increasing:  # names may count 9, 10: only then is it worth the time
            ordered = plain.iloc[_by_number(plain["path"])]
            rows[ordered.index] = out_of_order(ordered["MJD"])
    mark(frames, rows, OUT_OF_ORDER, Flag.BAD_TIME)


def _by_number(paths: pd.Series[str]) -> NDArray[np.int64]:
    """Order of paths by the numbers in them; equal paths stay as they are."""
    keys = {path: _natural(path) for path in paths.unique()}
    number = {path: rank for rank, path in enumerate(sorted(keys, key=keys.__getitem__))}
    return np.argsort(paths.map(number).to_numpy(), kind="stable")


def _natural(path: str) -> list[str | int]:
    """Key that sorts 'image_2' before 'image_10'."""
    return [int(part) if part.isdecimal() else part for part in _NUMBER.split(path)]


def _mark_gaps(frames: pd.DataFrame) -> None:
    gap, overlap = np.zeros(len(frames), dtype=bool), np.zeros(len(frames), dtype=bool)
    for group in _nights(frames):
        ordered = group.sort_values("MJD", kind="stable")
        times, exposure = ordered["MJD"].to_numpy(), ordered["exposure"].to_numpy()
        quantum = 1.0 if (ordered["flags"].to_numpy() & int(Flag.QUANTISED_TIME)).any() else 0.0
        gap[ordered.index] = time_gaps(times, exposure, quantum)
        overlap[ordered.index] = overlaps(times, exposure, quantum)
    mark(frames, gap, flag=Flag.TIME_GAP)
    mark(frames, overlap, OVERLAP)


def _nights(frames: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Give accepted frames, a camera and night at a time; their index numbers the rows of the whole."""
    good = frames[frames["status"] == "accepted"]
    for _, group in good.groupby(["camera", "night"], sort=False):
        yield group


def _rows(frames: pd.DataFrame, index: pd.Index[int]) -> NDArray[np.bool_]:
    rows = np.zeros(len(frames), dtype=bool)
    rows[index] = True
    return rows
