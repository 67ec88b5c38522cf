"""The figure of the explorer: frame, light curve, cutouts; matplotlib, and no widget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from opticam_dask.explore.image_panel import ImagePanel
from opticam_dask.explore.star_panels import CurvePanel, CutoutPanel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from opticam_dask.explore.camera import FrameFacts

N_CUTOUTS = 8
_SIZE, _DPI = (10.4, 5.6), 96
_COLUMNS = 4
_ALIGNED, _PREDICTED, _NOT = "#000000", "#CC79A7", "#D55E00"


class ExplorerView:
    """Frame to the left, the chosen star to the right.

    Attributes
    ----------
    figure : Figure
        Of no pyplot; a canvas of any kind may draw it.
    image : ImagePanel
    curve : CurvePanel
    cutouts : CutoutPanel
    """

    def __init__(self) -> None:
        from matplotlib.figure import Figure

        # nothing moves while frames and stars come and go: the layout is not the artists' affair
        self.figure: Figure = Figure(figsize=_SIZE, dpi=_DPI)
        self.image = ImagePanel(self.figure.add_axes((0.065, 0.09, 0.375, 0.85)))
        self.curve = CurvePanel(self.figure.add_axes((0.63, 0.54, 0.355, 0.4)))
        grid = self.figure.add_gridspec(2, _COLUMNS, left=0.6, right=0.985, bottom=0.02, top=0.39)
        self.cutouts = CutoutPanel(
            [
                self.figure.add_subplot(grid[number // _COLUMNS, number % _COLUMNS])
                for number in range(N_CUTOUTS)
            ]
        )


def title_of(facts: FrameFacts) -> tuple[str, str]:
    """Title of a frame and its colour: black is aligned."""
    text = f"{facts.camera}   {facts.night} frame {facts.frame}   {facts.status}"
    if facts.cloudy:
        text += ", cloud"
    if facts.status == "not catalogued":
        return text, _ALIGNED
    return text, {"aligned": _NOT if facts.cloudy else _ALIGNED, "predicted": _PREDICTED}.get(
        facts.status, _NOT
    )


def words_of(facts: FrameFacts, count: int) -> Sequence[tuple[str, str]]:
    """Put what is known of a frame as names and values with units; what is not known is left out."""
    numbers = (
        ("BMJD (TDB)", facts.bmjd, "{:.8f} d"),
        ("exposure", facts.exposure_s, "{:g} s"),
        ("airmass", facts.airmass, "{:.3f}"),
        ("FWHM", facts.fwhm_px, "{:.2f} pixel"),
        ("extinction by cloud", round(facts.cloud_mag, 2) + 0.0, "{:.2f} mag"),
    )
    known = [(name, form.format(value)) for name, value, form in numbers if value == value]
    status = f"{facts.status} ({facts.reason})" if facts.reason else facts.status
    flags = ", ".join(str(flag.name) for flag in type(facts.flags) if flag in facts.flags)
    return [
        ("frame", f"{facts.index + 1} of {count}"),
        ("UTC", facts.utc),
        *known,
        ("status", status),
        ("flags", flags or "none"),
    ]
