"""Scatter of the light curves of a survey, night by night and over all nights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from opticam_dask.report.curves import Folder, rows_in
from opticam_dask.tables.source_quality import summed_up

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = ("rows", "measured", "flux", "flux_err", "rms", "snr")
_FEW = 3  # objects of a night, of which two always agree on what they share


def scatter_in_night(folder: Folder, least: int) -> pd.DataFrame:
    """Sum up the light curves of a folder.

    Parameters
    ----------
    folder : Folder
        Which.
    least : int
        Curves with fewer good measurements are left out.

    Returns
    -------
    DataFrame
        One row per object: ``object_id``, ``night``, ``camera``, and what `summed_up` tells.
    """
    import pandas as pd

    curves = dict(iter(rows_in(folder).groupby(folder.identity)))
    table = pd.DataFrame([summed_up(rows) for rows in curves.values()], columns=list(_COLUMNS))
    named = table.assign(object_id=list(curves), night=folder.night, camera=folder.camera)
    return named[named["measured"] >= least]


def scatter_over_nights(nights: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Sum up the light curves of a camera over all nights.

    Parameters
    ----------
    nights : sequence of DataFrame
        What `scatter_in_night` gives, at least one.

    Returns
    -------
    DataFrame
        One row per object: ``object_id``, medians over the nights of ``flux`` and ``flux_err``, and ``rms``:
        the squares of the scatter of each night about its own median, and of that median about the median
        of all nights, are added. What the objects of a night have in common with each other against other
        nights, such as thin cloud, is taken out first if they are three or more.
    """
    import pandas as pd

    table = pd.concat(nights, ignore_index=True)
    ratio = table["flux"] / table.groupby("object_id")["flux"].transform("median")
    shared = ratio.groupby(table["night"])
    scale = shared.transform("median").where(shared.transform("count") >= _FEW, 1.0)
    for name in ("flux", "flux_err", "rms"):
        table[name] /= scale
    by_object = table.groupby("object_id")
    offset = table["flux"] - by_object["flux"].transform("median")
    squares = table["measured"] * (table["rms"] ** 2 + offset**2)
    found = by_object[["flux", "flux_err"]].median()
    total = squares.groupby(table["object_id"]).sum() / by_object["measured"].sum()
    return found.assign(rms=np.sqrt(total)).reset_index()
