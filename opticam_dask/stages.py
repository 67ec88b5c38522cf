"""The two stages of a reduction: frames to catalogues, catalogues to light curves."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from opticam_dask.catalog.alignment import unaligned_table
from opticam_dask.catalog.build import AlignmentConfig, CameraCatalog, build_catalog
from opticam_dask.catalog.finder import DefaultFinder
from opticam_dask.catalog.store import load_catalogs, save_catalogs
from opticam_dask.config import blocks_at_least, export_csv_group, frames_per_block
from opticam_dask.errors import CatalogError
from opticam_dask.io.blocks import FrameBlock, split_blocks
from opticam_dask.kernels.background import default_box_size
from opticam_dask.lazy.chunks import join_tasks, map_blocks_of_frames
from opticam_dask.photometers.base import BasePhotometer
from opticam_dask.photometers.estimator import check_estimator
from opticam_dask.photometers.source_digest import identity
from opticam_dask.plotting.catalogs import catalogs_figure
from opticam_dask.plotting.style import save_figure, show_in_notebook
from opticam_dask.shipping import by_value
from opticam_dask.tables.atomic import forget
from opticam_dask.tables.digest import frames_digests, made_with, read_settings, record
from opticam_dask.tables.export_csv import csv_path, export_camera
from opticam_dask.tables.light_curves import BlockSummary, PhotometryPlan, align_blocks, measure_block
from opticam_dask.tables.parts import existing_parts, is_whole, part_path
from opticam_dask.workspace import OutputTree, versions

Run = Callable[[Any, str], list[Any]]
Say = Callable[[str], None]


@dataclass
class CatalogStage:
    """Frames of all cameras and how their catalogues are made."""

    tree: OutputTree
    frames: pd.DataFrame
    aperture_selector: Callable[..., Any]
    background: Callable[..., Any] | None
    finder: Callable[..., Any] | None
    threshold: float

    def cameras(self) -> dict[str, pd.DataFrame]:
        """Group the accepted frames by camera."""
        return {str(camera): rows for camera, rows in self.frames.groupby("camera", sort=True)}

    def settings(self) -> dict[str, Any]:
        """Everything that changes the catalogues, apart from the alignment's own settings."""
        return {
            **frames_digests(self.frames),
            "threshold": self.threshold,
            "aperture_selector": _identity(self.aperture_selector),
            "background": _identity(self.background),
            "finder": _identity(self.finder),
        }

    def create(
        self, config: AlignmentConfig, *, run: Run, say: Say, overwrite: bool, show: bool
    ) -> dict[str, CameraCatalog]:
        """Make the catalogues, or read back those made with the same settings."""
        settings = {**self.settings(), **asdict(config)}
        if made_with(self._recorded, settings, overwrite=overwrite):
            say("Catalogues exist and fit the settings; reading them back.")
            return load_catalogs(self.tree.root)
        forget(self.tree.cat, first=self._recorded)
        self.tree.alignment.unlink(missing_ok=True)
        catalogs, reasons = self._build(config, run, say)
        frames = self.cameras()
        lost = [unaligned_table(frames[camera], reason) for camera, reason in reasons.items()]
        save_catalogs(self.tree.root, catalogs, lost)
        figure = catalogs_figure({c: (k.stacked_image, k.xy, k.psf) for c, k in catalogs.items()})
        save_figure(figure, self.tree.cat / "catalogs.pdf")
        # Last: where the settings stand, every camera has its catalogue.
        record(self._recorded, settings)
        if show:
            show_in_notebook(figure)
        return catalogs

    @property
    def _recorded(self) -> Path:
        return self.tree.cat / "settings.json"

    def known(self, say: Say) -> dict[str, CameraCatalog]:
        """Catalogues on disk; none unless they are complete and made from these very frames.

        The alignment goes by the numbers of the frames, which change with every frame that comes or goes.
        """
        if not self._recorded.is_file():
            return {}
        recorded = read_settings(self._recorded) or {}
        if any(recorded.get(name) != value for name, value in frames_digests(self.frames).items()):
            say(
                "The catalogues there were made from other frames; create_catalogs(overwrite=True) makes new."
            )
            return {}
        return load_catalogs(self.tree.root)

    def _build(
        self, config: AlignmentConfig, run: Run, say: Say
    ) -> tuple[dict[str, CameraCatalog], dict[str, str]]:
        """Make the catalogues, and say why a camera has none."""
        catalogs: dict[str, CameraCatalog] = {}
        reasons: dict[str, str] = {}
        pending = _at_once(
            {
                camera: partial(self._build_camera, rows, config, run)
                for camera, rows in self.cameras().items()
            }
        )
        for camera, future in pending.items():
            try:
                catalogs[camera] = future.result()
            except CatalogError as error:
                reasons[camera] = f"no catalogue: {error}"
                say(reasons[camera])
                continue
            say(describe(catalogs[camera]))
        if not catalogs:
            more = f"; {len(reasons) - 1} more in {self.tree.log}" if len(reasons) > 1 else ""
            raise CatalogError(f"{self.tree.root}: {next(iter(reasons.values()))}{more}")
        return catalogs, reasons

    def _build_camera(self, rows: pd.DataFrame, config: AlignmentConfig, run: Run) -> CameraCatalog:
        width = int(rows["shape"].iloc[0].split("x")[1])
        return build_catalog(
            blocks_of(rows),
            run=run,
            background=self.background,
            finder=self.finder or DefaultFinder.for_width(width),
            threshold=self.threshold,
            config=config,
            aperture_selector=self.aperture_selector,
        )


