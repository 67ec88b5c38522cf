"""Values against time or number: points where they are few, ranges where they are many."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_POINTS = 5_000
"""Values drawn one by one; more are drawn by their ranges in bins."""
BINS = 1_000
_MIDDLE = (16.0, 50.0, 84.0)
_CELLS = (400, 120)  # of a density, along x and y
_INNER = (0.5, 99.5)  # per cent: what an outlier does not move
_MARKS = 200  # steps along an edge


def plot_series(x: ArrayLike, y: ArrayLike, ax: Axes, *, colour: str = "#0072B2", label: str = "") -> Axes:
    """Draw values in order of x, however many there are.

    Parameters
    ----------
    x, y : array-like, shape (n,)
        Values; such as are not finite are left out.
    ax : Axes
        Where to draw.
    colour : str
        Colour of points and bands.
    label : str
        Name for the legend.

    Returns
    -------
    Axes
        The same Axes: up to `MOST_POINTS` points, or else, in `BINS` bins of equal width, the whole range
        (light), the middle 68 % (darker), and the median.
    """
    every = np.stack(np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64)))
    across, up = every[:, np.isfinite(every).all(axis=0)]
    if len(across) <= MOST_POINTS:
        ax.plot(across, up, ".", color=colour, markersize=3, label=label or None)
        return ax
    centre, low, bottom, middle, top, high = ranges_in_bins(across, up, BINS)
    # with an edge, or what happens in one bin alone could not be seen
    whole = ax.fill_between(centre, low, high, facecolor=(colour, 0.2), linewidth=0.4, rasterized=True)
    whole.set_edgecolor((colour, 0.5))
    ax.fill_between(centre, bottom, top, color=colour, alpha=0.4, linewidth=0, rasterized=True)
    ax.plot(centre, middle, color=colour, linewidth=0.8, label=label or None)
    return ax


def plot_density(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    ax: Axes,
    *,
    across: tuple[float, float] | None = None,
    colour: str = "#0072B2",
) -> Axes:
    """Draw how many points there are in each of some thousand cells: a point alone is pale, not invisible.

    Parameters
    ----------
    x, y : ndarray, shape (n,)
        Points, all finite; those outside of `in_view` of `y` are not drawn, see `mark_beyond`.
    ax : Axes
        Where to draw.
    across : pair of float, optional
        Range of x; that of the points by default.
    colour : str
        Colour of the fullest cell.

    Returns
    -------
    Axes
        The same Axes.
    """
    from matplotlib.colors import LinearSegmentedColormap, LogNorm, to_rgb

    across = across or (float(x.min()), float(x.max()))
    counts, columns, rows = np.histogram2d(x, y, bins=_CELLS, range=(across, in_view(y)))
    full, pale = to_rgb(colour), tuple(0.75 + 0.25 * part for part in to_rgb(colour))
    shades = LinearSegmentedColormap.from_list("shades", np.array([pale, full]))
    held = np.ma.masked_equal(counts.T, 0)
    norm = LogNorm(1, max(2.0, float(counts.max())))
    ax.pcolormesh(columns, rows, held, cmap=shades, norm=norm, rasterized=True)
    return ax


def in_view(y: NDArray[np.float64]) -> tuple[float, float]:
    """Range of an axis on which the values can be told apart, whatever a few outliers do.

    Parameters
    ----------
    y : ndarray, shape (n,)
        Finite values, n at least 1.

    Returns
    -------
    low, high : float
        Of the values within half the range of the middle 99 % of that range; so all of them if none lies
        farther out.
    """
    bottom, top = np.percentile(y, _INNER)
    room = 0.5 * (top - bottom)
    inside = y[(y >= bottom - room) & (y <= top + room)]
    low, high = float(inside.min()), float(inside.max())
    margin = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    return low - margin, high + margin


def mark_beyond(x: NDArray[np.float64], y: NDArray[np.float64], ax: Axes, *, colour: str = "#0072B2") -> Axes:
    """Set the range of y by `in_view`, with a triangle at the edge for what lies beyond.

    Parameters
    ----------
    x, y : ndarray, shape (n,)
        Points that are drawn, all finite.
    ax : Axes
        Their panel.
    colour : str
        Colour of the triangles, one in each of 200 steps along the edge.

    Returns
    -------
    Axes
        The same Axes.
    """
    if not len(y):
        return ax
    low, high = in_view(y)
    ends = (x.min(), x.max())
    for beyond, edge, mark in ((y < low, low, "v"), (y > high, high, "^")):
        if beyond.any():
            places = np.unique(np.rint(np.interp(x[beyond], ends, (0, _MARKS))))
            there = np.interp(places, (0, _MARKS), ends)
            ax.plot(there, np.full(len(there), edge), mark, color=colour, ms=4, mec="none", clip_on=False)
    ax.set_ylim(low, high)
    return ax


def ranges_in_bins(x: NDArray[np.float64], y: NDArray[np.float64], bins: int) -> NDArray[np.float64]:
    """Smallest, 16 %, median, 84 % and largest value in bins of equal width.

    Parameters
    ----------
    x, y : ndarray, shape (n,)
        Finite values, n at least 1.
    bins : int
        Bins between the smallest and the largest x.

    Returns
    -------
    ndarray, shape (6, bins)
        Centres of the bins, and the five numbers; NaN where a bin is empty, so that gaps stay gaps.
    """
    edges = np.linspace(x.min(), x.max(), bins + 1)
    place = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, bins - 1)
    order = np.lexsort((y, place))
    stops = np.searchsorted(place[order], np.arange(bins + 1))
    start, count = stops[:-1], np.diff(stops)
    found = np.full((6, bins), np.nan)
    found[0] = 0.5 * (edges[1:] + edges[:-1])
    full = count > 0
    for row, percent in enumerate((0.0, *_MIDDLE, 100.0), start=1):
        index = start + np.rint(percent / 100.0 * (count - 1)).astype(np.intp)
        found[row, full] = y[order][index[full]]
    return found
