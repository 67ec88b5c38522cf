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
    ax.fill_between(centre, low, high, color=colour, alpha=0.2, linewidth=0, rasterized=True)
    ax.fill_between(centre, bottom, top, color=colour, alpha=0.4, linewidth=0, rasterized=True)
    ax.plot(centre, middle, color=colour, linewidth=0.8, label=label or None)
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
