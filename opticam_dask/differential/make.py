"""Make relative light curves: judge nights, join them, write them; and do only what is missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from opticam_dask.differential.config import EnsembleConfig
from opticam_dask.differential.join import Joined, join_nights
from opticam_dask.differential.night import NightStars, NightTask, judge_night
from opticam_dask.differential.relative import NightPlan, Written, write_night
from opticam_dask.differential.rows import NightFolder, StarName
from opticam_dask.differential.summaries import comparisons_table, nights_table
from opticam_dask.errors import InputError
from opticam_dask.schema import OBJECT_ID
from opticam_dask.tables.atomic import forget, replacing
from opticam_dask.tables.digest import made_with, read_settings, record
from opticam_dask.tables.parts import camera_folder, camera_folders
from opticam_dask.tables.relative import PART, relative_folder
from opticam_dask.tables.store import find_dataset, ranges, sources
from opticam_dask.workspace import versions

if TYPE_CHECKING:
    import pandas as pd

Run: TypeAlias = Callable[[Callable[..., Any], Sequence[Any], str], list[Any]]
"""Calls a function on each task and a folder: ``run(function, tasks, folder)``."""

Comparisons: TypeAlias = "tuple[StarName, ...] | None"


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Parameters
    ----------
    out : Path
        Output directory of the reduction.
    label : str
        Photometer.
    name : str
        Name of the relative light curves.
    targets : mapping of str to (int or str)
        Camera -> target, its ID in the camera's catalogue or its object_id.
    comparisons : mapping of str to (tuple or None)
        Camera -> comparison stars; None chooses them.
    config : EnsembleConfig
        How to choose.
    """

    out: Path
    label: str
    name: str
    targets: Mapping[str, StarName]
    comparisons: Mapping[str, Comparisons]
    config: EnsembleConfig = field(default_factory=EnsembleConfig)

    @property
    def folder(self) -> Path:
        """Where the results go."""
        return relative_folder(self.out, self.label, self.name)

    def settings(self) -> dict[str, Any]:
        """Say what the results depend on, besides the rows of light curves."""
        photometry = read_settings(self.out / "lcs" / self.label / "settings.json")
        return {
            "targets": dict(self.targets),
            "comparisons": {
                camera: "auto" if chosen is None else list(chosen)
                for camera, chosen in self.comparisons.items()
            },
            "ensemble": self.config.settings(),
            "photometry": photometry,
        }

    def tasks(self) -> list[NightTask]:
        """One for each night and camera with light curves."""
        root = str(find_dataset(self.out, self.label).resolve())
        return [
            NightTask(folder, self.targets[camera], self.comparisons[camera], self.config)
            for night, camera in camera_folders(root)
            if camera in self.targets and (folder := NightFolder(root, night, camera)).files()
        ]


@dataclass(frozen=True, eq=False)
class Made:
    """What was made.

    Parameters
    ----------
    comparisons : DataFrame
        See `opticam_dask.tables.relative.comparison_stars`.
    nights : DataFrame
        See `opticam_dask.tables.relative.relative_nights`.
    """

    comparisons: pd.DataFrame
    nights: pd.DataFrame


