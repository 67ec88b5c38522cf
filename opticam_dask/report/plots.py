"""The interactive figures of a page: one light curve, and the field to pick a source in."""

from __future__ import annotations

import base64
import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from opticam_dask.errors import MissingPackageError

if TYPE_CHECKING:
    from bokeh.model import Model
    from bokeh.plotting import figure

_BLUE, _ORANGE, _PALE = "#0072B2", "#D55E00", "#B0B0B0"
_FIELD_WIDTH = 460


@dataclass(frozen=True)
class Field:
    """A camera's stacked image as PNG, its shape (ny, nx), and its sources: IDs and places, shape (n, 2)."""

    camera: str
    picture: bytes
    shape: tuple[int, int]
    ids: list[str]
    xy: NDArray[np.float64]


def check_bokeh() -> None:
    """Say what to install if bokeh is missing.

    Raises
    ------
    MissingPackageError
        If bokeh cannot be imported.
    """
    if importlib.util.find_spec("bokeh") is None:
        raise MissingPackageError("reports need bokeh: pip install 'opticam-dask[report]'")


def light_curve_plot(unit: str) -> figure:
    """Empty plot of a light curve; the page's script fills its sources ``good``, ``bad`` and ``bars``."""
    from bokeh.models import ColumnDataSource, HoverTool, NumeralTickFormatter
    from bokeh.plotting import figure

    plot = figure(
        name="curve",
        height=360,
        sizing_mode="stretch_width",
        x_axis_label="time",
        y_axis_label=f"flux [{unit}]",
        tools="pan,box_zoom,reset,save",
        active_drag="box_zoom",
        output_backend="canvas",
    )
    columns: dict[str, tuple[str, ...]] = {
        "good": ("x", "y", "error", "night"),
        "bad": ("x", "y", "error", "night"),
        "bars": ("x", "low", "high"),
    }
    sources = {
        name: ColumnDataSource({column: [] for column in wanted}, name=name)
        for name, wanted in columns.items()
    }
    plot.segment("x", "low", "x", "high", source=sources["bars"], color=_BLUE, alpha=0.35)
    plot.scatter("x", "y", source=sources["bad"], size=4, color=_PALE, name="spoilt")
    points = plot.scatter("x", "y", source=sources["good"], size=4, color=_BLUE, name="good points")
    plot.yaxis.formatter = NumeralTickFormatter(format="0.[000]a")
    tips = [("night", "@night"), ("time", "@x{0.000000}"), ("flux", "@y{0.00} ± @error{0.00}")]
    plot.add_tools(HoverTool(renderers=[points], tooltips=tips), _wheel())
    return plot


def _wheel() -> Model:
    from bokeh.models import WheelZoomTool

    # Over a figure a page must still scroll, unless it is clicked first.
    return WheelZoomTool(dimensions="width", zoom_on_axis=True)


def field_plot(field: Field) -> figure:
    """Plot of a camera's stacked image; a click on a source tells the page's script."""
    from bokeh.models import ColumnDataSource, CustomJS, Range1d, TapTool
    from bokeh.plotting import figure

    ny, nx = field.shape
    plot = figure(
        name=f"field {field.camera}",
        title=f"{field.camera}: click a source",
        sizing_mode="scale_width",
        width=_FIELD_WIDTH,
        height=round(_FIELD_WIDTH * min(1.6, max(0.4, ny / nx))) + 40,
        max_width=_FIELD_WIDTH,
        x_range=Range1d(-0.5, nx - 0.5),
        y_range=Range1d(-0.5, ny - 0.5),
        tools="",
        toolbar_location=None,
        x_axis_label="x [pixel]",
        y_axis_label="y [pixel]",
    )
    url = "data:image/png;base64," + base64.b64encode(field.picture).decode("ascii")
    plot.image_url(url=[url], x=-0.5, y=ny - 0.5, w=nx, h=ny, anchor="top_left")
    places = {"x": field.xy[:, 0].tolist(), "y": field.xy[:, 1].tolist(), "id": field.ids}
    source = ColumnDataSource(places, name=f"sources {field.camera}")
    plot.scatter("x", "y", source=source, size=16, fill_alpha=0.0, line_color=_ORANGE, line_width=1.5)
    text = {"x_offset": 9, "y_offset": -6, "text_color": _ORANGE, "text_font_size": "11px"}
    plot.text("x", "y", text="id", source=source, **text)
    tell = """
        const picked = source.selected.indices[0]
        if (picked !== undefined) {
            const detail = {camera: camera, id: source.data.id[picked]}
            document.dispatchEvent(new CustomEvent("pick", {detail: detail}))
            source.selected.indices = []
        }"""
    act = CustomJS(args={"source": source, "camera": field.camera}, code=tell)
    plot.add_tools(TapTool(callback=act))
    return plot


def embedded(plots: dict[str, Any]) -> tuple[str, dict[str, str]]:
    """Script and, by name, containers that put plots into a page."""
    from bokeh.embed import components

    script, divs = components(plots, wrap_script=True)
    return str(script), {str(name): str(div) for name, div in divs.items()}


def library() -> str:
    """Script of bokeh itself, to be put into the page."""
    from bokeh.resources import Resources

    resources = Resources(mode="inline", components=["bokeh"])
    return "\n".join(resources.js_raw)
