"""The catalogue of a camera that is followed: made of its first frames, then fixed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from opticam_dask.calibration import FrameCalibration, calibrations_for
from opticam_dask.catalog.build import build_tracked
from opticam_dask.catalog.finder import DefaultFinder
from opticam_dask.catalog.store import load_catalogs, save_catalogs
from opticam_dask.errors import CatalogError, InputError, SettingsChangedError
from opticam_dask.follow.camera import Camera
from opticam_dask.follow.photometry import CameraPhotometry
from opticam_dask.follow.plans import load_plan, no_track, save_plan
from opticam_dask.io.frame_table import layouts
from opticam_dask.plotting.catalogs import catalogs_figure
from opticam_dask.plotting.style import save_figure
from opticam_dask.stages import CatalogStage
from opticam_dask.stages.blocks import blocks_of
from opticam_dask.stages.catalog import describe
from opticam_dask.stages.coordinates import add_coordinates, locate
from opticam_dask.tables.digest import canonical, changed

if TYPE_CHECKING:
    import pandas as pd

    from opticam_dask.catalog.fixing import TrackingPlan
    from opticam_dask.catalog.model import CameraCatalog
    from opticam_dask.follow.aligning import Run
    from opticam_dask.follow.settings import Reduction
    from opticam_dask.photometers.base import BasePhotometer
    from opticam_dask.stages.catalog import Say
    from opticam_dask.workspace import OutputTree


class UnreadableFramesError(Exception):
    """Frames that a catalogue was to be made of could not be read: files, and why."""

    def __init__(self, files: dict[str, str]) -> None:
        super().__init__(f"{len(files)} files")
        self.files = files


@dataclass
class Starter:
    """Makes the catalogues of cameras, and reads them back after a stop."""

    tree: OutputTree
    how: Reduction
    photometers: list[BasePhotometer]
    run: Run
    say: Say

    def start(self, rows: pd.DataFrame, *, least: float) -> Camera:
        """Make the catalogue of a camera, and all that further frames are reduced with.

        Parameters
        ----------
        rows : DataFrame
            Accepted, numbered rows of the frame index, of one camera.
        least : float
            Frames that must align.

        Raises
        ------
        CatalogError
            If no catalogue can be made of these frames, or too few of them align.
        InputError
            If there is no master frame for this camera.
        UnreadableFramesError
            If some of the frames cannot be read.
        """
        name = str(rows["camera"].iloc[0])
        calibration = self._calibration(name, rows)
        stage = self._stage(rows, calibration)
        catalog, plan = self._build(stage, name)
        _check_readable(catalog, rows)
        aligned = int((catalog.alignment["status"] == "aligned").sum())
        if aligned < least:
            raise CatalogError(f"camera {name}: only {aligned} of {len(rows)} frames align")
        add_coordinates(catalog, locate(catalog, rows, self.how.wcs, calibration))
        save_catalogs(self.tree.root, [catalog])
        notes = {"calibration": _settings(calibration), "layout": str(layouts(rows).iloc[0])}
        save_plan(self._plan_path(name), plan, notes)
        self.say(describe(catalog))
        return self._camera(stage, catalog, plan, notes["layout"])

    def restore(self, name: str, rows: pd.DataFrame, alignment: pd.DataFrame) -> Camera:
        """Camera of an earlier run.

        Parameters
        ----------
        name : str
            The camera.
        rows, alignment : DataFrame
            Frames that its catalogue was made of, and their alignment.

        Raises
        ------
        SettingsChangedError
            If frames would be calibrated otherwise than before.
        InputError
            If something of the earlier run is missing.
        """
        plan, notes = load_plan(self._plan_path(name))
        calibration = self._calibration(name, rows)
        different = changed({"calibration": notes["calibration"]}, {"calibration": _settings(calibration)})
        if different:
            raise SettingsChangedError(
                f"{self.tree.root}: the frames there were calibrated otherwise ({'; '.join(different)}); "
                "use overwrite=True (--overwrite) to follow anew, or another output directory"
            )
        catalog = load_catalogs(self.tree.root).get(name)
        if catalog is None:
            raise InputError(f"{self.tree.cat}: the catalogue of {name} is gone; --overwrite follows anew")
        catalog = replace(catalog, alignment=alignment.reset_index(drop=True))
        return self._camera(self._stage(rows, calibration), catalog, plan, notes["layout"])

    def _camera(self, stage: CatalogStage, catalog: CameraCatalog, plan: TrackingPlan, layout: str) -> Camera:
        photometry = CameraPhotometry(stage, {catalog.camera: catalog}, self.photometers)
        photometry.ready(self.how, self.run, self.say)
        return Camera(catalog.camera, catalog, replace(plan, track=no_track()), photometry, layout)

    def _calibration(self, name: str, rows: pd.DataFrame) -> FrameCalibration | None:
        return calibrations_for(rows, self.how.calibration, run=self.run, say=_quiet)[name]

    def _stage(self, rows: pd.DataFrame, calibration: FrameCalibration | None) -> CatalogStage:
        return CatalogStage(
            tree=self.tree,
            frames=rows,
            aperture_selector=self.how.aperture_selector,
            background=self.how.background,
            finder=self.how.finder,
            threshold=self.how.threshold,
            instrument=self.how.instrument,
            barycenter=self.how.barycenter,
            wcs=self.how.wcs,
            calibrations={str(rows["camera"].iloc[0]): calibration},
        )

    def _build(self, stage: CatalogStage, name: str) -> tuple[CameraCatalog, TrackingPlan]:
        blocks = stage.prepared(blocks_of(stage.cameras()[name]))
        return build_tracked(
            blocks,
            run=self.run,
            background=self.how.background,
            finder=self.how.finder or DefaultFinder.for_width(blocks[0].shape[1]),
            threshold=self.how.threshold,
            config=self.how.alignment,
            aperture_selector=self.how.aperture_selector,
        )

    def _plan_path(self, name: str) -> Path:
        from urllib.parse import quote

        return self.tree.root / "follow" / f"plan-{quote(name, safe='')}.npz"

    def draw(self) -> None:
        """Draw the stacked images of all cameras with their sources."""
        catalogs = load_catalogs(self.tree.root)
        figure = catalogs_figure({c: (k.stacked_image, k.xy, k.psf) for c, k in catalogs.items()})
        save_figure(figure, self.tree.cat / "catalogs.pdf")


def _settings(calibration: FrameCalibration | None) -> Any:
    return None if calibration is None else canonical(calibration.settings())


def _check_readable(catalog: CameraCatalog, rows: pd.DataFrame) -> None:
    """Raise UnreadableFramesError if a frame of a catalogue could not be read."""
    bad = catalog.alignment[catalog.alignment["status"] == "unreadable"]
    if len(bad):
        paths = rows.set_index(["night", "frame"])["path"]
        files = [str(path) for path in paths.loc[list(zip(bad["night"], bad["frame"], strict=True))]]
        raise UnreadableFramesError(dict(zip(files, bad["reason"].astype(str), strict=True)))


def least_aligned(frames: int, *, last: bool) -> int:
    """Frames of so many that must align for a catalogue: half, at the end of the night one."""
    return 1 if last else int(np.ceil(frames / 2))


def _quiet(_: str) -> None:
    """Say nothing: what there is to tell was told when the masters were made."""
