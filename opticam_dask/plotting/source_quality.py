"""How well each source is measured: signal-to-noise ratio, and scatter against what the errors say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from opticam_dask.plotting.labels import name_points, plain_ticks
from opticam_dask.plotting.style import band_colour, new_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_snr(sources: pd.DataFrame, ax: Axes, *, colour: str = "#0072B2", unit: str = "adu") -> Axes:
    """Draw the signal-to-noise ratio of a frame against flux.

    Parameters
    ----------
    sources : DataFrame
        One row per source of a camera with ``source``, ``flux`` and ``snr``, as
        `opticam_dask.tables.source_quality` makes them.
    ax : Axes
        Where to draw, both axes logarithmic.
    colour : str
        Colour of the points.
    unit : str
        Unit of the flux.

    Returns
    -------
    Axes
        The same Axes; sources without a positive flux are left out.
    """
    good = sources[(sources["flux"] > 0) & (sources["snr"] > 0)]
    ax.plot(good["flux"], good["snr"], "o", color=colour, markersize=4)
    _name_sources(good.sort_values("flux", ascending=False), "snr", ax)
    _log_axes(good, ax)
    ax.set(xlabel=f"median flux [{unit}]", ylabel="median of flux / error")
    return ax


def plot_rms(sources: pd.DataFrame, ax: Axes, *, colour: str = "#0072B2", unit: str = "adu") -> Axes:
    """Draw the relative scatter of the light curves against flux, beside what their errors lead to expect.

    Parameters
    ----------
    sources : DataFrame
        One row per source of a camera with ``source`` (or the name of an object), ``flux``, ``flux_err`` and
        ``rms``, as `opticam_dask.tables.source_quality` makes them.
    ax : Axes
        Where to draw, both axes logarithmic.
    colour : str
        Colour of the points.
    unit : str
        Unit of the flux.

    Returns
    -------
    Axes
        The same Axes. Sources far above the line vary, or share what all stars of the frames do, such as
        clouds; their IDs stand beside them.
    """
    good = sources[(sources["flux"] > 0) & (sources["rms"] > 0)].sort_values("flux")
    relative = good.assign(relative=good["rms"] / good["flux"])
    ax.plot(good["flux"], relative["relative"], "o", color=colour, markersize=4, label="measured")
    ax.plot(good["flux"], good["flux_err"] / good["flux"], "k-", linewidth=1.2, label="from the errors")
    beyond = relative["rms"] / relative["flux_err"]
    _name_sources(relative.assign(beyond=beyond).sort_values("beyond", ascending=False), "relative", ax)
    _log_axes(good, ax)
    ax.set(xlabel=f"median flux [{unit}]", ylabel="rms / median flux")
    ax.legend(loc="lower left", frameon=False, fontsize=8)
    return ax


def _name_sources(rows: pd.DataFrame, column: str, ax: Axes) -> None:
    name_points(rows["source"], rows[["flux", column]].to_numpy(), ax, log=True)


def _log_axes(rows: pd.DataFrame, ax: Axes) -> None:
    ax.set(xscale="log", yscale="log")
    if len(rows):
        plain_ticks(ax)


def snr_figure(cameras: Mapping[str, pd.DataFrame], *, title: str = "", unit: str = "adu") -> Figure:
    """Figure of the signal-to-noise ratios of all cameras' sources."""
    return _figure(plot_snr, cameras, title, unit)


def rms_figure(cameras: Mapping[str, pd.DataFrame], *, title: str = "", unit: str = "adu") -> Figure:
    """Figure of the scatter of all cameras' light curves against flux."""
    return _figure(plot_rms, cameras, title, unit)


def _figure(plot: Callable[..., Axes], cameras: Mapping[str, pd.DataFrame], title: str, unit: str) -> Figure:
    figure = new_figure(4.2 * len(cameras) + 0.4, 4.0)
    axes = figure.subplots(1, len(cameras), squeeze=False, sharey=True)[0]
    for number, (ax, (camera, rows)) in enumerate(zip(axes, cameras.items(), strict=True)):
        plot(rows, ax, colour=band_colour(camera, number), unit=unit).set_title(camera)
    if title:
        figure.suptitle(title)
    return figure
