"""Stacked images with their catalogued sources."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from opticam_dask.plotting.images import show_image
from opticam_dask.plotting.labels import name_points
from opticam_dask.plotting.style import new_figure
from opticam_dask.types import FWHM_PER_SIGMA, XY, Image, PsfModel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARK = "#D55E00"


def plot_catalog(image: Image, xy: XY, psf: PsfModel, ax: Axes, *, title: str = "") -> Axes:
    """Draw a stacked image with an ellipse at each source, and an ID at those that have room for it.

    Parameters
    ----------
    image : ndarray, shape (ny, nx) [adu]
        Stacked image; NaN where no frame contributed.
    xy : ndarray, shape (n_source, 2) [pixel]
        Source positions, brightest first.
    psf : PsfModel
        Sets size and angle of the ellipses (two FWHM across).
    ax : Axes
        Where to draw.
    title : str
        Title of the panel.

    Returns
    -------
    Axes
        The same Axes.
    """
    show_image(image, ax)
    mark_sources(xy, psf, ax)
    ax.set_title(title)
    return ax


def mark_sources(xy: XY, psf: PsfModel, ax: Axes, *, colour: str = _MARK) -> None:
    """Put an ellipse of two FWHM at each source, and numbers where there is room; see `plot_catalog`."""
    from matplotlib.patches import Ellipse

    major, minor = (4 * FWHM_PER_SIGMA * s for s in (psf.semimajor_sigma, psf.semiminor_sigma))
    for x, y in xy:
        ax.add_patch(Ellipse((x, y), major, minor, angle=psf.orientation, fill=False, color=colour))
    name_points(range(1, len(xy) + 1), xy, ax, colour=colour, size=9.0, away=8.0)


def catalogs_figure(catalogs: Mapping[str, tuple[Image, XY, PsfModel]]) -> Figure:
    """Figure of all cameras' stacked images and catalogues, a panel a camera."""
    figure = new_figure(4.6 * len(catalogs) + 0.4, 4.8)
    axes = figure.subplots(1, len(catalogs), squeeze=False)[0]
    for ax, (camera, (image, xy, psf)) in zip(axes, catalogs.items(), strict=True):
        plot_catalog(image, xy, psf, ax, title=camera)
    return figure
