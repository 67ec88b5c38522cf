"""Time stamps of the headers: where frames are missing, and how even the cadence is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from opticam_dask.plotting.series import plot_series
from opticam_dask.plotting.style import band_colour, new_figure
from opticam_dask.plotting.time_axis import time_unit

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

_UNEVEN = 20.0  # longest over median interval from which an axis is logarithmic
_HISTOGRAM_BINS = 60


def intervals(rows: pd.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Time from each frame's predecessor of the same night.

    Parameters
    ----------
    rows : DataFrame
        Accepted frames of one camera with ``night``, ``frame`` and ``MJD`` [d].

    Returns
    -------
    number : ndarray of int64, shape (n,)
        Number of the frame, counted over all nights from 1.
    interval : ndarray, shape (n,) [s]
        Time since the frame before; NaN if one of them has none. A night's first frame is left out.
    """
    ordered = rows.sort_values(["night", "frame"])
    gaps = np.diff(ordered["MJD"].to_numpy(np.float64)) * 86_400.0
    night = ordered["night"].to_numpy()
    same = np.asarray(night[1:] == night[:-1], bool)
    return np.flatnonzero(same) + 2, gaps[same]


def plot_elapsed_times(rows: pd.DataFrame, ax: Axes, *, colour: str = "#0072B2") -> Axes:
    """Draw the time since the first frame against the number of the frame: a gap is a step.

    Parameters
    ----------
    rows : DataFrame
        As for `intervals`.
    ax : Axes
        Where to draw.
    colour : str
        Colour of the points.
    """
    mjd = rows.sort_values(["night", "frame"])["MJD"].to_numpy(np.float64)
    first = np.nanmin(mjd) if np.isfinite(mjd).any() else 0.0
    seconds = (mjd - first) * 86_400.0
    unit, length = time_unit(float(np.nanmax(seconds, initial=0.0)))
    plot_series(np.arange(1, len(mjd) + 1), seconds / length, ax, colour=colour)
    ax.set(xlabel="number of the frame", ylabel=f"time since the first frame [{unit}]")
    ax.locator_params(axis="x", nbins=4)
    return ax


def plot_intervals(rows: pd.DataFrame, ax: Axes, *, colour: str = "#0072B2") -> Axes:
    """Draw the time from frame to frame against the number of the frame.

    Parameters
    ----------
    rows : DataFrame
        As for `intervals`.
    ax : Axes
        Where to draw; logarithmic where some intervals are far longer than most.
    colour : str
        Colour of the points.
    """
    number, seconds = intervals(rows)
    plot_series(number, seconds, ax, colour=colour)
    ax.set(xlabel="number of the frame", ylabel="time since the frame before [s]")
    ax.locator_params(axis="x", nbins=4)
    if _is_uneven(seconds):
        ax.set_yscale("log")
    elif np.isfinite(seconds).any():
        # Rounding of the time stamps is no unevenness.
        middle = float(np.nanmedian(seconds))
        ax.set_ylim(min(ax.get_ylim()[0], 0.95 * middle), max(ax.get_ylim()[1], 1.05 * middle))
    return ax


def plot_interval_histogram(rows: pd.DataFrame, ax: Axes, *, colour: str = "#0072B2") -> Axes:
    """Draw how often each time from frame to frame occurs.

    Parameters
    ----------
    rows : DataFrame
        As for `intervals`.
    ax : Axes
        Where to draw.
    colour : str
        Colour of the steps.
    """
    _, seconds = intervals(rows)
    seconds = seconds[np.isfinite(seconds)]
    if seconds.size:
        ax.hist(seconds, bins=_edges(seconds).tolist(), histtype="step", color=colour)
    ax.set(xlabel="time since the frame before [s]", ylabel="number of frames", yscale="log")
    ax.set_ylim(bottom=0.5)  # a single frame shows
    if _is_uneven(seconds):
        ax.set_xscale("log")
    return ax


def _is_uneven(seconds: NDArray[np.float64]) -> bool:
    """Whether an axis with these intervals must be logarithmic to show most of them."""
    known = seconds[np.isfinite(seconds)]
    return bool(known.size and known.min() > 0 and known.max() > _UNEVEN * np.median(known))


def _edges(seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Edges of the bins; a cadence that is even to rounding is one bin, not noise."""
    low, high = float(seconds.min()), float(seconds.max())
    if high - low < 1e-3 * max(abs(high), 1e-3):
        return np.array([low, high]) + 0.05 * max(abs(high), 1e-3) * np.array([-1.0, 1.0])
    if _is_uneven(seconds):
        return np.geomspace(low, high, _HISTOGRAM_BINS + 1)
    return np.linspace(low, high, _HISTOGRAM_BINS + 1)


def header_times_figure(cameras: Mapping[str, pd.DataFrame]) -> Figure:
    """Figure of the time stamps of all cameras: elapsed time, intervals, and how often each occurs."""
    figure = new_figure(4.2 * len(cameras) + 0.4, 8.4)
    axes = figure.subplots(3, len(cameras), squeeze=False)
    for number, (camera, rows) in enumerate(cameras.items()):
        colour = band_colour(camera, number)
        plot_elapsed_times(rows, axes[0, number], colour=colour).set_title(camera)
        plot_intervals(rows, axes[1, number], colour=colour)
        plot_interval_histogram(rows, axes[2, number], colour=colour)
    return figure