def make_relative(request: Request, run: Run, *, overwrite: bool = False) -> Made:
    """Make the relative light curves that are asked for, as far as they are not there.

    Parameters
    ----------
    request : Request
        What is asked for.
    run : callable
        ``run(function, tasks, folder)`` calls the function on each task, somewhere.
    overwrite : bool
        Whether results of the same name made with other settings may be replaced.

    Raises
    ------
    SettingsChangedError
        If there are results of the same name made with other settings.
    InputError
        If no camera gives a relative light curve; the reason is that of the first night.
    """
    tasks = request.tasks()
    if not tasks:
        cameras = ", ".join(request.targets)
        raise InputError(f"{request.out}: no light curves {request.label!r} of camera {cameras}")
    if any(isinstance(target, str) for target in request.targets.values()):
        _check_survey(tasks[0])
    _prepare(request, overwrite)
    folder = request.folder.resolve()
    judged: list[NightStars] = run(judge_night, tasks, str(folder))
    _check_named(request, judged)
    joined = {camera: _join(camera, judged, request) for camera in request.targets}
    plans = _plans(request, tasks, judged, joined)
    root = folder / "light_curves"
    _forget_others(root, plans)
    written: list[Written] = run(write_night, plans, str(root))
    made = Made(comparisons_table(judged, joined), nights_table(judged, joined, written))
    _write(made.comparisons, folder / "comparisons.parquet")
    _write(made.nights, folder / "nights.parquet")
    if not any(one.measured for one in written):
        first = next(
            (row for row in made.nights["reason"] if row), "no frame has both target and comparisons"
        )
        raise InputError(f"{request.name}: no relative light curve: {first}")
    return made


def _prepare(request: Request, overwrite: bool) -> None:
    request.folder.mkdir(parents=True, exist_ok=True)
    recorded, settings = request.folder / "settings.json", request.settings()
    if not made_with(recorded, settings, overwrite=overwrite):
        forget(request.folder, first=recorded)
        record(recorded, settings)


def _check_survey(task: NightTask) -> None:
    if OBJECT_ID.name not in task.folder.dataset().schema.names:
        raise InputError(
            f"{task.folder.root}: the light curves have no object_id, which only a survey gives; "
            "name target and comparisons by their numbers in the catalogue"
        )


def _check_named(request: Request, judged: Sequence[NightStars]) -> None:
    """Refuse stars that the user named and that no night has."""
    for camera, target in request.targets.items():
        nights = [night for night in judged if night.camera == camera]
        if nights and not any(night.source or "cannot be read" in night.reason for night in nights):
            raise InputError(
                f"{request.out}: no source {target} in camera {camera}; {_known(request, camera)}"
            )
        seen = {star.name for night in nights for star in night.stars}
        missing = [str(one) for one in request.comparisons[camera] or () if str(one) not in seen]
        if missing and seen:
            raise InputError(
                f"{request.out}: no comparison {', '.join(missing)} in camera {camera}; "
                f"{_known(request, camera)}"
            )


def _known(request: Request, camera: str) -> str:
    root = find_dataset(request.out, request.label)
    return f"sources: {ranges(sources(root, camera))}"


def _join(camera: str, judged: Sequence[NightStars], request: Request) -> Joined:
    nights = [night for night in judged if night.camera == camera]
    return join_nights(nights, request.config, automatic=request.comparisons[camera] is None)


def _plans(
    request: Request, tasks: Sequence[NightTask], judged: Sequence[NightStars], joined: Mapping[str, Joined]
) -> list[NightPlan]:
    provenance = tuple(sorted({**versions(), "label": request.label, "relative": request.name}.items()))
    plans = []
    for task, night in zip(tasks, judged, strict=True):
        scale = joined[night.camera]
        used = tuple(scale.used(night))
        if night.reason or not used:
            continue
        plans.append(
            NightPlan(
                task.folder,
                night.source,
                used,
                task.plain,
                scale.zero_point.get(night.night, float("nan")),
                scale.total,
                scale.level,
                night.digest,
                provenance,
            )
        )
    return plans


def _forget_others(root: Path, plans: Sequence[NightPlan]) -> None:
    """Remove what earlier runs left of nights that have no relative light curve any more."""
    wanted = {(plan.folder.night, plan.folder.camera) for plan in plans}
    for night, camera in camera_folders(root):
        if (night, camera) not in wanted:
            (camera_folder(root, night, camera) / PART).unlink(missing_ok=True)


def _write(table: pd.DataFrame, path: Path) -> None:
    with replacing(path) as temporary:
        pq.write_table(pa.Table.from_pandas(table, preserve_index=False), temporary)