@dataclass
class PhotometryStage:
    """Catalogues and a photometer: what one set of light curves is made with."""

    catalog_stage: CatalogStage
    catalogs: dict[str, CameraCatalog]
    photometer: BasePhotometer

    @property
    def tree(self) -> OutputTree:
        """The output directory."""
        return self.catalog_stage.tree

    @property
    def label(self) -> str:
        """Name of this set of light curves."""
        return self.photometer.label

    @property
    def root(self) -> Path:
        """Folder of the parquet dataset."""
        return self.tree.light_curves(self.label)

    def settings(self) -> dict[str, Any]:
        """Everything that changes the light curves."""
        return {
            **frames_digests(self.catalog_stage.frames),
            "background": _identity(self.catalog_stage.background),
            "catalogs": {camera: catalog.digest() for camera, catalog in self.catalogs.items()},
            "photometer": self.photometer.settings(),
        }

    def measure(self, *, run: Run, say: Say, overwrite: bool) -> list[tuple[Any, ...]]:
        """Measure the blocks whose part is missing; all of them when nothing can be reused."""
        if self.photometer.local_background_estimator is not None:
            check_estimator(
                self.photometer.local_background_estimator, next(iter(self.catalogs.values())).psf
            )
        folder = self.tree.lcs / self.label
        folder.mkdir(parents=True, exist_ok=True)
        settings, recorded = self.settings(), folder / "settings.json"
        if not made_with(recorded, settings, overwrite=overwrite):
            forget(folder, first=recorded)
            record(recorded, settings)
        frames = self.catalog_stage.cameras()
        tasks = [self._tasks(catalog, frames[camera], say) for camera, catalog in self.catalogs.items()]
        summaries: list[BlockSummary] = run(join_tasks(tasks), f"photometry: {self.label}")
        for camera in self.catalogs:
            say(_tell(camera, [summary for summary in summaries if summary.key[1] == camera]))
        return [tuple(vars(summary).values()) for summary in summaries]

    def _tasks(self, catalog: CameraCatalog, rows: pd.DataFrame, say: Say) -> Any:
        """Lay out one task for each block of a camera whose part is missing."""
        blocks = self._missing(blocks_of(rows), catalog.camera, say)
        if not blocks:
            say(f"{catalog.camera}: light curves '{self.label}' are complete.")
        aligned = align_blocks(blocks, catalog.alignment)
        return map_blocks_of_frames(measure_block, aligned, plan=self.plan(catalog))

    def _missing(self, blocks: list[FrameBlock], camera: str, say: Say) -> list[FrameBlock]:
        """Blocks without a whole part; damaged parts and those of another division are removed."""
        wanted = {block.key for block in blocks}
        have = {key for key in existing_parts(self.root) if key[1] == camera}
        for stale in have - wanted:
            part_path(self.root, stale).unlink()
        damaged = {key for key in have & wanted if not is_whole(part_path(self.root, key))}
        for key in damaged:
            part_path(self.root, key).unlink()
        if damaged:
            first = part_path(self.root, min(damaged))
            say(f"{camera}: parts damaged on disk, made again: {len(damaged)} (the first is {first})")
        return [block for block in blocks if block.key not in have - damaged]

    def plan(self, catalog: CameraCatalog) -> PhotometryPlan:
        """Gather what every block of a camera is measured with."""
        background = self.catalog_stage.background
        return PhotometryPlan(
            root=self.root.resolve(),
            xy=np.asarray(catalog.xy, np.float64),
            source=np.asarray(catalog.table["source"], np.int32),
            psf=catalog.psf,
            photometer=by_value(self.photometer),
            background=background and by_value(background),
            box_size=default_box_size(catalog.stacked_image.shape[1], catalog.psf.semimajor_sigma),
            hot=catalog.hot,
            provenance={**versions(), "label": self.label},
        )

    def export(self, *, run: Run, say: Say, everything: bool) -> None:
        """Write one CSV file per source, or only those that are missing; the workers share the sources."""
        folder = (self.tree.lcs / self.label).resolve()
        jobs = []
        for camera, catalog in self.catalogs.items():
            sources = [int(source) for source in catalog.table["source"]]
            todo = [s for s in sources if everything or not csv_path(folder, camera, s).is_file()]
            jobs += [(camera, chunk) for chunk in _chunks(todo, export_csv_group())]
        if not jobs:
            return
        paths = run(map_blocks_of_frames(_export, jobs, folder), "writing CSV")
        say(f"{sum(map(len, paths))} CSV files in {self.tree.lcs / self.label}")


