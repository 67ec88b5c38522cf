"""Which calibration frames there are, and which belong together."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from opticam_dask.calibration.headers import Kind, scan_calibration
from opticam_dask.errors import InputError
from opticam_dask.instrument import Instrument
from opticam_dask.io.blocks import FrameBlock
from opticam_dask.io.frame_files import Source, find_files
from opticam_dask.io.frame_index import FILES_PER_BATCH
from opticam_dask.lazy.chunks import map_blocks_of_frames
from opticam_dask.schema import FRAME_META

Run = Callable[[Any, str], list[Any]]
Say = Callable[[str], None]

_SHOWN = 3  # lines about bad files; the rest is counted
_EXPOSURE_DIGITS = 6  # exposure times equal to the microsecond are one


@dataclass(frozen=True, eq=False)
class FrameSet:
    """Frames that are combined into one image.

    Parameters
    ----------
    kind : {'bias', 'dark', 'flat'}
        What they are.
    name : str
        Camera ``'<arm>:<filter>'`` of flats; the arm of what has no filter.
    binning : str
        Columns x rows, such as '4x4'; empty if unknown.
    exposure : float
        Exposure time [s]; of flats the median.
    frames : FrameBlock
        The frames, in order of their files.
    inputs : str
        Digest of the files and of what their headers say.
    """

    kind: Kind
    name: str
    binning: str
    exposure: float
    frames: FrameBlock
    inputs: str

    @property
    def label(self) -> str:
        """Name in messages and of files."""
        seconds = f"_{self.exposure:g}s" if self.kind == "dark" else ""
        return f"{self.kind}_{self.name.replace(':', '-')}_{self.binning or 'unknown'}{seconds}"

    def pieces(self, most: int) -> list[FrameBlock]:
        """Cut the frames into at most so many blocks of nearly equal length."""
        edges = np.linspace(0, len(self.frames), min(most, len(self.frames)) + 1).round().astype(int)
        return [self.frames.select(slice(a, b)) for a, b in pairwise(edges.tolist())]


def find_sets(
    kind: Kind,
    sources: Mapping[str, Source],
    instrument: Instrument,
    *,
    recursive: bool,
    run: Run,
    say: Say,
) -> list[FrameSet]:
    """Look through folders of calibration frames and sort the frames.

    Parameters
    ----------
    kind : {'bias', 'dark', 'flat'}
        What the folders hold. A frame whose header calls it another kind of calibration
        frame is left out; one that calls itself a science frame is used, with a line that says so.
    sources : mapping of str to path, pattern or list of paths
        Where the frames of an arm are; under '' those of all arms.
    instrument : Instrument
        How to read the headers.
    recursive : bool
        Whether to look into folders inside folders.
    run, say : callable
        Computes tasks; tells the user a line.

    Returns
    -------
    list of FrameSet
        In order of name, binning and exposure time.

    Raises
    ------
    InputError
        If a folder does not exist, or no frame of it can be used.
    """
    tables = [_scan(kind, arm, source, instrument, recursive, run) for arm, source in sources.items()]
    records = pd.concat(tables, ignore_index=True).sort_values(["path", "hdu"], ignore_index=True)
    records["name"] = records["arm"] + ":" + records["filter"] if kind == "flat" else records["arm"]
    records["set_exposure"] = records["exposure"].round(_EXPOSURE_DIGITS) if kind == "dark" else 0.0
    _reject(records, kind)
    _tell(records, kind, say)
    good = records[records["reason"] == ""]
    if good.empty:
        raise InputError(
            f"no {kind} frame can be used: {records['path'].iloc[0]}: {records['reason'].iloc[0]}"
        )
    groups = good.groupby(["name", "binning", "set_exposure"], sort=True)
    return [_frame_set(kind, str(name), str(binning), rows) for (name, binning, _), rows in groups]


def _scan(
    kind: Kind, arm: str, source: Source, instrument: Instrument, recursive: bool, run: Run
) -> pd.DataFrame:
    files = find_files(source, recursive=recursive)
    batches = [files[start : start + FILES_PER_BATCH] for start in range(0, len(files), FILES_PER_BATCH)]
    if len(batches) == 1:
        return scan_calibration(batches[0], instrument, kind, arm)
    tasks = map_blocks_of_frames(scan_calibration, batches, instrument, kind, arm)
    return pd.concat(run(tasks, f"scanning headers of {kind} frames"), ignore_index=True)


def _reject(records: pd.DataFrame, kind: Kind) -> None:
    """Leave out frames of another kind, and of another shape than most of their name and binning."""
    # sky flats may be called objects, and some cameras call every frame one; but not where others are not
    telling = kind != "flat" and (records["kind"] == kind).any()
    other = (records["reason"] == "") & ~records["kind"].isin(["", kind, *([] if telling else ["object"])])
    named = records.loc[other, "kind"].replace({"object": "science frame"})
    records.loc[other, "reason"] = "its header calls it a " + named
    good = records[records["reason"] == ""]
    for (name, binning), rows in good.groupby(["name", "binning"]):
        counts = rows["shape"].value_counts()
        usual = min(counts.index[counts == counts.max()])
        odd = rows.index[rows["shape"] != usual]
        why = (
            f"{records.loc[odd, 'shape'].to_list()[0]} pixels, most of {name} ({binning}) have {usual}"
            if len(odd)
            else ""
        )
        records.loc[odd, "reason"] = why


def _tell(records: pd.DataFrame, kind: Kind, say: Say) -> None:
    bad = records[records["reason"] != ""]
    for row in bad.head(_SHOWN).itertuples():
        say(f"{kind}: left out {row.path} [hdu {row.hdu}]: {row.reason}")
    if len(bad) > _SHOWN:
        say(f"{kind}: {len(bad) - _SHOWN} more frames left out")
    science = records[(records["reason"] == "") & (records["kind"] == "object")]
    if len(science):
        say(
            f"warning: {len(science)} of the {kind} frames are science frames by their headers, such as "
            f"{science['path'].iloc[0]}; used all the same"
        )


def _frame_set(kind: Kind, name: str, binning: str, rows: pd.DataFrame) -> FrameSet:
    planes = rows.loc[np.repeat(rows.index.to_numpy(), rows["planes"].to_numpy(np.int64))]
    plane = planes.groupby(["path", "hdu"]).cumcount().to_numpy()
    meta = np.zeros(len(planes), FRAME_META)
    for field in ("MJD", "BMJD", "airmass"):
        meta[field] = np.nan
    for field in ("hdu", "exposure", "gain", "read_noise", "dark_current", "saturation"):
        meta[field] = planes[field].to_numpy()
    meta["frame"], meta["plane"] = np.arange(len(planes)), plane
    ny, nx = (int(length) for length in str(rows["shape"].iloc[0]).split("x"))
    dtype = np.result_type(*rows["dtype"].unique()).name
    frames = FrameBlock("", name, name.partition(":")[2], (ny, nx), dtype, tuple(planes["path"]), meta)
    return FrameSet(kind, name, binning, float(np.median(meta["exposure"])), frames, _inputs(rows, frames))


def _inputs(rows: pd.DataFrame, frames: FrameBlock) -> str:
    """Digest that changes with the files; names without folders, so that a night may be moved."""
    names = rows["path"].map(lambda path: str(path).rpartition("/")[2])
    text = rows[["size", "mtime_ns", "hdu"]].assign(name=names).to_csv(index=False)
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape"))
    digest.update(replace(frames, paths=()).meta.tobytes())
    return digest.hexdigest()
