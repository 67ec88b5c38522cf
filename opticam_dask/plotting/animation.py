"""Frames one after the other, with the sources where the transforms put them."""

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO
from typing import TYPE_CHECKING

from opticam_dask.plotting.catalogs import mark_sources
from opticam_dask.plotting.images import show_image
from opticam_dask.plotting.style import new_figure
from opticam_dask.tables.atomic import replacing

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from opticam_dask.types import XY, Image, PsfModel

STATUS_COLOURS = {"reference": "#0072B2", "aligned": "#000000", "predicted": "#CC79A7"}
_FAILED = "#D55E00"
_MILLISECONDS = 200


def plot_aligned_frame(image: Image, xy: XY, psf: PsfModel, ax: Axes, *, name: str, status: str) -> Axes:
    """Draw a frame with its sources where its transform puts them.

    Parameters
    ----------
    image : ndarray, shape (ny, nx) [adu]
        The frame.
    xy : ndarray, shape (n_source, 2) [pixel]
        Sources of the catalogue carried into the frame.
    psf : PsfModel
        Sets size and angle of the marks.
    ax : Axes
        Where to draw.
    name : str
        Name of the frame.
    status : str
        How the frame was aligned, as in ``alignment.parquet``, or 'reference'; tells the title's colour.
    """
    show_image(image, ax)
    mark_sources(xy, psf, ax)
    ax.set_title(f"{name}  ({status})", color=STATUS_COLOURS.get(status, _FAILED), fontsize=10)
    return ax


def picture_of_frame(image: Image, xy: XY, psf: PsfModel, *, name: str, status: str) -> bytes:
    """PNG picture of `plot_aligned_frame`."""
    figure = new_figure(5.0, 5.0 * image.shape[0] / image.shape[1] + 0.5)
    plot_aligned_frame(image, xy, psf, figure.subplots(), name=name, status=status)
    picture = BytesIO()
    figure.savefig(picture, format="png", dpi=100)
    return picture.getvalue()


def write_animation(pictures: Iterable[bytes], path: Path) -> Path:
    """Write PNG pictures as an animated GIF that repeats for ever.

    Parameters
    ----------
    pictures : iterable of bytes
        Pictures of one size; at least one.
    path : Path
        The file; it appears whole or not at all.
    """
    from PIL import Image as Picture

    frames = [Picture.open(BytesIO(picture)).convert("P") for picture in pictures]
    with replacing(path) as beside:
        frames[0].save(
            beside,
            format="GIF",
            save_all=True,
            append_images=frames[1:],
            duration=_MILLISECONDS,
            loop=0,
        )
    return path
