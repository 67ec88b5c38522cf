"""What a page says in words and tables, from the tables of a reduction."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from opticam_dask.io.frame_index import read_frames
from opticam_dask.schema import CLOUD_MAG
from opticam_dask.tables.quality import frame_quality

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
        "first": _utc(mjd.min()) if len(mjd) else "",
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


def _utc(mjd: float) -> str:
    return pd.Timestamp(mjd - _UNIX_EPOCH_MJD, unit="D").strftime("%Y-%m-%d %H:%M:%S")


def rejected(out: Path) -> pd.DataFrame:
    """Frames that were not used, with the reason: ``night``, ``camera``, ``file`` and ``reason``."""
    frames = read_frames(out / "frames.parquet")
    lost = frames[frames["status"] != "accepted"]
    names = [path.rpartition("/")[2] for path in lost["path"].tolist()]
    return lost[["night", "camera", "reason"]].assign(file=names)[["night", "camera", "file", "reason"]]


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
