"""The mesh of boxes of the two-dimensional background."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from opticam_dask.plotting.images import show_image
from opticam_dask.plotting.style import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from opticam_dask.types import Image

_EDGE = "#0072B2"
_MOST_LINES = 80  # more boxes along an axis would be a grey area


class Mesh(NamedTuple):
    """Frame, its two-dimensional background, both of shape (ny, nx) [adu], and rows and columns of a box."""

    image: Image
    background: NDArray[np.float64]
    box: tuple[int, int]


def plot_background_mesh(mesh: Mesh, ax: Axes, *, title: str = "") -> Axes:
    """Draw a frame with the edges of the background's boxes.

    Parameters
    ----------
    mesh : Mesh
        Frame, background and size of the boxes.
    ax : Axes
        Where to draw.
    title : str
        Title of the panel.

    Returns
    -------
    Axes
        The same Axes. A box should be larger than the stars in it. Where there are more than 80 boxes along
        an axis, only some of the edges are drawn, and the title says so.
    """
    show_image(mesh.image, ax)
    every = 1
    for length, size, draw in (
        (mesh.image.shape[0], mesh.box[0], ax.axhline),
        (mesh.image.shape[1], mesh.box[1], ax.axvline),
    ):
        edges = np.arange(0, length, size) - 0.5
        step = -(-len(edges) // _MOST_LINES)
        every = max(every, step)
        for edge in edges[::step]:
            draw(edge, color=_EDGE, linewidth=0.6)
    some = f", one edge in {every} drawn" if every > 1 else ""
    ax.set_title(f"{title}  boxes of {mesh.box[0]} x {mesh.box[1]} pixel{some}".strip(), fontsize=10)
    return ax


def plot_background_image(mesh: Mesh, ax: Axes, *, unit: str = "adu") -> Axes:
    """Draw the background itself, with its scale.

    Parameters
    ----------
    mesh : Mesh
        Frame, background and size of the boxes.
    ax : Axes
        Where to draw; a colour bar is put beside it.
    unit : str
        Unit of the pixels.
    """
    shown = show_image(mesh.background, ax, colours="cividis", percent=(0.0, 100.0))
    beside = ax.inset_axes((1.03, 0.0, 0.04, 1.0))  # as high as the image, whatever its shape
    ax.figure.colorbar(shown, cax=beside, label=f"background [{unit} / pixel]")
    return ax


def background_meshes_figure(cameras: Mapping[str, Mesh], *, unit: str = "adu") -> Figure:
    """Figure of the boxes on the reference frames of all cameras, and of the backgrounds they give."""
    figure = new_figure(4.8 * len(cameras) + 0.4, 8.6)
    axes = figure.subplots(2, len(cameras), squeeze=False)
    for number, (camera, mesh) in enumerate(cameras.items()):
        plot_background_mesh(mesh, axes[0, number], title=camera)
        plot_background_image(mesh, axes[1, number], unit=unit)
    return figure
