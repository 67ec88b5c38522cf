"""Sky and seeing over time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from opticam_dask.plotting.series import plot_series
from opticam_dask.plotting.style import band_colour, new_figure
from opticam_dask.plotting.time_axis import TimeAxis

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
    axis: TimeAxis | None = None,
    colour: str = "#0072B2",
    unit: str = "adu",
) -> Axes:
    """Draw a column of the frame-quality table against time.

    Parameters
    ----------
    rows : DataFrame
        Frames of one camera with ``MJD`` and ``BMJD`` [d] and the column, as `opticam_dask.frame_quality`
        returns them.
    column : str
        One of `LABELS`.
    ax : Axes
        Where to draw.
    axis : TimeAxis, optional
        Time axis; by default one that suits the rows.
    colour : str
        Colour of the points.
    unit : str
        Unit of the pixels.

    Returns
    -------
    Axes
        The same Axes; frames without a value are left out.
    """
    axis = axis or TimeAxis.of([rows])
    plot_series(axis.since(rows), rows[column], ax, colour=colour)
    ax.set(xlabel=axis.label, ylabel=LABELS[column].format(unit=unit))
    return ax


def over_time_figure(
    cameras: Mapping[str, pd.DataFrame], columns: tuple[str, ...], *, unit: str = "adu"
) -> Figure:
    """Figure of columns of the frame-quality table over time: a row a column, a panel a camera."""
    axis = TimeAxis.of(cameras.values())
    figure = new_figure(4.2 * len(cameras) + 0.4, 2.2 * len(columns) + 0.7)
    axes = figure.subplots(len(columns), len(cameras), squeeze=False, sharex="col", sharey="row")
    for place, (camera, rows) in enumerate(cameras.items()):
        for row, column in enumerate(columns):
            colour = band_colour(camera, place)
            ax = plot_over_time(rows, column, axes[row, place], axis=axis, colour=colour, unit=unit)
            ax.set(xlabel="", ylabel="" if place else ax.get_ylabel())
        axes[0, place].set_title(camera)
    figure.supxlabel(axis.label, fontsize="medium")
    return figure
