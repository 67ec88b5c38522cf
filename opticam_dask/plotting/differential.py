"""Relative light curves, and how good the comparison stars are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from opticam_dask.plotting.style import band_colour, new_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MANY = 5_000
"""Rows above which points are drawn as pixels, with binned means on top."""
_BINS = 200
_USED, _VARIABLE, _OTHER = "#0072B2", "#D55E00", "#999999"
_INSIDE = 99.8  # per cent of the points that the axis spans


def plot_relative(
    curve: pd.DataFrame,
    ax: Axes,
    *,
    flux: str = "norm_flux",
    time: str = "BMJD",
    t_ref: float | None = None,
    colour: str = _USED,
    label: str = "",
) -> Axes:
    """Draw a relative light curve against time; of many points, every one as a pixel and means of bins.

    Parameters
    ----------
    curve : DataFrame
        Columns of `opticam_dask.schema.RELATIVE`; rows without a flux are left out.
    ax : Axes
        Where to draw.
    flux : {'norm_flux', 'rel_flux', 'transparency'}
        What to draw; its error is in ``<flux>_err``.
    time : {'BMJD', 'MJD'}
        Column of the times.
    t_ref : float, optional
        Time of the axis' zero [d]; by default the first of the curve, rounded down.
    colour, label : str
        Of the points.

    Returns
    -------
    Axes
        The same Axes.
    """
    good = curve[np.isfinite(curve[flux]) & np.isfinite(curve[time])]
    hours = (good[time].to_numpy() - (_first(curve, time) if t_ref is None else t_ref)) * 24.0
    values, errors = good[flux].to_numpy(), good[f"{flux}_err"].to_numpy()
    if len(good) > MANY:
        ax.plot(hours, values, ",", color=colour, alpha=0.3, rasterized=True)
        middle, mean, error = _binned(hours, values, errors)
        ax.errorbar(middle, mean, error, fmt=".", ms=3, color="black", elinewidth=0.8, label=label or None)
    else:
        ax.errorbar(hours, values, errors, fmt=".", color=colour, elinewidth=0.8, label=label or None)
    if len(values):
        low, high = np.percentile(values, [100 - _INSIDE, _INSIDE])
        room = 0.15 * (high - low) + (0.0 if len(good) > MANY else float(np.median(errors)))
        ax.set_ylim(low - room, high + room)
    ax.set_ylabel(_LABELS[flux])
    if label:
        ax.legend(loc="upper right", frameon=False, fontsize=8)
    return ax


_LABELS = {
    "norm_flux": "flux / median",
    "rel_flux": "flux / comparison stars",
    "transparency": "transparency",
}


def _binned(
    hours: NDArray[np.float64], values: NDArray[np.float64], errors: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Means of stretches of equal length, with the errors of the means; empty ones are left out."""
    edges = np.linspace(hours.min(), hours.max(), _BINS + 1)
    bin_of = np.clip(np.searchsorted(edges, hours, side="right") - 1, 0, _BINS - 1)
    count = np.bincount(bin_of, minlength=_BINS)
    filled = count > 0
    n = count[filled]
    time, mean = (np.bincount(bin_of, each, _BINS)[filled] / n for each in (hours, values))
    error = np.sqrt(np.bincount(bin_of, errors**2, _BINS)[filled]) / n
    return time, mean, error


def _first(curve: pd.DataFrame, time: str) -> float:
    times = curve[time].to_numpy()
    times = times[np.isfinite(times)]
    return float(np.floor(times.min() * 1e3) / 1e3) if len(times) else 0.0


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
    time = "BMJD" if np.isfinite(curve["BMJD"]).any() else "MJD"
    t_ref = _first(curve, time)
    camera = str(curve["camera"].iloc[0]) if len(curve) else ""
    figure = new_figure(8, 4.6)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
    chosen = colour or band_colour(camera)
    plot_relative(curve, above, time=time, t_ref=t_ref, colour=chosen, label=camera)
    plot_relative(curve, below, flux="transparency", time=time, t_ref=t_ref, colour="#666666")
    system = "TDB, barycentric" if time == "BMJD" else "UTC"
    below.set_xlabel(f"time since {time} {t_ref:.3f} ({system}) [h]")
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
    for flux, rms, source in zip(known["flux"], known["rms"], known["source"], strict=True):
        ax.annotate(str(source), (flux, 100 * rms), (5, 4), textcoords="offset points", fontsize=8)
    if len(known):
        ax.set(xscale="log", yscale="log")
        _plain_ticks(ax)
    ax.set(xlabel=f"mean flux [{unit} / s]", ylabel="scatter in one frame [%]")
    ax.legend(frameon=False, fontsize=8)
    return ax


def _plain_ticks(ax: Axes) -> None:
    """Write numbers at the ticks of logarithmic axes, as many as have room."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())


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
    rows = stars.sort_values(["flux", "source"], ascending=[False, True]).head(25)
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
    ax.set(xlabel="weight [%]", ylabel="source")
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
