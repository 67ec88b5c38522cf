"""Tables of a survey, a row for each night and camera."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from opticam_dask.errors import OpticamError
from opticam_dask.report import facts
from opticam_dask.schema import CLOUD_MAG
from opticam_dask.survey.arrivals import index_path, nights_folder
from opticam_dask.survey.extinction import clouds_told
from opticam_dask.survey.inventory import UNDATED, Inventory
from opticam_dask.survey.ledger import NAME as LEDGER_NAME
from opticam_dask.survey.ledger import empty, read_ledger
from opticam_dask.tables.quality import frame_quality

if TYPE_CHECKING:
    from collections.abc import Mapping

NAMES = {
    "night": "night",
    "camera": "camera",
    "status": "status",
    "why": "why",
    "found": "frames",
    "used": "used",
    "rejected": "rejected",
    "unaligned": "not aligned",
    "cloudy": "cloudy",
    "start": "first frame [UTC]",
    "hours": "length [h]",
    "exposure": "exposure [s]",
    "fwhm": "FWHM [pixel]",
    "seeing": "seeing [arcsec]",
    "sky": "sky [{unit} / pixel]",
    "extinction": "fainter by [mag]",
    "residual": "residual [pixel]",
    "stars": "stars",
    "identified": "with ID",
}
"""Columns of the table of nights and cameras of a survey, and what readers call them."""

NO_DATE = "no date"
"""Night of frames whose headers tell no time, for readers."""

_KEY = ["night", "camera"]
_RANGE = {"low": 0.16, "middle": 0.5, "high": 0.84}
_SPREAD = ("fwhm", "sky")


def ledger_of(out: Path) -> pd.DataFrame:
    """Ledger of a survey; empty if no night has been settled yet."""
    return read_ledger(out) if (out / LEDGER_NAME).is_file() else empty()


def waiting_nights(out: Path, ledger: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of nights that were found and have no row in the ledger."""
    nights = Inventory.load(out).nights
    left = sorted(set(nights) - set(ledger["night"]))
    return [
        {"night": night, "status": "pending", "why": nights[night].reason, "stands_out": True}
        for night in left
    ]


def quality_of_nights(out: Path, nights: Iterable[str]) -> pd.DataFrame:
    """Medians and ranges of what is known of the frames of each night and camera.

    Returns
    -------
    DataFrame
        ``night``, ``camera``, ``exposure``, and of ``fwhm`` and ``sky`` the median and, as ``<name>_low`` and
        ``<name>_high``, the 16th and 84th percentile. Nights without a catalogue have no row.
    """
    found = [row for night in nights if night != UNDATED for row in _quality(nights_folder(out) / night)]
    spread = [name if end == "middle" else f"{name}_{end}" for name in _SPREAD for end in _RANGE]
    return pd.DataFrame(found, columns=[*_KEY, "exposure", *spread])


def _quality(tree: Path) -> list[dict[str, Any]]:
    try:
        frames = frame_quality(tree)
    except OpticamError:
        # failed before it had a catalogue, or gone from the disk
        return []
    frames = frames.rename(columns={"background": "sky"})
    return [_spread(tree.name, str(camera), rows) for camera, rows in frames.groupby("camera")]


def _spread(night: str, camera: str, rows: pd.DataFrame) -> dict[str, Any]:
    row: dict[str, Any] = {"night": night, "camera": camera, "exposure": rows["exposure"].median()}
    for name in _SPREAD:
        for end, part in _RANGE.items():
            row[name if end == "middle" else f"{name}_{end}"] = rows[name].quantile(part)
    return row


def residuals_of_nights(sightings: pd.DataFrame) -> pd.DataFrame:
    """How far the sources of each night and camera are from the places of their objects.

    Parameters
    ----------
    sightings : DataFrame
        Of the master source table.

    Returns
    -------
    DataFrame
        ``night``, ``camera`` and the median distance, ``residual`` [pixel].
    """
    known = sightings[sightings["object_id"] != ""].rename(columns={"separation": "residual"})
    return known.groupby(_KEY, as_index=False)[["residual"]].median()


def rows_of_nights(ledger: pd.DataFrame, *known: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of the table of nights: the ledger with what else is known of each night and camera."""
    table = ledger
    for one in known:
        table = table.merge(one.drop(columns="fwhm", errors="ignore"), on=_KEY, how="left")
    rows = [{**row, **_told(row)} for row in facts.records(table)]
    # frames without a time come last
    return sorted(rows, key=lambda row: row["night"] == NO_DATE)


def _told(row: Mapping[str, Any]) -> dict[str, Any]:
    first = row["first"]
    return {
        "night": row["night"] or NO_DATE,
        "start": facts.utc(first) if np.isfinite(first) else "",
        "hours": row["duration"] / 3600.0,
        "stands_out": row["status"] != "reduced" or row["extinction"] >= CLOUD_MAG,
        "why": "; ".join(filter(None, (row["reason"], row["rejected_for"], clouds_told(row["extinction"])))),
    }


def rejected_in(out: Path, nights: Iterable[str]) -> pd.DataFrame:
    """Rejected frames of all nights and of none, as `facts.rejected` tells them."""
    indexes = [index_path(out, night) for night in sorted({*nights, UNDATED})]
    tables = [facts.rejected(path) for path in indexes if path.is_file()]
    filled = [table for table in tables if len(table)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=facts.REJECTED)
