"""Relative light curves, and how good the comparison stars are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from opticam_dask.plotting.labels import name_points, plain_ticks
from opticam_dask.plotting.series import mark_beyond, plot_density
from opticam_dask.plotting.style import band_colour, new_figure
from opticam_dask.plotting.time_axis import TimeAxis

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MANY = 5_000
"""Rows above which the density of the points is drawn, with binned means on top."""
_BINS = 200
_USED, _VARIABLE, _OTHER = "#0072B2", "#D55E00", "#999999"
_MOST_BARS = 25


def plot_relative(
    curve: pd.DataFrame,
    ax: Axes,
    *,
    flux: str = "norm_flux",
    axis: TimeAxis | None = None,
    colour: str = _USED,
    label: str = "",
) -> Axes:
    """Draw a relative light curve against time; of many points, their density and means of bins.

    Parameters
    ----------
    curve : DataFrame
        Columns of `opticam_dask.schema.RELATIVE`; rows without a flux are left out.
    ax : Axes
        Where to draw.
    flux : {'norm_flux', 'rel_flux', 'transparency'}
        What to draw; its error is in ``<flux>_err``.
    axis : TimeAxis, optional
        Time axis; by default one that suits the curve.
    colour, label : str
        Of the points.

    Returns
    -------
    Axes
        The same Axes. A few outliers do not set its range: they are triangles at the edge.
    """
    axis = axis or TimeAxis.of([curve])
    good = curve[np.isfinite(curve[flux]) & np.isfinite(curve[axis.name])]
    time, values, errors = axis.since(good), good[flux].to_numpy(), good[f"{flux}_err"].to_numpy()
    if len(good) > MANY:
        plot_density(time, values, ax, colour=colour)
        ax.errorbar(*_binned(time, values, errors), fmt=".", ms=3, color="black", elinewidth=0.8)
    else:
        ax.errorbar(time, values, errors, fmt=".", color=colour, elinewidth=0.8)
    mark_beyond(time, values, ax, colour=colour)
    ax.set(xlabel=axis.label, ylabel=_LABELS[flux])
    if label:
        ax.set_title(label, loc="right", fontsize="small", pad=2)
    return ax


_LABELS = {
    "norm_flux": "flux / median",
    "rel_flux": "flux / comparison stars",
    "transparency": "transparency",
}


def _binned(
    time: NDArray[np.float64], values: NDArray[np.float64], errors: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Means of stretches of equal length, with the errors of the means; empty ones are left out."""
    edges = np.linspace(time.min(), time.max(), _BINS + 1)
    bin_of = np.clip(np.searchsorted(edges, time, side="right") - 1, 0, _BINS - 1)
    count = np.bincount(bin_of, minlength=_BINS)
    filled = count > 0
    n = count[filled]
    middle, mean = (np.bincount(bin_of, each, _BINS)[filled] / n for each in (time, values))
    error = np.sqrt(np.bincount(bin_of, errors**2, _BINS)[filled]) / n
    return middle, mean, error


def relative_figure(curve: pd.DataFrame, *, title: str = "", colour: str | None = None) -> Figure:
    """Figure of a relative light curve, above the transparency that was taken out of it.

    Parameters
    ----------
    curve : DataFrame
        Columns of `opticam_dask.schema.RELATIVE`, of one camera.
    title : str
        Title of the figure.
    colour : str, optional
        Colour of the points; by default that of the band.
    """
    camera = str(curve["camera"].iloc[0]) if len(curve) else ""
    figure = new_figure(8, 4.6)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
    axis = TimeAxis.of([curve])
    plot_relative(curve, above, axis=axis, colour=colour or band_colour(camera), label=camera)
    plot_relative(curve, below, flux="transparency", axis=axis, colour="#666666")
    above.label_outer()
    if title:
        figure.suptitle(title)
    return figure


def plot_comparison_scatter(stars: pd.DataFrame, ax: Axes, *, unit: str = "adu") -> Axes:
    """Draw the relative scatter of each candidate about the other stars against its mean flux.

    Parameters
    ----------
    stars : DataFrame
        Columns of `opticam_dask.comparison_stars`, of one night and camera.
    ax : Axes
        Where to draw, both axes logarithmic.
    unit : str
        Unit of the counts.

    Returns
    -------
    Axes
        The same Axes.
    """
    known = stars[np.isfinite(stars["rms"]) & (stars["flux"] > 0)].sort_values("flux")
    if not len(known):
        ax.text(0.5, 0.5, "one star: nothing to compare it with", ha="center", transform=ax.transAxes)
    # marks, not lines: what is expected of a star depends on those it is compared with, too
    ax.plot(known["flux"], 100 * known["expected"], "_", color="#888888", ms=18, mew=1.5, label="errors")
    ax.plot(known["flux"], 100 * known["typical"], "_", color="black", ms=12, mew=1.5, label="usual")
    variable = known["reason"].str.startswith("variable")
    groups = (
        (known[known["used"]], "o", _USED, "used"),
        (known[variable], "X", _VARIABLE, "variable, not used"),
        (known[~known["used"] & ~variable], "s", _OTHER, "not used"),
    )
    for rows, marker, colour, label in groups:
        if len(rows):
            ax.plot(rows["flux"], 100 * rows["rms"], marker, color=colour, ms=6, mec="white", label=label)
    first = known.assign(variable=variable).sort_values(["variable", "flux"], ascending=False)
    places = np.column_stack([first["flux"], 100 * first["rms"]])
    name_points(first["source"], places, ax, log=True)
    if len(known):
        ax.set(xscale="log", yscale="log")
        plain_ticks(ax)
    ax.set(xlabel=f"mean flux [{unit} / s]", ylabel="scatter in one frame [%]")
    ax.legend(loc="lower left", frameon=False, fontsize=8)
    return ax


def plot_comparison_weights(stars: pd.DataFrame, ax: Axes) -> Axes:
    """Draw the share of each candidate in the transparency, rejected ones with the reason.

    Parameters
    ----------
    stars : DataFrame
        Columns of `opticam_dask.comparison_stars`, of one night and camera; the 25 of most flux are drawn.
    ax : Axes
        Where to draw.

    Returns
    -------
    Axes
        The same Axes.
    """
    rows = stars.sort_values(["flux", "source"], ascending=[False, True]).head(_MOST_BARS)
    place = np.arange(len(rows))
    ax.barh(place, 100 * rows["weight"].fillna(0.0), color=_USED)
    for y, reason in enumerate(rows["reason"]):
        if reason:
            colour = _VARIABLE if reason.startswith("variable") else "#555555"
            ax.text(
                0.02, y, reason, color=colour, va="center", fontsize=7, transform=ax.get_yaxis_transform()
            )
    ax.set_yticks(place, [str(source) for source in rows["source"]])
    ax.invert_yaxis()
    rest = f" (the {len(rows)} brightest of {len(stars)})" if len(stars) > len(rows) else ""
    ax.set(xlabel="weight [%]", ylabel=f"source{rest}")
    return ax


def comparisons_figure(stars: pd.DataFrame, *, title: str = "", unit: str = "adu") -> Figure:
    """Figure of the candidates for comparison of one night and camera: weights, and scatter against flux."""
    figure = new_figure(10.5, 4.2)
    left, right = figure.subplots(1, 2)
    plot_comparison_weights(stars, left)
    plot_comparison_scatter(stars, right, unit=unit)
    if title:
        figure.suptitle(title)
    return figure
