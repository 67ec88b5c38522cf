"""What is measured where: apertures and sky annuli over the sources."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from opticam_dask.plotting.images import show_image
from opticam_dask.plotting.style import new_figure
from opticam_dask.types import XY, Image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_SOURCES = 8
_MARGIN = 1.15  # of a panel around what is drawn
_APERTURE, _ANNULUS = "#D55E00", "#0072B2"


class Outline(NamedTuple):
    """Ellipse around a source: semi-axes [pixel], angle from +x [deg], and what it is."""

    semimajor: float
    semiminor: float
    orientation_deg: float
    name: str


class Measured(NamedTuple):
    """A frame, the places of its sources, shape (n, 2) [pixel], and the outlines that hold for each."""

    image: Image
    xy: XY
    apertures: tuple[Outline, ...]
    annuli: tuple[Outline, ...]


def plot_apertures(measured: Measured, number: int, ax: Axes, *, title: str = "") -> Axes:
    """Draw the surroundings of one source with its aperture and sky annulus.

    Parameters
    ----------
    measured : Measured
        Frame, sources and outlines.
    number : int
        Which source, from 0.
    ax : Axes
        Where to draw.
    title : str
        Title of the panel.

    Returns
    -------
    Axes
        The same Axes: apertures as full lines, the edges of annuli dashed; other sources are crosses.
    """
    from matplotlib.patches import Ellipse

    x, y = measured.xy[number]
    styles = [(each, _APERTURE, "-") for each in measured.apertures]
    styles += [(each, _ANNULUS, "--") for each in measured.annuli]
    half = _MARGIN * max(outline.semimajor for outline, _, _ in styles)
    _show_around(measured.image, x, y, half, ax)
    for outline, colour, line in styles:
        size = (2 * outline.semimajor, 2 * outline.semiminor)
        shape = Ellipse((x, y), *size, angle=outline.orientation_deg, fill=False, label=outline.name)
        shape.set(color=colour, linestyle=line)
        ax.add_patch(shape)
    others = np.delete(measured.xy, number, axis=0)
    near = others[(np.abs(others - (x, y)) < half).all(axis=1)]
    ax.plot(near[:, 0], near[:, 1], "+", color=_APERTURE)
    ax.set(xlim=(x - half, x + half), ylim=(y - half, y + half), title=title)
    return ax


def _show_around(image: Image, x: float, y: float, half: float, ax: Axes) -> None:
    """Draw the part of an image that a panel shows; its source sets the scale, not a bright neighbour."""
    x0, y0 = max(0, int(x - half) - 1), max(0, int(y - half) - 1)
    part = image[y0 : int(y + half) + 3, x0 : int(x + half) + 3]
    shown = show_image(part, ax, percent=(1.0, 99.0))
    core = image[max(0, round(y) - 1) : round(y) + 2, max(0, round(x) - 1) : round(x) + 2]
    low, peak = shown.get_clim()[0], float(np.nanmean(core)) if np.isfinite(core).any() else np.nan
    if peak > low:
        shown.set_clim(low, peak)
    shown.set_extent((x0 - 0.5, x0 + part.shape[1] - 0.5, y0 - 0.5, y0 + part.shape[0] - 0.5))


def apertures_figure(cameras: Mapping[str, Measured], *, title: str = "") -> Figure:
    """Figure of the brightest sources of all cameras with what is measured around them, a row a camera."""
    columns = max(1, min(_MOST_SOURCES, max(len(measured.xy) for measured in cameras.values())))
    figure = new_figure(2.3 * columns + 0.6, 2.6 * len(cameras) + 0.6)
    axes = figure.subplots(len(cameras), columns, squeeze=False)
    for row, (camera, measured) in enumerate(cameras.items()):
        for number, ax in enumerate(axes[row]):
            if number < len(measured.xy):
                plot_apertures(measured, number, ax, title=f"{camera}, source {number + 1}")
                ax.tick_params(labelsize=7)
                ax.locator_params(nbins=3)
                ax.set_xlabel("x [pixel]" if row == len(cameras) - 1 else "", fontsize=8)
                ax.set_ylabel("" if number else "y [pixel]", fontsize=8)
            else:
                ax.set_axis_off()
    handles, names = axes[0, 0].get_legend_handles_labels()
    unique = dict(zip(names, handles, strict=True))
    figure.legend(unique.values(), unique.keys(), loc="outside lower center", ncols=4, frameon=False)
    if title:
        figure.suptitle(title)
    return figure
