"""Light curves of one source, a panel a camera."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from opticam_dask.plotting.series import mark_beyond, plot_density
from opticam_dask.plotting.style import band_colour, new_figure
from opticam_dask.plotting.time_axis import TimeAxis

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DENSITY_ABOVE = 5_000
"""Rows from which their density is drawn instead of them."""


def plot_light_curve(
    curve: pd.DataFrame,
    ax: Axes,
    *,
    axis: TimeAxis | None = None,
    label: str = "",
    colour: str = "#0072B2",
    unit: str = "adu",
) -> Axes:
    """Draw flux with its errors against time; of many rows, their density.

    Parameters
    ----------
    curve : DataFrame
        Light-curve rows of one source in one camera; NaN fluxes are left out.
    ax : Axes
        Where to draw.
    axis : TimeAxis, optional
        Time axis; by default one that suits the curve.
    label : str
        Name of the curve, above the panel.
    colour : str
        Colour of the points.
    unit : str
        Unit of the flux.

    Returns
    -------
    Axes
        The same Axes. A few outliers do not set its range: they are triangles at the edge.
    """
    axis = axis or TimeAxis.of([curve])
    good = curve[np.isfinite(curve["flux"]) & np.isfinite(curve[axis.name])]
    time, flux = axis.since(good), good["flux"].to_numpy()
    if len(good) > DENSITY_ABOVE:
        plot_density(time, flux, ax, colour=colour)
    else:
        ax.errorbar(time, flux, good["flux_err"], fmt=".", color=colour, elinewidth=0.8)
    mark_beyond(time, flux, ax, colour=colour)
    ax.set(xlabel=axis.label, ylabel=f"flux [{unit}]")
    if label:
        ax.set_title(label, loc="right", fontsize="small", pad=2)
    return ax


def light_curve_figure(curves: Mapping[str, pd.DataFrame], *, title: str = "", unit: str = "adu") -> Figure:
    """Figure of one source's light curves, a panel a camera over a common time axis.

    Parameters
    ----------
    curves : mapping of str to DataFrame
        Light-curve rows by camera.
    title : str
        Title of the figure.
    unit : str
        Unit of the flux.
    """
    axis = TimeAxis.of(curves.values())
    figure = new_figure(8, 1.2 + 1.7 * len(curves))
    axes = figure.subplots(len(curves), sharex=True, squeeze=False)[:, 0]
    for number, (ax, (camera, curve)) in enumerate(zip(axes, curves.items(), strict=True)):
        plot_light_curve(curve, ax, axis=axis, label=camera, colour=band_colour(camera, number), unit=unit)
        ax.label_outer()
    if title:
        figure.suptitle(title)
    return figure
