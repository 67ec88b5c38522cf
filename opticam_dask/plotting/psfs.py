"""The PSF beside the stars it was made from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from opticam_dask.plotting.style import CYCLE, new_figure
from opticam_dask.types import XY, Image, PsfModel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

_REACH = 5.0  # of a profile [sigma]
_STARS = 5


def radial_profile(
    image: Image, position: tuple[float, float], psf: PsfModel
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pixels around a star by their elliptical distance, relative to the Gaussian's peak that fits best.

    Parameters
    ----------
    image : ndarray, shape (ny, nx) [adu]
        Image without sky; NaN marks a bad pixel.
    position : (x, y)
        Centre of the star [pixel].
    psf : PsfModel
        Axes and angle of the ellipses of equal distance.

    Returns
    -------
    distance : ndarray, shape (n,)
        In standard deviations of the PSF in the pixel's direction, up to 5.
    value : ndarray, shape (n,)
        Pixel over the peak of the Gaussian fitted by least squares; empty if that is not positive.
    """
    x, y = position
    half = int(np.ceil(_REACH * psf.semimajor_sigma)) + 1
    rows = np.arange(max(0, round(y) - half), min(image.shape[0], round(y) + half + 1))
    columns = np.arange(max(0, round(x) - half), min(image.shape[1], round(x) + half + 1))
    dx, dy = columns[None, :] - x, rows[:, None] - y
    cos, sin = np.cos(psf.orientation_rad), np.sin(psf.orientation_rad)
    along, across = dx * cos + dy * sin, dy * cos - dx * sin
    distance = np.hypot(along / psf.semimajor_sigma, across / psf.semiminor_sigma)
    pixels = np.asarray(image[np.ix_(rows, columns)], np.float64)
    good = (distance <= _REACH) & np.isfinite(pixels)
    model = np.exp(-0.5 * distance[good] ** 2)
    peak = float((pixels[good] * model).sum() / (model**2).sum()) if model.size else 0.0
    if not peak > 0:
        return np.empty(0), np.empty(0)
    return distance[good], pixels[good] / peak


def plot_psf(image: Image, xy: XY, psf: PsfModel, ax: Axes, *, title: str = "") -> Axes:
    """Draw the pixels of the brightest stars against distance, with the Gaussian PSF.

    Parameters
    ----------
    image : ndarray, shape (ny, nx) [adu]
        Stacked image without sky.
    xy : ndarray, shape (n_source, 2) [pixel]
        Sources, brightest first; five are drawn.
    psf : PsfModel
        PSF of the camera.
    ax : Axes
        Where to draw.
    title : str
        Title of the panel.

    Returns
    -------
    Axes
        The same Axes. Points above the curve at large distance are neighbours, or wings of the PSF.
    """
    for number, (x, y) in enumerate(xy[:_STARS]):
        distance, value = radial_profile(image, (float(x), float(y)), psf)
        ax.plot(
            distance,
            value,
            ".",
            markersize=4,
            color=CYCLE[number],
            label=f"source {number + 1}",
            zorder=2.0 - 0.1 * number,
            rasterized=True,
        )
    distance = np.linspace(0.0, _REACH, 200)
    text = f"{psf.semimajor_sigma:.2f} x {psf.semiminor_sigma:.2f} px at {psf.orientation:.0f} deg"
    ax.plot(distance, np.exp(-0.5 * distance**2), "k--", linewidth=1.0, label=f"Gaussian, {text}")
    ax.set(xlabel="distance [sigma of the PSF]", ylabel="pixel / peak", title=title)
    ax.set_ylim(-0.2, 1.3)
    ax.legend(loc="upper right", frameon=False, fontsize=8)
    return ax


def psfs_figure(cameras: Mapping[str, tuple[Image, XY, PsfModel]]) -> Figure:
    """Figure of the PSFs of all cameras over the stars of their stacked images."""
    figure = new_figure(4.4 * len(cameras) + 0.4, 4.0)
    axes = figure.subplots(1, len(cameras), squeeze=False, sharey=True)[0]
    for ax, (camera, (image, xy, psf)) in zip(axes, cameras.items(), strict=True):
        plot_psf(image, xy, psf, ax, title=camera)
    return figure
