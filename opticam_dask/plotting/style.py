"""Colours that colour-blind readers tell apart, and figures that need no global state."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

from opticam_dask.progress import in_notebook
from opticam_dask.tables.atomic import replacing

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

# Okabe & Ito's palette; the bands that have a colour of their own keep it.
BAND_COLOURS = {
    "u": "#CC79A7",
    "g": "#009E73",
    "r": "#D55E00",
    "i": "#0072B2",
    "z": "#56B4E9",
    "clear": "#000000",
}
CYCLE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def band_colour(camera: str, number: int = 0) -> str:
    """Colour of a camera such as ``'1:g'``: its band's, or the next of the cycle."""
    band = camera.partition(":")[2].strip("'")
    return BAND_COLOURS.get(band, CYCLE[number % len(CYCLE)])


def new_figure(width: float, height: float) -> Figure:
    """Figure outside pyplot's registry, so that nothing leaks and no window opens."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", dpi=150)


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure beside its name, then rename: a reader never sees half a picture."""
    from matplotlib.backends.backend_pdf import FigureCanvasPdf

    with replacing(path) as beside:
        if path.suffix == ".pdf":  # `savefig` would lay everything out by drawing it once more, to nowhere
            canvas: Any = FigureCanvasPdf(figure)
            canvas.print_pdf(beside)
        else:
            figure.savefig(beside, format=path.suffix.lstrip("."))
    return path


def show_in_notebook(figure: Figure) -> None:
    """Display a figure when running in Jupyter; do nothing elsewhere."""
    if in_notebook():
        from IPython.display import Image, display

        # As bytes: a figure outside pyplot draws itself only where pyplot has been set up.
        picture = BytesIO()
        figure.savefig(picture, format="png", dpi=100)
        display(Image(picture.getvalue()))
