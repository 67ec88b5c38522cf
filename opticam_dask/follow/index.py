"""Rows of the frame index for files as they come; what depends on other frames is judged by those before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from opticam_dask.io.coordinates import as_target
from opticam_dask.io.frame_table import MIXED, empty_frames, layouts, number_frames, planes_of
from opticam_dask.io.headers import scan_headers
from opticam_dask.observation import without_barycentre

if TYPE_CHECKING:
    from opticam_dask.calibration import FrameCalibration
    from opticam_dask.follow.settings import Reduction

PLACE = ["path", "hdu", "plane"]
LATE = "came after later frames had been numbered: its number is not in order of time"
CONTEXT = 512
"""Frames before and among which new ones are judged."""
_NEAR = 32


def joined(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Rows of tables one after the other; empty ones, whose types may be others, do not count."""
    filled = [part for part in parts if len(part)]
    return pd.concat(filled, ignore_index=True) if filled else parts[0]


def rows_of_files(paths: Sequence[str], how: Reduction) -> pd.DataFrame:
    """Rows of the frame index of complete files, one per frame, not numbered yet."""
    if not paths:
        return empty_frames()
    records = scan_headers(paths, how.instrument).to_pandas()
    rows = planes_of(records, how.instrument, as_target(how.target))
    return rows if how.barycenter else without_barycentre(rows)


def first_numbers(rows: pd.DataFrame, how: Reduction) -> pd.DataFrame:
    """Judge and number the first frames of a camera; those unlike most of them are rejected."""
    return number_frames(rows, how.instrument)


def next_numbers(
    rows: pd.DataFrame, before: pd.DataFrame, following: Mapping[str, int], how: Reduction
) -> pd.DataFrame:
    """Judge and number further frames of a camera.

    Numbers go on from those given: among the new frames in order of time, after all that were numbered
    before. So no row that was written changes its number, and a frame that comes late is not lost.

    Parameters
    ----------
    rows : DataFrame
        New rows of the frame index, of one camera, with its layout.
    before : DataFrame
        Rows numbered before, the latest at least.
    following : mapping
        Next number of each night.
    how : Reduction
        Tells the instrument.
    """
    judged = number_frames(joined([_around(before, rows), rows]), how.instrument)
    keys = pd.MultiIndex.from_frame(judged[PLACE])
    new = judged[keys.isin(pd.MultiIndex.from_frame(rows[PLACE]))]
    new = new.sort_values(["night", "MJD", *PLACE], kind="stable", ignore_index=True)
    late = new["MJD"] < new["night"].map(before.groupby("night")["MJD"].max())
    notes = np.where(new["notes"] == "", LATE, new["notes"].astype(str) + "; " + LATE)
    start = new["night"].map(lambda night: following.get(night, 0)).astype("int64")
    return new.assign(
        notes=np.where(late, notes, new["notes"]), frame=start + new.groupby("night").cumcount()
    )


def _around(before: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Earlier rows in whose company new ones are judged: those of their time, and some before and after."""
    ordered = before.sort_values("MJD", kind="stable")
    mjd = ordered["MJD"].to_numpy()
    first = np.searchsorted(mjd, rows["MJD"].min()) - _NEAR
    last = np.searchsorted(mjd, rows["MJD"].max(), "right") + _NEAR
    return ordered.iloc[max(first, 0) : last]


def unlike(rows: pd.DataFrame, layout: str) -> pd.Series[str]:
    """Why frames of a camera cannot be measured with its catalogue; empty where they can."""
    own = layouts(rows)
    reasons = MIXED + rows["camera"] + ": " + own + " instead of " + layout
    return reasons.where(own != layout, "")


def uncalibrated(rows: pd.DataFrame, calibration: FrameCalibration | None) -> pd.Series[str]:
    """Why frames cannot be calibrated; empty where they can."""
    from opticam_dask.errors import InputError

    reasons = pd.Series("", index=rows.index, dtype=object)
    if calibration is None:
        return reasons
    for seconds, some in rows.groupby("exposure"):
        try:
            calibration.pedestal.check(float(str(seconds)))
        except InputError as error:
            reasons[some.index] = str(error)
    if calibration.header_dark:
        reasons[rows["dark_current"].isna()] = "no dark current in the header"
    return reasons


def rejected(rows: pd.DataFrame, reasons: pd.Series[str]) -> pd.DataFrame:
    """Rows with a reason, as the frame index has rejected ones."""
    bad = rows[reasons != ""]
    return bad.assign(status="rejected", reason=reasons[bad.index], frame=-1)
