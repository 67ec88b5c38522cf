"""The interactive figures of a page: one light curve, and the field to pick a source in."""

from __future__ import annotations

import base64
import importlib.util
from collections.abc import Collection, Sequence
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
    """A camera's stacked image as PNG, its shape (ny, nx), and its sources: IDs and places, shape (n, 2).

    In a survey, whose sources are objects, it has the name of the field and the night of the image besides.
    """

    camera: str
    picture: bytes
    shape: tuple[int, int]
    ids: list[str]
    xy: NDArray[np.float64]
    name: str = ""
    night: str = ""

    @property
    def title(self) -> str:
        """What stands above the picture."""
        return (
            f"{self.camera}, {self.name}, {self.night}: click an object"
            if self.name
            else (f"{self.camera}: click a source")
        )

    @property
    def stars(self) -> dict[str, list[Any]]:
        """Columns of the sources in the picture: places, IDs and what stands beside them."""
        names = short_names(self.ids) if self.name else {}
        x, y = np.round(self.xy, 2).T.tolist()
        return {"x": x, "y": y, "id": self.ids, "text": [names.get(each, each) for each in self.ids]}

    @property
    def image(self) -> dict[str, list[Any]]:
        """Columns of the one picture: its URL and place."""
        ny, nx = self.shape
        url = "data:image/png;base64," + base64.b64encode(self.picture).decode("ascii")
        return {"url": [url], "x": [-0.5], "y": [ny - 0.5], "w": [nx], "h": [ny]}


def short_names(ids: Collection[str]) -> dict[str, str]:
    """Tell what stands beside objects in a figure: number, and field if there are several."""
    alone = len({name.partition("-")[0] for name in ids}) == 1
    return {name: _short(name, alone) for name in ids}


def _short(name: str, alone: bool) -> str:
    field, _, number = name.partition("-")
    return number.lstrip("0") if alone else f"{field.lstrip('F0')}-{number.lstrip('0')}"


def other_pictures(fields: Sequence[Field]) -> list[dict[str, Any]]:
    """All fields of a page as plain values, if there are several that take turns in a plot."""
    if len({field.name for field in fields}) < 2:
        return []
    return [
        {
            "name": field.name,
            "camera": field.camera,
            "title": field.title,
            "shape": list(field.shape),
            "image": field.image,
            "stars": field.stars,
        }
        for field in fields
    ]


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
    """Empty plot of a light curve; the page's script fills its sources.

    They are called ``good``, ``bad`` and ``bars``; where there are several nights, ``middles`` are their
    medians and ``gaps`` stand between them.
    """
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
        "good": ("x", "y", "error", "night", "time"),
        "bad": ("x", "y", "error", "night", "time"),
        "bars": ("x", "low", "high"),
        "middles": ("x", "y", "night"),
        "gaps": ("x",),
    }
    sources = {
        name: ColumnDataSource({column: [] for column in wanted}, name=name)
        for name, wanted in columns.items()
    }
    plot.vspan("x", source=sources["gaps"], line_color=_PALE, line_alpha=0.5)
    plot.segment("x", "low", "x", "high", source=sources["bars"], color=_BLUE, alpha=0.35)
    plot.scatter("x", "y", source=sources["bad"], size=4, color=_PALE, name="spoilt")
    points = plot.scatter("x", "y", source=sources["good"], size=4, color=_BLUE, name="good points")
    ring = {"size": 6, "fill_color": "white", "line_color": _ORANGE, "line_width": 1.5}
    plot.scatter("x", "y", source=sources["middles"], name="medians", **ring)
    plot.yaxis.formatter = NumeralTickFormatter(format="0.[000]a")
    tips = [("night", "@night"), ("time", "@time{0.000000}"), ("flux", "@y{0.00} ± @error{0.00}")]
    plot.add_tools(HoverTool(renderers=[points], tooltips=tips), _wheel())
    plot.add_layout(_axis_of_nights(), "below")
    return plot


def _axis_of_nights() -> Model:
    """Axis that names nights which stand side by side; the page's script shows it in place of the other."""
    from bokeh.models import FixedTicker, LinearAxis
    from bokeh.models.labeling import NoOverlap

    slanted = {"major_label_orientation": 0.9, "major_label_policy": NoOverlap(min_distance=2)}
    return LinearAxis(name="nights", ticker=FixedTicker(ticks=[]), visible=False, **slanted)


def _wheel() -> Model:
    from bokeh.models import WheelZoomTool

    # Over a figure a page must still scroll, unless it is clicked first.
    return WheelZoomTool(dimensions="width", zoom_on_axis=True)


def field_plots(fields: Sequence[Field]) -> dict[str, figure]:
    """Plot for each camera, of the first field that has it; the page's script shows the others in turn."""
    first: dict[str, Field] = {}
    for field in fields:
        first.setdefault(field.camera, field)
    return {f"field {camera}": field_plot(field) for camera, field in sorted(first.items())}


def field_plot(field: Field) -> figure:
    """Plot of a camera's stacked image; a click on a source tells the page's script."""
    from bokeh.models import ColumnDataSource, CustomJS, Range1d, TapTool
    from bokeh.plotting import figure

    ny, nx = field.shape
    plot = figure(
        name=f"field {field.camera}",
        title=field.title,
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
    image = ColumnDataSource(field.image, name=f"image {field.camera}")
    plot.image_url(url="url", x="x", y="y", w="w", h="h", anchor="top_left", source=image)
    source = ColumnDataSource(field.stars, name=f"sources {field.camera}")
    plot.scatter("x", "y", source=source, size=16, fill_alpha=0.0, line_color=_ORANGE, line_width=1.5)
    text = {"x_offset": 9, "y_offset": -6, "text_color": _ORANGE, "text_font_size": "11px"}
    plot.text("x", "y", text="text", source=source, **text)
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
