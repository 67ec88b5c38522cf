"""How much fainter the stars of a night are than in the clear nights of the survey.

A frame is flagged as cloudy where it is worse than the clear frames of its own night; a night that is cloudy
all through shows only beside others, through the stars they have in common.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from opticam_dask.schema import CLOUD_MAG
from opticam_dask.survey.ledger import read_ledger, update_ledger

if TYPE_CHECKING:
    import pandas as pd

LEAST_NIGHTS = 3
"""Nights that must have a star, and that a camera must have in a field."""
LEAST_STARS = 3
"""Stars that a night must have in common with others."""
CLEAR = 0.2
"""Part of the nights which are taken for clear: the brightest."""
_KEY = ["night", "camera"]


def extinctions(sightings: pd.DataFrame, exptime: pd.DataFrame) -> pd.DataFrame:
    """Extinction of each night and camera, relative to the clear nights of its field.

    Parameters
    ----------
    sightings : DataFrame
        Of the master source table.
    exptime : DataFrame
        Columns ``night``, ``camera`` and ``exptime`` [s]; fluxes are counts of one exposure.

    Returns
    -------
    DataFrame
        ``night``, ``camera`` and ``extinction`` [mag]: the median, over its stars, of how much fainter each
        is than in the median of its nights, less the same for the clear nights. Nights of which too little
        is known have no row.
    """
    known = sightings[(sightings["object_id"] != "") & (sightings["flux"] > 0) & ~sightings["blended"]]
    known = known.merge(exptime[exptime["exptime"] > 0], on=_KEY)
    magnitude = (known["flux"] / known["exptime"]).map(np.log10) * -2.5
    of_star = magnitude.groupby([known["object_id"], known["camera"]])
    fainter = (magnitude - of_star.transform("median")).where(of_star.transform("count") >= LEAST_NIGHTS)
    groups = known.assign(fainter=fainter).dropna(subset=["fainter"]).groupby(["field_id", *_KEY])["fainter"]
    nights = groups.agg(["median", "count"]).query(f"count >= {LEAST_STARS}").reset_index()
    of_camera = nights.groupby(["field_id", "camera"])["median"]
    clear = of_camera.transform("quantile", CLEAR).where(of_camera.transform("count") >= LEAST_NIGHTS)
    return nights.assign(extinction=nights["median"] - clear)[[*_KEY, "extinction"]].dropna()


def clouds_told(extinction: float) -> str:
    """Words on a night whose stars are so much fainter [mag] than in clear ones; none if that is no cloud."""
    if not extinction >= CLOUD_MAG:
        return ""
    return f"cloudy: its stars are {extinction:.2f} mag fainter than in clear nights"


def note_extinctions(out: Path, sightings: pd.DataFrame) -> None:
    """Enter the extinction of all nights into the ledger: a new night tells something of the others."""
    ledger = read_ledger(out)
    found = extinctions(sightings, ledger[[*_KEY, "exptime"]]).set_index(_KEY)["extinction"]
    new = found.reindex(list(zip(ledger["night"], ledger["camera"], strict=True))).to_numpy(float)
    update_ledger(out, {str(night): rows for night, rows in ledger.assign(extinction=new).groupby("night")})