def _at_once(calls: dict[str, Callable[[], Any]]) -> dict[str, Future[Any]]:
    """Start calls in threads of their own: each waits for the cluster, which works on all of them."""
    pool = ThreadPoolExecutor(max_workers=max(1, len(calls)))
    futures = {name: pool.submit(call) for name, call in calls.items()}
    pool.shutdown(wait=False)
    return futures


def blocks_of(rows: pd.DataFrame) -> list[FrameBlock]:
    """Cut a camera's frames by bytes, but a short night into pieces enough for several workers."""
    blocks = split_blocks(rows)
    if frames_per_block() is not None or len(blocks) >= blocks_at_least():
        return blocks
    return split_blocks(rows, frames_per_block=math.ceil(len(rows) / blocks_at_least()))


def _export(job: tuple[str, list[int]], folder: Path) -> list[Path]:
    camera, sources = job
    return export_camera(folder / "light_curves", folder, camera, sources)


def _chunks(values: Any, size: int) -> list[Any]:
    return [values[start : start + size] for start in range(0, len(values), size)]


def describe(catalog: CameraCatalog) -> str:
    """One line on a camera's catalogue."""
    status = catalog.alignment["status"].value_counts()
    lost = len(catalog.alignment) - int(status.get("aligned", 0))
    tail = f", {lost} not aligned" if lost else ""
    tail += f", {len(catalog.hot)} hot pixels" if len(catalog.hot) else ""
    psf = catalog.psf
    return (
        f"{catalog.camera}: {len(catalog.table)} sources, {len(catalog.alignment)} frames{tail}, "
        f"PSF {psf.semimajor_sigma:.3f} x {psf.semiminor_sigma:.3f} px at {psf.orientation:.1f} deg"
    )


def _tell(camera: str, summaries: list[BlockSummary]) -> str:
    rows, measured = sum(s.rows for s in summaries), sum(s.measured for s in summaries)
    lines = [f"{camera}: {measured} of {rows} measurements have a flux"] if rows else []
    lines += [f"{camera}: unreadable: {reason}" for s in summaries for reason in s.unreadable]
    return "\n".join(lines)


def _identity(function: Callable[..., Any] | None) -> dict[str, str] | None:
    """Name and digest of a user's function; None for the default."""
    return None if function is None else identity(function)
