"""A transit: the periodogram it was found in, and the light curve folded on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from opticam_dask.plotting.envelope import envelope
from opticam_dask.plotting.style import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN_ABOVE = 3_000
"""Samples from which only means are drawn."""

_BINS = 60


def plot_box_periodogram(transit: Any, ax: Axes, *, colour: str = "#0072B2") -> Axes:
    """Draw the box-least-squares periodogram of an `opticam_dask.analysis.Transit` and mark its period."""
    order = np.argsort(transit.periods)
    x, y = envelope(transit.periods[order], transit.power[order])
    ax.plot(x, y, color=colour, lw=1)
    ax.axvline(transit.period, color="0.2", ls="--", lw=1, label=f"period {transit.period:.5g} s")
    ax.set_xlabel("period [s]")
    ax.set_ylabel("log-likelihood of the box")
    ax.legend(loc="lower right", fontsize="small", framealpha=0.8, edgecolor="none")
    return ax


def plot_transit(curve: Any, transit: Any, ax: Axes, *, colour: str = "#0072B2") -> Axes:
    """Draw a light curve around a transit, with the box.

    Parameters
    ----------
    curve : opticam_dask.analysis.LightCurve
        What it was found in; of more than 3 000 samples means are drawn, with their errors.
    transit : opticam_dask.analysis.Transit
        What was found.
    ax : Axes
        Where to draw.
    colour : str
        Colour of the points.

    Returns
    -------
    Axes
        The same Axes.
    """
    middle = (transit.transit_time - curve.epoch) * 86_400.0
    since = (curve.seconds - middle + 0.5 * transit.period) % transit.period - 0.5 * transit.period
    near = np.abs(since) < 2.5 * transit.duration
    outside = np.median(curve.flux[~(np.abs(since) < 0.5 * transit.duration)])
    x, y, error = since[near], curve.flux[near] / outside, curve.flux_err[near] / outside
    if len(x) > SHOWN_ABOVE:
        x, y, error = _means(x, y, error)
    ax.errorbar(x, y, error, fmt=".", ms=4, color=colour, elinewidth=0.7)
    half = 0.5 * transit.duration
    low = 1.0 - transit.depth
    label = f"depth {100 * transit.depth:.3f} ± {100 * transit.depth_err:.3f} %"
    ax.plot([-5 * half, -half, -half, half, half, 5 * half], [1, 1, low, low, 1, 1], "-", color="#D55E00")
    ax.lines[-1].set_label(label)
    ax.set_xlabel("time from the middle of the transit [s]")
    ax.set_ylabel("relative flux")
    ax.legend(loc="lower right", fontsize="small", framealpha=0.8, edgecolor="none")
    return ax


def transit_figure(curve: Any, transit: Any, *, title: str = "") -> Figure:
    """Figure of a transit: periodogram above, folded light curve below."""
    figure = new_figure(7, 5.2)
    above, below = figure.subplots(2)
    plot_box_periodogram(transit, above)
    plot_transit(curve, transit, below)
    if title:
        figure.suptitle(title)
    return figure


def _means(x: Any, y: Any, error: Any) -> tuple[Any, Any, Any]:
    edges = np.linspace(x.min(), np.nextafter(x.max(), np.inf), _BINS + 1)
    number = np.searchsorted(edges, x, side="right") - 1
    n = np.bincount(number, minlength=_BINS)
    held = n > 0
    mean = np.bincount(number, y, _BINS)[held] / n[held]
    spread = np.sqrt(np.bincount(number, error**2, _BINS)[held]) / n[held]
    return (0.5 * (edges[:-1] + edges[1:]))[held], mean, spread
