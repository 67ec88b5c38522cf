"""Images of any size in a panel."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from opticam_dask.types import Image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

SHOWN_PIXELS = 1024
"""Most pixels along the longer side of a panel."""


def show_image(
    image: Image, ax: Axes, *, colours: str = "gray_r", percent: tuple[float, float] = (1.0, 99.7)
) -> AxesImage:
    """Draw an image with pixel coordinates on its axes, (0, 0) at the lower left.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        NaN is left empty. A large image is drawn by the means of square boxes.
    ax : Axes
        Where to draw.
    colours : str
        Name of matplotlib's colour map.
    percent : pair of float
        Percentiles of the values that the scale reaches from and to.

    Returns
    -------
    AxesImage
        For a colour bar.
    """
    shown, step = binned(image)
    low, high = _limits(shown, percent)
    ny, nx = (step * length for length in shown.shape)
    drawn = ax.imshow(
        shown,
        origin="lower",
        extent=(-0.5, nx - 0.5, -0.5, ny - 0.5),
        cmap=colours,
        vmin=low,
        vmax=high,
        interpolation="nearest",
    )
    ax.set(xlabel="x [pixel]", ylabel="y [pixel]")
    ax.set(xlim=(-0.5, image.shape[1] - 0.5), ylim=(-0.5, image.shape[0] - 0.5))
    return drawn


def _limits(shown: Image, percent: tuple[float, float]) -> tuple[float, float]:
    """Find the ends of the scale of grey; for an image without a pixel any will do."""
    if not np.isfinite(shown).any():
        return 0.0, 1.0
    low, high = np.nanpercentile(shown, percent)
    return float(low), float(high)


def binned(image: Image) -> tuple[Image, int]:
    """Image of the means of square boxes, and their size: a panel has no use for millions of pixels."""
    step = max(1, math.ceil(max(image.shape) / SHOWN_PIXELS))
    if step == 1:
        return image, 1
    ny, nx = (length // step for length in image.shape)
    boxes = image[: ny * step, : nx * step].reshape(ny, step, nx, step)
    # A box without a frame is empty.
    good = np.isfinite(boxes)
    count = good.sum(axis=(1, 3))
    total = np.sum(boxes, axis=(1, 3), where=good)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan), step
