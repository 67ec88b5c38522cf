"""Sliders, menus and the canvas; what they do is told by `CubeExplorer`."""

from __future__ import annotations

import warnings
from base64 import b64encode
from collections.abc import Callable
from importlib import import_module
from io import BytesIO
from typing import TYPE_CHECKING, Any

from opticam_dask.explore.image_panel import STRETCHES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from opticam_dask.explore.model import ExplorerModel

_PERCENT = (1.0, 99.7)
_WIDE = {"description_width": "initial"}


class Controls:
    """Widgets of the explorer.

    Parameters
    ----------
    figure : Figure
        The figure; it gets an interactive canvas.
    model : ExplorerModel
        Tells cameras and labels.
    camera : str
        Camera to begin with.
    count : int
        Frames of it.
    stretch : str
        Stretch to begin with.
    """

    def __init__(self, figure: Figure, model: ExplorerModel, camera: str, count: int, stretch: str) -> None:
        widgets = import_module("ipywidgets")
        self.guard: Callable[[], bool] = lambda: False
        self._figure = figure
        self.canvas = _canvas(figure)
        self.camera = _camera_slider(model.cameras, camera)
        # whole numbers: a night of 300 000 frames makes one slider, not as many options; and a frame is
        # read where the slider is let go, none on the way
        self.time = widgets.IntSlider(0, 0, 1, description="time (frame)", continuous_update=False)
        self.time.layout.width, self.time.style = "520px", _WIDE
        self.before = widgets.Button(description="previous", tooltip="previous frame", icon="chevron-left")
        self.after = widgets.Button(description="next", tooltip="next frame", icon="chevron-right")
        self.stretch = widgets.Dropdown(options=STRETCHES, value=stretch, description="stretch")
        self.percent = widgets.FloatRangeSlider(
            value=_PERCENT, min=0.0, max=100.0, step=0.1, description="scale [%]", continuous_update=False
        )
        self.percent.readout_format, self.percent.layout.width = ".1f", "340px"
        self.hold = widgets.Checkbox(value=False, description="hold scale", indent=False)
        self.marks = widgets.Checkbox(value=True, description="catalogue", indent=False)
        self.annulus = widgets.Checkbox(value=True, description="sky annulus", indent=False)
        self.star = widgets.BoundedIntText(value=0, min=0, max=10**6, description="source (0: none)")
        self.star.style = _WIDE
        self.label = widgets.Dropdown(options=model.labels, value=model.label, description="light curves")
        self.label.style, self.label.disabled = _WIDE, not model.labels
        self._told = widgets.HTML()
        self.box = self._laid_out(widgets)
        self.go(camera, 0, count)

    def on(self, control: Any, act: Callable[[Any], object]) -> None:
        """Call a function with the new value of a control, unless it was set by the program."""
        control.observe(lambda change: None if self.guard() else act(change["new"]), names="value")

    def go(self, camera: str, index: int, count: int) -> None:
        """Put the sliders at a frame of a camera that has so many."""
        self.camera.value = camera
        # a slider of one place cannot be drawn
        self.time.max, self.time.disabled = max(count - 1, 1), count == 1
        self.time.value = index
        self.before.disabled, self.after.disabled = index == 0, index == count - 1

    def tell(self, html: str) -> None:
        """Write what is known of the frame."""
        self._told.value = html

    @property
    def is_panning(self) -> bool:
        """Whether the mouse pans or zooms just now, so that a click chooses nothing."""
        return bool(self.canvas.toolbar.mode)

    def bundle(self) -> dict[str, Any]:
        """MIME bundle of the box, with a picture for where no widget can live."""
        picture = BytesIO()
        self._figure.savefig(picture, format="png", dpi="figure")
        bundle: dict[str, Any] = self.box._repr_mimebundle_()
        return {**bundle, "image/png": b64encode(picture.getvalue()).decode("ascii")}

    def _laid_out(self, widgets: Any) -> Any:
        for button in (self.before, self.after):
            button.layout.width = "100px"
        for check in (self.hold, self.marks, self.annulus):
            check.layout.width = "110px"
        self.stretch.layout.width = self.star.layout.width = "200px"
        wrap = widgets.Layout(flex_flow="row wrap")
        return widgets.VBox(
            [
                widgets.HBox([self.camera, self.before, self.time, self.after], layout=wrap),
                widgets.HBox([self.stretch, self.percent, self.hold, self.marks, self.annulus], layout=wrap),
                widgets.HBox([self.star, self.label], layout=wrap),
                self._told,
                self.canvas,
            ]
        )


def _camera_slider(cameras: list[str], camera: str) -> Any:
    """Slider over the cameras; with one there is nothing to slide."""
    widgets = import_module("ipywidgets")
    if len(cameras) == 1:
        return widgets.Dropdown(options=cameras, value=camera, description="camera", disabled=True)
    return widgets.SelectionSlider(
        options=cameras, value=camera, description="camera", continuous_update=False
    )


def _canvas(figure: Figure) -> Any:
    backend = import_module("ipympl.backend_nbagg")
    with warnings.catch_warnings():
        # how it makes its toolbar is going out of use in traitlets, and no doing of the user's
        warnings.simplefilter("ignore", DeprecationWarning)
        canvas = backend.Canvas(figure)
        # the manager ties canvas and toolbar; it is in no register of pyplot's
        backend.FigureManager(canvas, 0)
    canvas.header_visible = False
    canvas.toolbar_visible = True
    canvas.toolbar_position = "bottom"
    canvas.resizable = False
    return canvas
