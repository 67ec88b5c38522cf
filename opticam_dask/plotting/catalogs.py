"""Stacked images with their catalogued sources."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from opticam_dask.plotting.style import new_figure
from opticam_dask.types import FWHM_PER_SIGMA, XY, Image, PsfModel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SHOWN_PIXELS = 1024  # along the longer side of a panel


def plot_catalog(image: Image, xy: XY, psf: PsfModel, ax: Axes, *, title: str = "") -> Axes:
    """Draw a stacked image with an ellipse and an ID at each source.

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
    from matplotlib.patches import Ellipse

    shown, step = _binned(image)
    low, high = np.nanpercentile(shown, [1.0, 99.7])
    ny, nx = (step * length for length in shown.shape)
    edges = (-0.5, nx - 0.5, -0.5, ny - 0.5)
    ax.imshow(
        shown, origin="lower", extent=edges, cmap="gray_r", vmin=low, vmax=high, interpolation="nearest"
    )
    major, minor = (4 * FWHM_PER_SIGMA * s for s in (psf.semimajor_sigma, psf.semiminor_sigma))
    for number, (x, y) in enumerate(xy, start=1):
        ax.add_patch(Ellipse((x, y), major, minor, angle=psf.orientation, fill=False, color="#D55E00"))
        ax.annotate(str(number), (x, y), (9, 7), textcoords="offset points", color="#D55E00", fontsize=9)
    limits = {"xlim": (-0.5, image.shape[1] - 0.5), "ylim": (-0.5, image.shape[0] - 0.5)}
    ax.set(xlabel="x [pixel]", ylabel="y [pixel]", title=title, **limits)
    return ax


def _binned(image: Image) -> tuple[Image, int]:
    """Image of the means of square boxes, and their size: a panel has no use for millions of pixels."""
    step = max(1, math.ceil(max(image.shape) / _SHOWN_PIXELS))
    if step == 1:
        return image, 1
    ny, nx = (length // step for length in image.shape)
    boxes = image[: ny * step, : nx * step].reshape(ny, step, nx, step)
    # A box without a frame is empty.
    good = np.isfinite(boxes)
    count = good.sum(axis=(1, 3))
    total = np.sum(boxes, axis=(1, 3), where=good)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan), step


def catalogs_figure(catalogs: Mapping[str, tuple[Image, XY, PsfModel]]) -> Figure:
    """Figure of all cameras' stacked images and catalogues, a panel a camera."""
    figure = new_figure(4.6 * len(catalogs) + 0.4, 4.8)
    axes = figure.subplots(1, len(catalogs), squeeze=False)[0]
    for ax, (camera, (image, xy, psf)) in zip(axes, catalogs.items(), strict=True):
        plot_catalog(image, xy, psf, ax, title=camera)
    return figure
