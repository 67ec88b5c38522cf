"""Quality of the nights of a survey over its whole time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from opticam_dask.plotting.style import band_colour, new_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LABELS = {
    "fwhm": "FWHM [pixel]",
    "sky": "sky [{unit} / pixel]",
    "extinction": "stars fainter\nby [mag]",
    "residual": "residual [pixel]",
}
_WIDTH, _PANEL = 8.6, 1.9  # inches


def nightly_figure(nights: pd.DataFrame, failed: Sequence[str], unit: str) -> Figure:
    """Figure of the nights: a panel each for seeing, sky, faintness and match residuals, a colour a camera.

    Parameters
    ----------
    nights : DataFrame
        One row per night and camera: ``night``, ``camera`` and the columns of `LABELS`; where there are
        ``<column>_low`` and ``<column>_high``, they are drawn as bars.
    failed : sequence of str
        Nights without light curves; dotted lines.
    unit : str
        Unit of the pixels.

    Returns
    -------
    Figure
        Its horizontal axis are dates.
    """
    figure = new_figure(_WIDTH, _PANEL * len(LABELS) + 0.4)
    axes = figure.subplots(len(LABELS), 1, sharex=True)
    for ax, (column, label) in zip(axes, LABELS.items(), strict=True):
        for number, (camera, rows) in enumerate(nights.groupby("camera")):
            _draw(rows, column, ax, band_colour(str(camera), number), str(camera))
        for place, night in enumerate(failed):
            name = None if place else "no light curves"
            ax.axvline(np.datetime64(night), color="0.35", linestyle=":", linewidth=1.2, label=name)
        ax.set_ylabel(label.format(unit=unit))
        ax.grid(axis="y", color="0.9", linewidth=0.6)
    axes[list(LABELS).index("extinction")].invert_yaxis()
    axes[0].legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=8, frameon=False, fontsize=8)
    axes[-1].set_xlabel("night")
    axes[-1].tick_params(axis="x", labelsize=8)
    return figure


def _draw(rows: pd.DataFrame, column: str, ax: Axes, colour: str, name: str) -> None:
    dates, values = rows["night"].to_numpy("datetime64[D]"), rows[column].to_numpy(float)
    if f"{column}_low" in rows:
        ends = (rows[f"{column}_low"].to_numpy(float), rows[f"{column}_high"].to_numpy(float))
        ax.vlines(dates, *ends, color=colour, alpha=0.4, linewidth=2)
    ax.plot(dates, values, "o", color=colour, markersize=4, label=name)
