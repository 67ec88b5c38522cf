"""Gather a reduction into one page."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opticam_dask.catalog.store import load_catalogs
from opticam_dask.errors import InputError
from opticam_dask.report import facts
from opticam_dask.report.curves import MOST_POINTS, Folder, curves_of, frames_to_average, rows_of
from opticam_dask.report.pictures import field_of, noise_picture, quality_picture
from opticam_dask.report.plots import check_bokeh, embedded, field_plot, library, light_curve_plot
from opticam_dask.tables.atomic import write_text
from opticam_dask.tables.parts import camera_folders
from opticam_dask.tables.store import dataset_root, flux_unit, labels

if TYPE_CHECKING:
    from opticam_dask.catalog.model import CameraCatalog

Map = Callable[[Callable[..., Any], Sequence[Any], int], list[Any]]
"""Runs ``function(item, constant)`` on items, and returns what comes back, in order."""

_HERE = Path(__file__).parent
_LISTED = 500  # rejected frames named on the page


def write_report(out: str | Path, path: str | Path | None = None, *, run: Map | None = None) -> Path:
    """Write a page that shows a reduction: ``report.html``, one file that opens anywhere.

    Parameters
    ----------
    out : path
        Output directory of a reduction.
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
    if not (root / "frames.parquet").is_file():
        survey = (root / "nights").is_dir()
        remedy = (
            f"one of its nights, in {root / 'nights'}" if survey else "the output directory of a reduction"
        )
        raise InputError(f"{root}: no frame index there; give {remedy}")
    target = Path(path) if path is not None else root / "report.html"
    write_text(target, _page(root, run or _here))
    return target


def _here(function: Callable[..., Any], items: Sequence[Any], constant: int) -> list[Any]:
    return [function(item, constant) for item in items]


def _page(out: Path, run: Map) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    place = Environment(loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined)
    place.filters |= {"number": _number, "json_in_page": _json_in_page}
    return place.get_template("page.html").render(_content(out, run))


def _content(out: Path, run: Map) -> dict[str, Any]:
    catalogs = load_catalogs(out)
    names = [label for label in labels(out) if camera_folders(dataset_root(out, label))]
    unit = flux_unit(dataset_root(out, names[0])) if names else "adu"
    folders = [each for label in names for each in _folders(out, label)]
    average = frames_to_average(sum(rows_of(folder) for folder in folders))
    script, divs = embedded({"curve": light_curve_plot(unit), **_fields(catalogs)})
    provenance = facts.provenance(out)
    lost = facts.rejected(out)
    return {
        "name": out.resolve().name,
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "columns": {key: text.format(unit=unit) for key, text in facts.NAMES.items()},
        "nights": facts.nights(out, {c: len(k.table) for c, k in catalogs.items()}).to_dict("records"),
        "reasons": lost.groupby(["camera", "reason"]).size().reset_index(name="frames").to_dict("records"),
        "lost": lost.head(_LISTED).to_dict("records"),
        "lost_beyond": max(0, len(lost) - _LISTED),
        "versions": provenance.get("versions", {}),
        "command": " ".join(map(str, provenance.get("command", []))),
        "settings": facts.flat_settings(provenance.get("config", {})),
        "average": average,
        "most_points": MOST_POINTS,
        "unit": unit,
        "quality": quality_picture(out, unit) if catalogs else "",
        "noise": {label: noise_picture(out, label, catalogs) for label in names} if catalogs else {},
        "library": library(),
        "plots": script,
        "divs": divs,
        "fields": [f"field {camera}" for camera in catalogs],
        "curves": json.dumps(_curves(folders, average, run)),
        "script": (_HERE / "page.js").read_text(encoding="utf-8"),
        "style": (_HERE / "page.css").read_text(encoding="utf-8"),
    }


def _curves(folders: list[Folder], average: int, run: Map) -> list[dict[str, Any]]:
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


def _fields(catalogs: dict[str, CameraCatalog]) -> dict[str, Any]:
    return {f"field {camera}": field_plot(field_of(catalog)) for camera, catalog in catalogs.items()}


def _folders(out: Path, label: str) -> list[Folder]:
    root = dataset_root(out, label)
    return [Folder(root, label, night, camera, "source") for night, camera in camera_folders(root)]
