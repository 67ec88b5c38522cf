"""What a page says in words and tables, from the tables of a reduction."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from opticam_dask.io.frame_index import read_frames
from opticam_dask.report.curves import Folder
from opticam_dask.schema import CLOUD_MAG
from opticam_dask.tables.quality import frame_quality
from opticam_dask.tables.store import flux_unit

NAMES = {
    "night": "night",
    "camera": "camera",
    "found": "frames",
    "used": "used",
    "rejected": "rejected",
    "unaligned": "not aligned",
    "cloudy": "cloudy",
    "first": "first frame [UTC]",
    "hours": "length [h]",
    "exposure": "exposure [s]",
    "fwhm": "FWHM [pixel]",
    "sky": "sky [{unit} / pixel]",
    "sources": "sources",
}
"""Columns of the table of nights and cameras, and what readers call them."""

REJECTED = ("night", "camera", "file", "reason")
"""Columns of the table of rejected frames."""

_UNIX_EPOCH_MJD = 40_587.0


def nights(out: Path, sources: dict[str, int]) -> pd.DataFrame:
    """One row per night and camera: what was found, what was used, and how good it was.

    Parameters
    ----------
    out : Path
        Output directory of a reduction.
    sources : dict
        Sources in the catalogue of each camera.

    Returns
    -------
    DataFrame
        Columns `NAMES`; numbers of the sky are medians, NaN where nothing was aligned.
    """
    frames = read_frames(out / "frames.parquet")
    grouped = frames.groupby(["night", "camera"])
    table = pd.DataFrame([_night(str(night), str(camera), rows) for (night, camera), rows in grouped])
    table["sources"] = table["camera"].map(sources).fillna(0).astype(int)
    return table.merge(_quality(out), on=["night", "camera"], how="left")[list(NAMES)]


def _night(night: str, camera: str, frames: pd.DataFrame) -> dict[str, Any]:
    used = frames[frames["status"] == "accepted"]
    mjd = used["MJD"].dropna()
    return {
        "night": night,
        "camera": camera,
        "found": len(frames),
        "used": len(used),
        "rejected": len(frames) - len(used),
        "first": utc(mjd.min()) if len(mjd) else "",
        "hours": float(np.ptp(mjd)) * 24.0 if len(mjd) else np.nan,
        "exposure": used["exposure"].median() if len(used) else np.nan,
    }


def _quality(out: Path) -> pd.DataFrame:
    if not (out / "alignment.parquet").is_file():
        return pd.DataFrame(columns=["night", "camera", "unaligned", "cloudy", "fwhm", "sky"])
    quality = frame_quality(out)
    quality["unaligned"] = quality["status"] != "aligned"
    quality["cloudy"] = quality["cloud"] >= CLOUD_MAG
    grouped = quality.groupby(["night", "camera"], as_index=False)
    wanted = {"unaligned": "sum", "cloudy": "sum", "fwhm": "median", "background": "median"}
    return grouped.agg(wanted).rename(columns={"background": "sky"})


def utc(mjd: float) -> str:
    """Date and time, to the second."""
    return pd.Timestamp(mjd - _UNIX_EPOCH_MJD, unit="D").strftime("%Y-%m-%d %H:%M:%S")


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of a table, each by column."""
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def unit_of(folders: Sequence[Folder]) -> str:
    """Tell the unit of fluxes; 'adu' where there is none yet."""
    return flux_unit(folders[0].root) if folders else "adu"


def rejected(index: Path) -> pd.DataFrame:
    """Frames of a frame index that were not used: ``night``, ``camera``, ``file`` and ``reason``."""
    frames = read_frames(index)
    lost = frames[frames["status"] != "accepted"]
    names = [path.rpartition("/")[2] for path in lost["path"].tolist()]
    return lost.assign(file=names)[list(REJECTED)]


def provenance(out: Path) -> dict[str, Any]:
    """Versions, command, cluster and settings of the run; empty where nothing was recorded."""
    try:
        found = json.loads((out / "provenance.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def flat_settings(settings: Any, name: str = "") -> list[tuple[str, str]]:
    """Turn settings into dotted names and values, sorted; a list counts as one value."""
    if isinstance(settings, dict):
        pairs = [flat_settings(value, f"{name}.{key}".lstrip(".")) for key, value in sorted(settings.items())]
        return [pair for each in pairs for pair in each]
    return [(name, json.dumps(settings, ensure_ascii=False))]
