"""The frame, its sources and their annuli."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from opticam_dask.errors import InputError
from opticam_dask.plotting.images import binned
from opticam_dask.types import FWHM_PER_SIGMA, Image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import Collection

    from opticam_dask.explore.camera import Sources

STRETCHES = ("linear", "square root", "asinh", "log")
_STRETCH_CLASSES = {
    "linear": "LinearStretch",
    "square root": "SqrtStretch",
    "asinh": "AsinhStretch",
    "log": "LogStretch",
}
_SEMI_AXIS = 1.5 * FWHM_PER_SIGMA  # of a mark in standard deviations: within the annulus
_TICKS = 6
_MARK, _ANNULUS, _CHOSEN = "#D55E00", "#0072B2", "#009E73"
_MOST_NAMES = 60  # more IDs than that hide the stars
_APART = 5.8  # of an ID from its star along both axes, in standard deviations: beyond the annulus


class ImagePanel:
    """Draws frames into one Axes; artists are kept and changed, so that zoom and pan stay.

    Parameters
    ----------
    ax : Axes
        Where to draw.
    """

    def __init__(self, ax: Axes) -> None:
        self.ax = ax
        self._drawn = ax.imshow(np.zeros((2, 2)), origin="lower", cmap="gray_r", interpolation="nearest")
        # beside the image, whatever its shape
        self._bar = ax.figure.colorbar(self._drawn, cax=ax.inset_axes((1.03, 0.0, 0.04, 1.0)))
        self._marks: list[Collection] = []
        self._names: list[Any] = []
        self._shape: tuple[int, int] | None = None
        ax.set(xlabel="x [pixel]", ylabel="y [pixel]")

    def show(
        self, image: Image, *, stretch: str, limits: tuple[float, float] | None, percent: tuple[float, float]
    ) -> tuple[float, float]:
        """Draw a frame, large ones by the means of square boxes.

        Parameters
        ----------
        image : ndarray, shape (ny, nx)
            NaN is left empty.
        stretch : str
            One of `STRETCHES`.
        limits : pair of float, optional
            Ends of the scale; default: the percentiles.
        percent : pair of float
            Percentiles of the pixels shown.

        Returns
        -------
        pair of float
            Ends of the scale.
        """
        shown, step = binned(image)
        low, high = limits or ends_of(shown, percent)
        self._drawn.set_data(shown)
        ny, nx = (step * length for length in shown.shape)
        self._drawn.set_extent((-0.5, nx - 0.5, -0.5, ny - 0.5))
        norm = grey_scale(stretch, low, high)
        self._drawn.set_norm(norm)
        ticks = np.asarray(norm.inverse(np.linspace(0.0, 1.0, _TICKS))).tolist()
        self._bar.set_ticks(ticks, labels=[f"{value:.4g}" for value in ticks])
        if self._shape != image.shape:
            self._shape = (image.shape[0], image.shape[1])
            self.ax.set(xlim=(-0.5, image.shape[1] - 0.5), ylim=(-0.5, image.shape[0] - 0.5))
        return low, high

    def mark(
        self, sources: Sources | None, chosen: int | None, annulus: tuple[float, float] | None, *, names: bool
    ) -> None:
        """Put an ellipse of semi-axes of 1.5 FWHM and an ID at each source, and the annulus around it.

        Parameters
        ----------
        sources : Sources, optional
            Sources in the frame; None draws nothing.
        chosen : int, optional
            ID of the one to stress.
        annulus : pair of float, optional
            Inner and outer axes in standard deviations of the PSF; None draws none.
        names : bool
            Whether to write the IDs of the brightest.
        """
        for artist in (*self._marks, *self._names):
            artist.remove()
        self._marks, self._names = [], []
        if sources is None or not len(sources.xy):
            return
        self._add(sources, _SEMI_AXIS, _MARK, "-")
        for scale in annulus or ():
            self._add(sources, scale, _ANNULUS, "--")
        here = sources._replace(xy=sources.xy[sources.ids == chosen])
        if len(here.xy):
            self._add(here, _SEMI_AXIS, _CHOSEN, "-", width=2.5)
        for number, (x, y) in zip(sources.ids[:_MOST_NAMES], sources.xy[:_MOST_NAMES], strict=True):
            if names:
                self._name(int(number), x, y, sources.psf.semimajor_sigma)

    def say(self, title: str, colour: str) -> None:
        """Write the title of the frame."""
        self.ax.set_title(title, color=colour, fontsize=10)

    def label_bar(self, unit: str) -> None:
        """Name the unit of the pixels."""
        self._bar.set_label(f"counts [{unit}]")

    def _add(self, sources: Sources, scale: float, colour: str, line: str, width: float = 1.0) -> None:
        from matplotlib.collections import EllipseCollection

        psf, count = sources.psf, len(sources.xy)
        marks = EllipseCollection(
            np.full(count, 2.0 * scale * psf.semimajor_sigma),
            np.full(count, 2.0 * scale * psf.semiminor_sigma),
            np.full(count, psf.orientation),
            units="xy",
            offsets=sources.xy,
            offset_transform=self.ax.transData,
            facecolors="none",
            edgecolors=colour,
            linestyles=line,
            linewidths=width,
        )
        self._marks.append(self.ax.add_collection(marks, autolim=False))

    def _name(self, number: int, x: float, y: float, sigma: float) -> None:
        away = _APART * sigma
        text = self.ax.text(x + away, y + away, str(number), color=_MARK, fontsize=8, clip_on=True)
        text.set_in_layout(False)
        self._names.append(text)


def check_stretch(stretch: str) -> None:
    """Refuse a stretch that is not among `STRETCHES`.

    Raises
    ------
    InputError
        Listing those there are.
    """
    if stretch not in STRETCHES:
        raise InputError(f"no stretch {stretch!r}; there are: {', '.join(STRETCHES)}")


def grey_scale(stretch: str, low: float, high: float) -> Any:
    """Make matplotlib's norm of one of `STRETCHES` between two values."""
    from astropy import visualization

    function = getattr(visualization, _STRETCH_CLASSES[stretch])()
    return visualization.ImageNormalize(vmin=low, vmax=high, stretch=function, clip=True)


def ends_of(shown: Image, percent: tuple[float, float]) -> tuple[float, float]:
    """Find the ends of the grey scale; for an image without a pixel any will do."""
    if not np.isfinite(shown).any():
        return 0.0, 1.0
    low, high = (float(value) for value in np.nanpercentile(shown, percent))
    return low, high if high > low else low + 1.0
