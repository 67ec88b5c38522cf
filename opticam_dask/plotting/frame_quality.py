"""Sky and seeing over time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from opticam_dask.plotting.series import plot_series
from opticam_dask.plotting.style import band_colour, new_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LABELS = {
    "background": "sky [{unit} / pixel]",
    "background_rms": "scatter of the sky [{unit} / pixel]",
    "fwhm": "FWHM [pixel]",
    "transparency": "transparency",
    "cloud": "cloud [mag]",
    "shift_x": "shift in x [pixel]",
    "shift_y": "shift in y [pixel]",
    "rotation": "rotation [deg]",
}
"""Columns of the frame-quality table that are drawn over time, and their names for readers."""


def plot_over_time(
    rows: pd.DataFrame,
    column: str,
    ax: Axes,
    *,
    t_ref: float,
    time: str = "MJD",
    colour: str = "#0072B2",
    unit: str = "adu",
) -> Axes:
    """Draw a column of the frame-quality table against time.

    Parameters
    ----------
    rows : DataFrame
        Frames of one camera with ``MJD`` or ``BMJD`` [d] and the column, as `opticam_dask.frame_quality`
        returns them.
    column : str
        One of `LABELS`.
    ax : Axes
        Where to draw.
    t_ref : float
        Time of the axis' zero [d].
    time : {'MJD', 'BMJD'}
        Column of the time axis.
    colour : str
        Colour of the points.
    unit : str
        Unit of the pixels.

    Returns
    -------
    Axes
        The same Axes; frames without a value are left out.
    """
    plot_series((rows[time] - t_ref) * 86_400.0, rows[column], ax, colour=colour)
    ax.set_ylabel(LABELS[column].format(unit=unit))
    return ax


def over_time_figure(
    cameras: Mapping[str, pd.DataFrame], columns: tuple[str, ...], *, unit: str = "adu"
) -> Figure:
    """Figure of columns of the frame-quality table over time: a row a column, a panel a camera."""
    time = "BMJD" if all(np.isfinite(rows["BMJD"]).any() for rows in cameras.values()) else "MJD"
    firsts = [float(rows[time].min()) for rows in cameras.values() if np.isfinite(rows[time]).any()]
    t_ref = np.floor(min(firsts, default=0.0) * 1e5) / 1e5
    figure = new_figure(4.2 * len(cameras) + 0.4, 2.6 * len(columns) + 0.5)
    axes = figure.subplots(len(columns), len(cameras), squeeze=False, sharex="col")
    for place, (camera, rows) in enumerate(cameras.items()):
        colour = band_colour(camera, place)
        for row, column in enumerate(columns):
            plot_over_time(rows, column, axes[row, place], t_ref=t_ref, time=time, colour=colour, unit=unit)
        axes[0, place].set_title(camera)
        axes[-1, place].set_xlabel(f"time since {time} {t_ref:.5f} [s]")
    return figure
