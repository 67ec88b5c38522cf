"""Light curves folded on a period, and their profiles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from opticam_dask.plotting.series import mark_beyond, plot_density
from opticam_dask.plotting.style import band_colour, new_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Points = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]

DENSITY_ABOVE = 5_000
"""Samples from which their density is drawn instead of them."""


def plot_folded(
    phase: NDArray[np.float64],
    flux: NDArray[np.float64],
    flux_err: NDArray[np.float64],
    ax: Axes,
    *,
    unit: str = "",
    colour: str = "#0072B2",
) -> Axes:
    """Draw fluxes against phase, over two cycles.

    Parameters
    ----------
    phase, flux, flux_err : ndarray, shape (n,)
        Phases from 0 to 1, fluxes and errors. Of more than 5 000 samples the density is drawn.
    ax : Axes
        Where to draw.
    unit, colour : str
        Unit of the flux (empty for relative flux), and colour.

    Returns
    -------
    Axes
        The same Axes. A few outliers do not set its range: they are triangles at the edge.
    """
    twice, value = np.concatenate([phase, phase + 1]), np.tile(flux, 2)
    if len(phase) > DENSITY_ABOVE:
        plot_density(twice, value, ax, across=(0.0, 2.0), colour=colour)
    else:
        error = np.tile(flux_err, 2)
        ax.errorbar(twice, value, error, fmt=".", ms=3, color=colour, ecolor="0.7", elinewidth=0.7)
    mark_beyond(twice, value, ax, colour=colour)
    return _dressed(ax, unit)


def plot_profile(
    profile: pd.DataFrame, ax: Axes, *, unit: str = "", label: str = "", colour: str = "#0072B2"
) -> Axes:
    """Draw a profile over two cycles, as steps with errors.

    Parameters
    ----------
    profile : DataFrame
        ``phase``, ``flux`` and ``flux_err``, as `opticam_dask.analysis.phase_bin` gives it; empty bins are
        gaps.
    ax : Axes
        Where to draw.
    unit, label, colour : str
        Unit of the flux (empty for relative flux), name, and colour.

    Returns
    -------
    Axes
        The same Axes.
    """
    phase = profile["phase"].to_numpy()
    twice = np.concatenate([phase, phase + 1])
    flux, error = np.tile(profile["flux"], 2), np.tile(profile["flux_err"], 2)
    ax.step(twice, flux, where="mid", color=colour, lw=1.2, label=label or None)
    ax.errorbar(twice, flux, error, fmt="none", ecolor=colour, elinewidth=0.9)
    return _dressed(ax, unit)


def folded_figure(points: Mapping[str, Points], period: float, unit: str = "") -> Figure:
    """Figure of folded light curves, a panel each.

    Parameters
    ----------
    points : mapping of str to (phase, flux, flux_err)
        By camera.
    period : float [s]
        Period, for the title.
    unit : str
        Unit of the flux; empty for relative flux.
    """
    figure, axes = _panels(len(points), period, sharey=False)
    for number, (ax, (name, values)) in enumerate(zip(axes, points.items(), strict=True)):
        plot_folded(*values, ax, unit=unit, colour=band_colour(name, number))
        _name(ax, name)
        ax.label_outer()
    return figure


def profile_figure(
    profiles: Mapping[str, pd.DataFrame],
    period: float,
    unit: str = "",
    *,
    subplot: bool = True,
    sharey: bool = False,
) -> Figure:
    """Figure of profiles, a panel each or all in one.

    Parameters
    ----------
    profiles : mapping of str to DataFrame
        By camera, see `plot_profile`.
    period : float [s]
        Period, for the title.
    unit : str
        Unit of the flux; empty for relative flux.
    subplot : bool
        A panel for each.
    sharey : bool
        One scale for all panels.
    """
    figure, axes = _panels(len(profiles) if subplot else 1, period, sharey=sharey)
    for number, (name, profile) in enumerate(profiles.items()):
        ax = axes[number if subplot else 0]
        label = "" if subplot else name
        plot_profile(profile, ax, unit=unit, label=label, colour=band_colour(name, number))
        if subplot:
            _name(ax, name)
            ax.label_outer()
    if not subplot:
        axes[0].legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, frameon=False)
    return figure


def _panels(n: int, period: float, *, sharey: bool) -> tuple[Figure, list[Axes]]:
    figure = new_figure(6.4, 1.2 + 1.9 * n)
    axes = list(figure.subplots(n, sharex=True, sharey=sharey, squeeze=False)[:, 0])
    figure.suptitle(f"period {period:.6g} s")
    return figure, axes


def _name(ax: Axes, name: str) -> None:
    ax.set_title(name, loc="right", fontsize="small", pad=2)


def _dressed(ax: Axes, unit: str) -> Axes:
    ax.set_ylabel(f"flux [{unit}]" if unit else "relative flux")
    ax.set(xlim=(0, 2), xlabel="phase [cycles]")
    return ax
