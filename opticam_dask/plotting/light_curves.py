"""Light curves of one source, a panel a camera."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from opticam_dask.plotting.style import band_colour, new_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RASTERISE_ABOVE = 5_000


def plot_light_curve(
    curve: pd.DataFrame,
    ax: Axes,
    *,
    t_ref: float,
    label: str = "",
    colour: str = "#0072B2",
    time: str = "BMJD",
    unit: str = "adu",
) -> Axes:
    """Draw flux with its errors against time.

    Parameters
    ----------
    curve : DataFrame
        Light-curve rows of one source in one camera; NaN fluxes are left out.
    ax : Axes
        Where to draw.
    t_ref : float
        Time of the axis' zero [d], in the system of `time`.
    label : str
        Name of the curve for the legend.
    colour : str
        Colour of the points.
    time : {'BMJD', 'MJD'}
        Column of the time axis.
    unit : str
        Unit of the flux.

    Returns
    -------
    Axes
        The same Axes.
    """
    good = curve[np.isfinite(curve["flux"])]
    seconds = (good[time].to_numpy() - t_ref) * 86_400.0
    many = len(good) > RASTERISE_ABOVE
    ax.errorbar(
        seconds,
        good["flux"],
        None if many else good["flux_err"],
        fmt="," if many else ".",
        color=colour,
        elinewidth=0.8,
        label=label or None,
        rasterized=many,
    )
    ax.set_ylabel(f"flux [{unit}]")
    if label:
        ax.legend(loc="upper right", frameon=False)
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
    time = "BMJD" if all(np.isfinite(c["BMJD"]).any() for c in curves.values()) else "MJD"
    t_ref = _reference_time(curves, time)
    figure = new_figure(8, 1.2 + 1.7 * len(curves))
    axes = figure.subplots(len(curves), sharex=True, squeeze=False)[:, 0]
    for number, (ax, (camera, curve)) in enumerate(zip(axes, curves.items(), strict=True)):
        colour = band_colour(camera, number)
        plot_light_curve(curve, ax, t_ref=t_ref, label=camera, colour=colour, time=time, unit=unit)
    system = "TDB, barycentric" if time == "BMJD" else "UTC"
    axes[-1].set_xlabel(f"time since {time} {t_ref:.6f} ({system}) [s]")
    if title:
        figure.suptitle(title)
    return figure


def _reference_time(curves: Mapping[str, pd.DataFrame], time: str) -> float:
    firsts = [float(curve[time].min()) for curve in curves.values() if len(curve)]
    first = min((value for value in firsts if math.isfinite(value)), default=0.0)
    return math.floor(first * 1e5) / 1e5
