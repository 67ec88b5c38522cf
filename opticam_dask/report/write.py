"""Gather a reduction, or a survey, into one page."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opticam_dask.errors import InputError
from opticam_dask.report.curves import MOST_POINTS, Folder, curves_of, frames_to_average, rows_of
from opticam_dask.report.facts import flat_settings, records
from opticam_dask.report.plots import (
    check_bokeh,
    embedded,
    field_plots,
    library,
    light_curve_plot,
    other_pictures,
)
from opticam_dask.report.story import Map, Story
from opticam_dask.tables.atomic import write_text

if TYPE_CHECKING:
    import pandas as pd

_HERE = Path(__file__).parent
_LISTED = 500  # rejected frames named on the page


def write_report(out: str | Path, path: str | Path | None = None, *, run: Map | None = None) -> Path:
    """Write a page that shows a reduction or a survey: ``report.html``, one file that opens anywhere.

    Parameters
    ----------
    out : path
        Output directory of a reduction, or of a survey in whatever state: its nights are on one page.
    path : path, optional
        The file; by default ``report.html`` in the output directory.
    run : callable, optional
        Reads light curves elsewhere, on a cluster say; by default here, one after the other.

    Returns
    -------
    Path
        The file. It holds everything it shows, its scripts included, and asks no server for anything.
        Light curves of more than a million points together are averages of neighbouring frames, and the
        page says so.

    Raises
    ------
    InputError
        If the directory does not exist or holds no frame index.
    MissingPackageError
        If bokeh is not installed.
    """
    check_bokeh()
    root = Path(out)
    story = _story(root, run or _here)
    target = Path(path) if path is not None else root / "report.html"
    write_text(target, _page(story, run or _here))
    return target


def _story(out: Path, run: Map) -> Story:
    from opticam_dask.survey.verify import is_survey

    if is_survey(out):
        from opticam_dask.report.survey import story_of_survey

        return story_of_survey(out, run)
    if (out / "frames.parquet").is_file():
        from opticam_dask.report.night import story_of_reduction

        return story_of_reduction(out)
    raise InputError(f"{out}: no frame index there; give the output directory of a reduction or of a survey")


def _here(function: Callable[..., Any], items: Sequence[Any], constant: int) -> list[Any]:
    return [function(item, constant) for item in items]


def _page(story: Story, run: Map) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    place = Environment(loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined)
    place.filters |= {"number": _number, "json_in_page": _json_in_page}
    return place.get_template("page.html").render(_content(story, run))


def _content(story: Story, run: Map) -> dict[str, Any]:
    average = frames_to_average(sum(rows_of(folder) for folder in story.folders))
    plots = field_plots(story.fields)
    script, divs = embedded({"curve": light_curve_plot(story.unit), **plots})
    return {
        **vars(story),
        "name": story.out.resolve().name,
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "shown": {(folder.night, folder.camera) for folder in story.folders},
        "several": len({folder.night for folder in story.folders}) > 1,
        "reasons": _reasons(story.lost),
        "lost": records(story.lost.head(_LISTED)),
        "lost_beyond": max(0, len(story.lost) - _LISTED),
        "settings": flat_settings(story.settings),
        "average": average,
        "most_points": MOST_POINTS,
        "library": library(),
        "plots": script,
        "divs": divs,
        "fields": list(plots),
        "curves": json.dumps(_curves(story.folders, average, run)),
        "pictures": json.dumps(other_pictures(story.fields)),
        "script": (_HERE / "page.js").read_text(encoding="utf-8"),
        "style": (_HERE / "page.css").read_text(encoding="utf-8"),
    }


def _reasons(lost: pd.DataFrame) -> list[dict[str, Any]]:
    """Rejected frames by camera and reason."""
    grouped = lost.groupby(["camera", "reason"])
    return records(grouped.agg(frames=("file", "size"), nights=("night", "nunique")).reset_index())


def _curves(folders: Sequence[Folder], average: int, run: Map) -> list[dict[str, Any]]:
    """Light curves on one time scale: barycentric if every night and camera has such times, else UTC."""
    found = run(curves_of, folders, average)
    if len({block["barycentric"] for block in found}) > 1:
        found = run(curves_of, [replace(folder, barycentric=False) for folder in folders], average)
    return found


def _number(value: Any) -> str:
    """Text of a table's cell: four digits of a number, a dash where there is none."""
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else "-"
    return str(value)


def _json_in_page(text: str) -> str:
    """JSON of which no text can end the script it stands in."""
    return text.replace("<", "\\u003c")
