"""One star: its light curve, and its surroundings over time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from opticam_dask.explore.image_panel import ends_of, grey_scale
from opticam_dask.plotting.series import MOST_POINTS, plot_series
from opticam_dask.tables.source_quality import SPOILT

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

    from opticam_dask.explore.model import Cutout

_GOOD, _SPOILT, _NOW = "#0072B2", "#D55E00", "#000000"
_PERCENT = (1.0, 99.7)
_DAY = 86_400.0
_LONG = 2.0  # days from which the axis is in days


class CurvePanel:
    """Draws the light curve of a star and a line at the frame shown.

    Parameters
    ----------
    ax : Axes
        Where to draw.
    """

    def __init__(self, ax: Axes) -> None:
        self.ax = ax
        self._curve: pd.DataFrame | None = None
        self._x: NDArray[np.float64] = np.empty(0)
        self._line: Line2D | None = None
        self.empty("click a star for its light curve")

    def empty(self, message: str) -> None:
        """Show a line of text instead of a curve."""
        self.ax.clear()
        self._curve, self._x, self._line = None, np.empty(0), None
        self.ax.set_axis_off()
        self.ax.text(0.5, 0.5, message, ha="center", va="center", wrap=True, transform=self.ax.transAxes)

    def show(self, curve: pd.DataFrame, title: str, unit: str) -> None:
        """Draw flux against time; spoilt rows (saturated, cloud, cosmic ray ...) are crosses.

        Parameters
        ----------
        curve : DataFrame
            Columns of `model.CURVE_COLUMNS`.
        title : str
            Title of the panel.
        unit : str
            Unit of the flux.
        """
        self.ax.clear()
        self.ax.set_axis_on()
        self._curve = curve
        self._x, label = _axis(curve)
        flux = curve["flux"].to_numpy(np.float64)
        spoilt = (curve["flags"].to_numpy(np.int64) & int(SPOILT)) != 0
        errors = curve["flux_err"].to_numpy(np.float64)
        _points(self.ax, self._x[~spoilt], flux[~spoilt], errors[~spoilt])
        if spoilt.any() and np.isfinite(flux[spoilt]).any():
            plot_series(self._x[spoilt], flux[spoilt], self.ax, colour=_SPOILT, label="flagged")
            self.ax.legend(loc="best", fontsize=8)
        self._line = self.ax.axvline(np.nan, color=_NOW, linewidth=1.0)
        self.ax.set(xlabel=label, ylabel=f"flux [{unit}]")
        self.ax.set_title(title, fontsize=10)

    def point_at(self, night: str, frame: int) -> None:
        """Move the line to a frame; nowhere if the curve does not hold it."""
        if self._curve is None or self._line is None:
            return
        at = (self._curve["frame"].to_numpy() == frame) & (self._curve["night"].to_numpy() == night)
        x = float(self._x[at][0]) if at.any() else math.nan
        self._line.set_xdata([x, x])

    def frame_at(self, x: float) -> tuple[str, int] | None:
        """Night and number of the frame nearest to a place on the time axis."""
        if self._curve is None or not np.isfinite(self._x).any():
            return None
        row = self._curve.iloc[int(np.nanargmin(np.abs(self._x - x)))]
        return str(row["night"]), int(row["frame"])


class CutoutPanel:
    """Draws the surroundings of a star in several frames.

    Parameters
    ----------
    axes : sequence of Axes
        One for each cutout.
    """

    def __init__(self, axes: Sequence[Axes]) -> None:
        self._axes = list(axes)
        self.show([])

    def show(self, cutouts: Sequence[Cutout], stretch: str = "linear") -> None:
        """Draw cutouts in order of time on one grey scale; one that cannot be read says so."""
        pixels = np.concatenate([np.empty(0), *(cutout.image.ravel() for cutout in cutouts)])
        norm = grey_scale(stretch, *ends_of(pixels, _PERCENT))
        for number, ax in enumerate(self._axes):
            ax.clear()
            ax.set(xticks=[], yticks=[])
            ax.set_visible(number < len(cutouts))
            if number < len(cutouts):
                _cutout(cutouts[number], ax, norm)


def _points(ax: Axes, x: NDArray[np.float64], flux: NDArray[np.float64], errors: NDArray[np.float64]) -> None:
    good = np.isfinite(x) & np.isfinite(flux)
    if not good.any():
        return
    if good.sum() > MOST_POINTS:
        plot_series(x[good], flux[good], ax, colour=_GOOD)
    else:
        ax.errorbar(x[good], flux[good], errors[good], fmt=".", color=_GOOD, elinewidth=0.8, markersize=4)


def _axis(curve: pd.DataFrame) -> tuple[NDArray[np.float64], str]:
    """Time since the first frame, and the label that says in which system and unit."""
    name = "BMJD" if np.isfinite(curve["BMJD"].to_numpy()).any() else "MJD"
    time = curve[name].to_numpy(np.float64)
    finite = time[np.isfinite(time)]
    start = math.floor(float(finite.min()) * 1e5) / 1e5 if finite.size else 0.0
    long = bool(finite.size) and float(np.ptp(finite)) > _LONG
    system = "TDB" if name == "BMJD" else "UTC"
    since = (time - start) * (1.0 if long else _DAY)
    return since, f"time since {name} {start:.5f} ({system}) [{'d' if long else 's'}]"


def _cutout(cutout: Cutout, ax: Axes, norm: Any) -> None:
    if np.isfinite(cutout.image).any():
        ax.imshow(cutout.image, origin="lower", cmap="gray_r", norm=norm, interpolation="nearest")
        ax.plot(*cutout.xy, "+", color=_SPOILT, markersize=8)
    else:
        why = "unreadable" if cutout.problem else "outside"
        ax.text(0.5, 0.5, why, ha="center", va="center", fontsize=8, transform=ax.transAxes)
    ax.set_title(f"frame {cutout.facts.frame}", fontsize=8, pad=2)
