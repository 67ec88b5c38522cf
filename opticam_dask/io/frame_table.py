"""From records of headers to the rows of the frame index: times, choices and numbers, all vectorised."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from opticam_dask.instrument import Instrument
from opticam_dask.io.barycentre import airmass, barycentric_mjd
from opticam_dask.io.frame_marks import mark, without_notes
from opticam_dask.io.time_quality import TIME_FLAGS, TIME_NOTES, judge_times
from opticam_dask.io.times import mid_exposure_mjd
from opticam_dask.schema import FRAMES, Flag

if TYPE_CHECKING:
    from astropy.coordinates import SkyCoord

NO_COORDINATES = "no coordinates: BMJD and airmass are NaN, give target='hh:mm:ss dd:mm:ss'"
POINTING = "BMJD and airmass use the header's pointing, give target= for the star's own coordinates"
NO_SITE = "no site: BMJD is for the Earth's centre (up to 21 ms off), no airmass"
MIXED = "unlike most frames of "


def empty_frames() -> pd.DataFrame:
    """Frame index without rows."""
    frames: pd.DataFrame = FRAMES.empty_table().to_pandas()
    return frames


def planes_of(records: pd.DataFrame | None, instrument: Instrument, target: SkyCoord | None) -> pd.DataFrame:
    """Rows of the frame index, one per plane, with all that depends on their own header alone.

    Parameters
    ----------
    records : DataFrame or None
        As `opticam_dask.io.headers.scan_headers` gives them.
    instrument : Instrument
        Site and conventions.
    target : SkyCoord or None
        Replaces the header's pointing.
    """
    if records is None or not len(records):
        return empty_frames()
    planes = np.where(records["reason"] == "", records["planes"], 1).astype(np.int64)
    frames = records.loc[np.repeat(records.index.to_numpy(), planes)].reset_index(drop=True)
    frames["plane"] = np.arange(len(frames)) - np.repeat(np.cumsum(planes) - planes, planes)
    frames["status"] = np.where(frames["reason"] == "", "accepted", "rejected")
    frames["flags"] = 0
    frames["MJD"] = _mid_times(frames, instrument)
    frames["night"] = nights(frames["MJD"].to_numpy(), instrument.east_longitude_deg)
    _point(frames, instrument, target)
    frames["time_quality"] = ""
    frames["frame"] = -1
    rows: pd.DataFrame = frames[FRAMES.names]
    return rows


def _mid_times(frames: pd.DataFrame, instrument: Instrument) -> NDArray[np.float64]:
    times = np.full(len(frames), np.nan)
    good = ((frames["stamp"] != "") & frames["exposure"].notna()).to_numpy()
    some = frames[good]
    offset = (some["plane"] * some["cadence"]).to_numpy()
    times[good] = mid_exposure_mjd(
        some["stamp"].to_numpy(dtype=str), some["exposure"].to_numpy(), offset, instrument.time_convention
    )
    return times


def nights(mjd: NDArray[np.float64], east_longitude_deg: float) -> NDArray[np.str_]:
    """Local evening date, YYYY-MM-DD, of times [d]; empty where NaN. Nights change at local mean noon."""
    days = np.floor(mjd + east_longitude_deg / 360.0 - 0.5)
    known = np.isfinite(days)
    dates = np.datetime64("1858-11-17") + np.where(known, days, 0).astype("timedelta64[D]")
    return np.where(known, dates.astype(str), "")


def _point(frames: pd.DataFrame, instrument: Instrument, target: SkyCoord | None) -> None:
    """Barycentric time, airmass, and the flags and notes about the coordinates behind them."""
    if target is None:
        ra, dec = frames["ra"].to_numpy(), frames["dec"].to_numpy()
    else:
        icrs = target.icrs
        ra, dec = (np.full(len(frames), angle.deg) for angle in (icrs.ra, icrs.dec))
    frames["BMJD"] = barycentric_mjd(frames["MJD"].to_numpy(), ra, dec, instrument)
    computed = airmass(frames["MJD"].to_numpy(), ra, dec, instrument)
    frames["airmass"] = np.where(frames["airmass"].notna(), frames["airmass"], computed)
    timed = frames["MJD"].notna().to_numpy() & (frames["status"] == "accepted").to_numpy()
    nowhere = timed & np.isnan(ra)
    mark(frames, nowhere, NO_COORDINATES, Flag.NO_BARYCENTRE)
    if target is None:
        mark(frames, timed & ~nowhere, POINTING, Flag.POINTING_BARYCENTRE)
    if not instrument.has_site:
        mark(frames, timed, NO_SITE)


def number_frames(frames: pd.DataFrame, instrument: Instrument) -> pd.DataFrame:
    """Sort and number the frames, and choose what depends on the other frames of a camera.

    Of each camera only the most common shape and binning is accepted. Frames whose times are doubtful are
    kept and flagged, see `opticam_dask.io.time_quality`. May be called again on its own result, with more
    rows.
    """
    frames = _unchosen(frames)
    _reject_mixed(frames)
    judge_times(frames, instrument)
    is_accepted = frames["status"] == "accepted"
    good = frames[is_accepted].sort_values(["camera", "MJD", "path", "hdu", "plane"], kind="stable")
    bad = frames[~is_accepted].sort_values(["path", "hdu", "plane"], kind="stable")
    good["frame"] = good.groupby(["night", "camera"]).cumcount()
    bad["frame"] = -1
    return _typed(
        pd.concat([good, bad], ignore_index=True) if len(bad) and len(good) else (good if len(good) else bad)
    )


def _typed(frames: pd.DataFrame) -> pd.DataFrame:
    import pyarrow as pa

    table = pa.Table.from_pandas(frames[FRAMES.names], schema=FRAMES, preserve_index=False)
    typed: pd.DataFrame = table.replace_schema_metadata(None).to_pandas()
    return typed


def _unchosen(frames: pd.DataFrame) -> pd.DataFrame:
    """Rows as their own headers have them, without the choices of an earlier numbering."""
    frames = frames.reset_index(drop=True)
    mixed = frames["reason"].str.startswith(MIXED)
    frames.loc[mixed, "reason"] = ""
    frames.loc[mixed, "status"] = "accepted"
    frames["flags"] = frames["flags"].to_numpy() & ~int(TIME_FLAGS)
    plain = {text: without_notes(text, TIME_NOTES) for text in frames["notes"].unique()}
    frames["notes"] = frames["notes"].map(plain)
    return frames


def _reject_mixed(frames: pd.DataFrame) -> None:
    good = frames[frames["status"] == "accepted"]
    if good.empty:
        return
    own = layouts(good)
    counts = (
        pd.DataFrame({"camera": good["camera"], "layout": own}).value_counts(sort=False).reset_index(name="n")
    )
    counts = counts.sort_values(["camera", "n", "layout"], ascending=[True, False, True])
    usual = good["camera"].map(counts.drop_duplicates("camera").set_index("camera")["layout"])
    odd = (own != usual).to_numpy()
    reasons = MIXED + good["camera"] + ": " + own + " instead of " + usual
    frames.loc[good.index[odd], "reason"] = reasons[odd]
    frames.loc[good.index[odd], "status"] = "rejected"


def layouts(frames: pd.DataFrame) -> pd.Series[str]:
    """Shape and binning in words; frames of one camera that are stacked must share them."""
    return frames["shape"] + " pixels, binning " + frames["binning"].replace("", "unknown")
