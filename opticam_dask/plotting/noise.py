"""Where the error of a flux comes from, against flux."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from opticam_dask.plotting.style import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TERMS: dict[str, tuple[str, str]] = {
    "source": ("shot noise of the star", "#D55E00"),
    "sky": ("sky, read-out and dark", "#0072B2"),
    "level": ("sky level", "#56B4E9"),
    "flat": ("flat field", "#CC79A7"),
    "scintillation": ("scintillation", "#009E73"),
}
"""Names of the terms for readers, and their colours."""


def plot_noise_budget(
    measured: NDArray[Any],
    curve: NDArray[Any],
    ax: Axes,
    *,
    title: str = "",
    unit: str = "adu",
    note: str = "",
) -> Axes:
    """Draw the relative error of a frame's sources against flux, and the terms it is made of.

    Parameters
    ----------
    measured : ndarray of `photometers.records.NOISE_TERMS`, shape (n_source,)
        Sources of a frame; those without a flux, or a negative one, are left out.
    curve : ndarray of the same, shape (n,)
        Errors of stars of increasing flux.
    ax : Axes
        Where to draw, both axes logarithmic.
    title : str
        Title of the panel.
    unit : str
        Unit of the counts.
    note : str
        One more line of text.

    Returns
    -------
    Axes
        The same Axes. Text in the panel says which term dominates where, as far as all terms are known.
    """
    flux = curve["flux"]
    for name, (label, colour) in TERMS.items():
        if (curve[name] > 0).any():
            ax.plot(flux, curve[name] / flux, color=colour, linewidth=1.2, label=label)
    ax.plot(flux, curve["total"] / flux, "k-", linewidth=1.8, label="total")
    good = measured[np.isfinite(measured["flux"]) & (measured["flux"] > 0)]
    ax.plot(good["flux"], good["total"] / good["flux"], "o", mfc="none", mec="k", ms=5, label="sources")
    ax.set(xscale="log", yscale="log", xlabel=f"flux [{unit}]", ylabel="relative error", title=title)
    relative = curve["total"] / flux
    if np.isfinite(relative).any():  # scintillation without an airmass leaves no total
        ax.set_ylim(0.05 * np.nanmin(relative), 2.0 * np.nanmax(relative))
    text = "\n".join([*dominant(curve, unit), *([note] if note else [])])
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.5}
    ax.text(0.03, 0.03, text, transform=ax.transAxes, fontsize=8, va="bottom", bbox=box)
    ax.legend(loc="upper right", frameon=False, fontsize=8)
    return ax


def dominant(curve: NDArray[Any], unit: str = "adu") -> list[str]:
    """Sentences on which term is the largest in which range of flux.

    Parameters
    ----------
    curve : ndarray of `photometers.records.NOISE_TERMS`, shape (n,)
        Errors of stars of increasing flux.
    unit : str
        Unit of the counts.
    """
    names = list(TERMS)
    largest = np.argmax(np.nan_to_num(np.stack([curve[name] for name in names])), axis=0)
    edges = [0, *(np.flatnonzero(np.diff(largest)) + 1).tolist(), len(curve)]
    found = []
    for first, stop in pairwise(edges):
        label = TERMS[names[largest[first]]][0]
        start = "" if first == 0 else f" from {_rounded(curve['flux'][first])}"
        end = "" if stop == len(curve) else f" up to {_rounded(curve['flux'][stop])}"
        found.append(f"{label}: largest{start}{end}{f' {unit}' if start or end else ' everywhere'}")
    return found


def _rounded(flux: float) -> str:
    """Flux to two digits, in full."""
    return f"{float(f'{flux:.2g}'):.0f}"


def noise_figure(
    budgets: Mapping[str, tuple[NDArray[Any], NDArray[Any], str]], *, title: str = "", unit: str = "adu"
) -> Figure:
    """Figure of the noise budgets of all cameras: sources of a frame, curve and note, a panel a camera."""
    figure = new_figure(5.0 * len(budgets) + 0.4, 4.6)
    axes = figure.subplots(1, len(budgets), squeeze=False)[0]
    for ax, (camera, (measured, curve, note)) in zip(axes, budgets.items(), strict=True):
        plot_noise_budget(measured, curve, ax, title=camera, unit=unit, note=note)
    if title:
        figure.suptitle(title)
    return figure
