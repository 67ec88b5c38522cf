"""Growth curves, a panel a camera."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from opticam_dask.plotting.style import CYCLE, new_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST = len(CYCLE)  # sources told apart by colour; the rest are grey


def plot_growth_curves(curves: pd.DataFrame, ax: Axes, *, title: str = "") -> Axes:
    """Draw the fraction of the light that apertures hold against their size.

    Parameters
    ----------
    curves : DataFrame
        As `opticam_dask.catalog.growth.growth_curves` makes them.
    ax : Axes
        Where to draw.
    title : str
        Title of the panel.

    Returns
    -------
    Axes
        The same Axes. The dashed line is the PSF's own; the brightest sources are named.
    """
    for number, (source, rows) in enumerate(curves.groupby("source")):
        named = number < _MOST
        ax.plot(
            rows["scale"],
            rows["fraction"],
            color=CYCLE[number] if named else "0.75",
            label=f"source {source}" if named else None,
            linewidth=1.1 if named else 0.7,
            zorder=2 if named else 1,
        )
    first = curves[curves["source"] == curves["source"].min()]
    ax.plot(first["scale"], first["model"], "k--", linewidth=1.4, label="PSF", zorder=3)
    ax.axhline(1.0, color="0.6", linewidth=0.6)
    ax.set(xlabel="semi-axis of the aperture [FWHM]", ylabel="fraction of the flux", title=title)
    ax.set_ylim(0.0, 1.25)
    ax.legend(loc="lower right", frameon=False, fontsize=8, ncols=2)
    return ax


def growth_figure(curves: Mapping[str, pd.DataFrame]) -> Figure:
    """Figure of the growth curves of all cameras."""
    figure = new_figure(4.4 * len(curves) + 0.4, 4.0)
    axes = figure.subplots(1, len(curves), squeeze=False, sharey=True)[0]
    for ax, (camera, rows) in zip(axes, curves.items(), strict=True):
        plot_growth_curves(rows, ax, title=camera)
    return figure
