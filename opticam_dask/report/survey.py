"""What the page of a survey shows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opticam_dask.matching import Master
from opticam_dask.plotting.source_quality import rms_figure
from opticam_dask.report import facts, nightly
from opticam_dask.report.curves import Folder, filled_folders
from opticam_dask.report.fields import MOST_FIELDS, survey_fields
from opticam_dask.report.nightly_plot import nightly_figure
from opticam_dask.report.pictures import picture_of
from opticam_dask.report.plots import short_names
from opticam_dask.report.scatter import scatter_in_night, scatter_over_nights
from opticam_dask.report.story import Map, Story
from opticam_dask.schema import CLOUD_MAG
from opticam_dask.survey.arrivals import nights_folder
from opticam_dask.survey.settings import NAME as SETTINGS_NAME
from opticam_dask.tables.digest import read_settings

if TYPE_CHECKING:
    import pandas as pd

_NAMED = 12  # nights of a kind
_LEAST = 2  # measurements of a night that have a scatter


def story_of_survey(out: Path, run: Map) -> Story:
    """Gather what is known of a survey, from its output directory, in whatever state it is."""
    ledger, master = nightly.ledger_of(out), Master.load(out)
    folders = filled_folders(out, "object_id")
    unit = facts.unit_of(folders)
    nights = sorted(set(ledger["night"]))
    quality = nightly.quality_of_nights(out, nights)
    stars = nightly.residuals_of_nights(master.sightings)
    rows = nightly.rows_of_nights(ledger, quality, stars) + nightly.waiting_nights(out, ledger)
    versions, command = _made_by(out, nights)
    return Story(
        out=out,
        thing="object",
        unit=unit,
        columns={key: text.format(unit=unit) for key, text in nightly.NAMES.items()},
        nights=rows,
        lost=nightly.rejected_in(out, nights),
        folders=folders,
        fields=survey_fields(out, master),
        quality=_quality(quality, stars, ledger, unit),
        noise=_noise(folders, unit, run),
        remarks=_remarks(rows, master),
        versions=versions,
        command=command,
        settings=read_settings(out / SETTINGS_NAME) or {},
    )


def _quality(quality: pd.DataFrame, stars: pd.DataFrame, ledger: pd.DataFrame, unit: str) -> str:
    key = ["night", "camera"]
    nights = quality.merge(stars, on=key, how="left").merge(ledger[[*key, "extinction"]], on=key, how="left")
    dated = ledger[ledger["night"] != ""]
    reduced = set(dated[dated["status"].isin(["reduced", "gone"])]["night"])
    failed = sorted(set(dated["night"]) - reduced)
    return picture_of(nightly_figure(nights, failed, unit)) if len(nights) else ""


def _noise(folders: Sequence[Folder], unit: str, run: Map) -> dict[str, str]:
    tables: dict[str, dict[str, list[pd.DataFrame]]] = defaultdict(lambda: defaultdict(list))
    for folder, table in zip(folders, run(scatter_in_night, folders, _LEAST), strict=True):
        if len(table):
            tables[folder.label][folder.camera].append(table)
    return {label: _scatter_picture(cameras, unit) for label, cameras in sorted(tables.items())}


def _scatter_picture(cameras: Mapping[str, Sequence[pd.DataFrame]], unit: str) -> str:
    found = {camera: scatter_over_nights(nights) for camera, nights in sorted(cameras.items())}
    names = short_names({name for table in found.values() for name in table["object_id"]})
    tables = {camera: table.assign(source=table["object_id"].map(names)) for camera, table in found.items()}
    return picture_of(rms_figure(tables, unit=unit))


def _remarks(rows: Sequence[Mapping[str, Any]], master: Master) -> list[str]:
    """Sum up what came of the nights, and what the page does not show."""
    states = _states(rows)
    fields = master.fields[master.fields["joined_to"] == ""]
    counted = [f"{len(nights)} {state}" for state, nights in states.items()]
    total = sum(map(len, states.values()))
    seen = f"{len(fields)} field(s), {len(master.objects)} objects."
    remarks = [f"{total} nights: {', '.join(counted) or 'none yet'}. {seen}"]
    remarks += [
        f"{state.capitalize()}: {_listed(nights)}." for state, nights in states.items() if state != "reduced"
    ]
    faint = sorted({row["night"] for row in rows if row.get("extinction", 0.0) >= CLOUD_MAG})
    if faint:
        remarks.append(f"Stars are fainter than in clear nights in {_listed(faint)}.")
    if len(fields) > MOST_FIELDS:
        remarks.append(f"Pictures show the {MOST_FIELDS} fields seen in most nights.")
    nameless = int((master.sightings["object_id"] == "").sum())
    if nameless:
        remarks.append(
            f"{nameless} source(s) of single nights are not known to be some object and have no curve here; "
            "the pages of their nights show them."
        )
    return remarks


def _states(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Nights by their status, that of their best camera."""
    found: dict[str, str] = {}
    for row in rows:
        if row["night"] != nightly.NO_DATE and found.get(row["night"]) != "reduced":
            found[row["night"]] = row["status"]
    states: dict[str, list[str]] = defaultdict(list)
    for night, state in sorted(found.items(), key=lambda item: (item[1] != "reduced", item[1], item[0])):
        states[state].append(night)
    return dict(states)


def _listed(nights: Sequence[str]) -> str:
    beyond = f" and {len(nights) - _NAMED} more" if len(nights) > _NAMED else ""
    return ", ".join(nights[:_NAMED]) + beyond


def _made_by(out: Path, nights: Iterable[str]) -> tuple[dict[str, str], str]:
    """Versions that the nights were reduced with, all there were, and the last command."""
    found: dict[str, dict[str, None]] = defaultdict(dict)
    command: list[Any] = []
    for night in nights:
        known = facts.provenance(nights_folder(out) / night) if night else {}
        command = known.get("command", command)
        for package, number in known.get("versions", {}).items():
            found[package][str(number)] = None
    versions = {package: " and ".join(numbers) for package, numbers in found.items()}
    return versions, " ".join(map(str, command))
