"""Numbers beside points, as many as can be read, and ticks of logarithmic axes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_NAMES = 60
_APART = (0.04, 0.05)  # of the range of the points; nearer names would cover each other
_FEW_DECADES = 2.0


def name_points(
    names: Iterable[Any],
    places: NDArray[np.float64],
    ax: Axes,
    *,
    log: bool = False,
    colour: str = "black",
    size: float = 8.0,
    away: float = 4.0,
) -> None:
    """Write names beside points; where they are crowded, those that come first.

    Parameters
    ----------
    names : iterable
        Names, the most important first.
    places : ndarray, shape (n, 2)
        Their points.
    ax : Axes
        Where to write.
    log : bool
        Whether both axes are logarithmic.
    colour : str
        Colour of the text.
    size : float
        Its size [points].
    away : float
        How far it stands from the point along both axes [points]; towards the left in the right half.
    """
    if not len(places):
        return
    scaled = np.log(places) if log else np.asarray(places, float)
    scaled = scaled / (np.maximum(np.ptp(scaled, axis=0), 1e-12) * _APART)
    right = scaled[:, 0] > 0.5 * (scaled[:, 0].min() + scaled[:, 0].max())
    taken: list[int] = []
    for number, name in enumerate(names):
        beside = np.abs(scaled[taken] - scaled[number]) < 1.0
        if len(taken) < MOST_NAMES and not beside.all(axis=1).any():
            taken.append(number)
            side, aligned = (-away, "right") if right[number] else (away, "left")
            text = ax.annotate(str(name), places[number], (side, away), textcoords="offset points")
            text.set(color=colour, fontsize=size, ha=aligned, clip_on=True)
            text.set_in_layout(False)


def plain_ticks(ax: Axes) -> None:
    """Write plain numbers at the ticks of logarithmic axes, as many as have room."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for axis, ends in ((ax.xaxis, ax.get_xlim()), (ax.yaxis, ax.get_ylim())):
        few = np.ptp(np.log10(np.abs(ends))) < _FEW_DECADES
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
