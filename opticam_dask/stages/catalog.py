"""First stage of a reduction: frames to catalogues."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, cast

import pandas as pd

from opticam_dask.calibration import FrameCalibration, calibrated
from opticam_dask.catalog.alignment import unaligned_table
from opticam_dask.catalog.build import AlignmentConfig, CameraCatalog, build_catalog
from opticam_dask.catalog.finder import NOTICE, DefaultFinder
from opticam_dask.catalog.store import load_catalogs, save_catalogs
from opticam_dask.errors import CatalogError
from opticam_dask.instrument import Instrument
from opticam_dask.io.blocks import FrameBlock
from opticam_dask.photometers.source_digest import identity
from opticam_dask.stages.blocks import blocks_of, by_camera
from opticam_dask.stages.coordinates import WcsOption, add_coordinates, locate, wcs_identity, wcs_of
from opticam_dask.tables.atomic import forget, sweep
from opticam_dask.tables.digest import canonical, frames_digests, made_with, read_settings, record
from opticam_dask.tables.failures import not_aligned
from opticam_dask.tables.lock import held
from opticam_dask.workspace import OutputTree

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
    instrument: Instrument
    barycenter: bool = True
    wcs: WcsOption = None
    calibrations: dict[str, FrameCalibration | None] = field(default_factory=dict)

    @property
    def unit(self) -> str:
        """Unit of the pixels, adu or electron."""
        used = [how for how in self.calibrations.values() if how is not None]
        return "electron" if any(how.electrons for how in used) else "adu"

    def blocks(self, camera: str, rows: pd.DataFrame | None = None) -> list[FrameBlock]:
        """Cut the frames of a camera, or some of them, into blocks that are calibrated when they are read."""
        return self.prepared(blocks_of(self.cameras()[camera] if rows is None else rows))

    def prepared(self, blocks: list[FrameBlock]) -> list[FrameBlock]:
        """Let blocks of one camera be calibrated when they are read."""
        return cast("list[FrameBlock]", calibrated(blocks, self.calibrations.get(blocks[0].camera)))

    def cameras(self) -> dict[str, pd.DataFrame]:
        """Group the accepted frames by camera."""
        return dict(self._by_camera)

    @cached_property
    def _by_camera(self) -> dict[str, pd.DataFrame]:
        return by_camera(self.frames)

    @cached_property
    def _frames_digests(self) -> dict[str, str]:
        return frames_digests(self.frames)

    def settings(self) -> dict[str, Any]:
        """Everything that changes the catalogues, apart from the alignment's own settings."""
        return {
            **self.pixels(),
            "threshold": self.threshold,
            "aperture_selector": identity_of(self.aperture_selector),
            "background": identity_of(self.background),
            "finder": identity_of(self.finder),
            "wcs": wcs_identity(self.wcs),
        }

    def pixels(self) -> dict[str, Any]:
        """Tell the calibrated pixels from others: frames, files, and what was done to them."""
        calibrations = {
            camera: None if how is None else how.settings() for camera, how in self.calibrations.items()
        }
        return {**self._frames_digests, "calibration": calibrations}

    @property
    def is_made(self) -> bool:
        """Whether there are catalogues, made with whatever settings."""
        return self._recorded.is_file()

    def is_made_with(self, config: AlignmentConfig, *, overwrite: bool) -> bool:
        """Whether the catalogues there hold; not if blocks failed that are to be tried again.

        Raises
        ------
        SettingsChangedError
            If they were made with other settings and must not be overwritten.
        """
        settings = {**self.settings(), **asdict(config)}
        unfinished = overwrite and bool(not_aligned(self.tree.root))
        return made_with(self._recorded, settings, overwrite=overwrite) and not unfinished

    def create(
        self, config: AlignmentConfig, *, run: Run, say: Say, overwrite: bool
    ) -> dict[str, CameraCatalog]:
        """Make the catalogues, or read back those made with the same settings."""
        with held(self.tree.root, "create_catalogs"):
            catalogs = self._create(config, run, say, overwrite=overwrite)
        for block in not_aligned(self.tree.root):
            say(f"warning: {block}")
        return catalogs

    def _create(
        self, config: AlignmentConfig, run: Run, say: Say, *, overwrite: bool
    ) -> dict[str, CameraCatalog]:
        if self.is_made_with(config, overwrite=overwrite):
            say("Catalogues exist and fit the settings; reading them back.")
            return load_catalogs(self.tree.root)
        sweep(self.tree.root, self.tree.cat, self.tree.cat / "stacked_images", self.tree.misc)
        forget(self.tree.cat, first=self._recorded)
        self.tree.alignment.unlink(missing_ok=True)
        catalogs, reasons = self._build(config, run, say)
        frames = self.cameras()
        lost = [unaligned_table(frames[camera], reason) for camera, reason in reasons.items()]
        save_catalogs(self.tree.root, catalogs, lost)
        # Last: where the settings stand, every camera has its catalogue.
        record(self._recorded, {**self.settings(), **asdict(config)})
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
        different = [name for name, value in canonical(self.pixels()).items() if recorded.get(name) != value]
        if different:
            what = "another calibration" if different == ["calibration"] else "other frames"
            say(f"The catalogues there were made from {what}; create_catalogs(overwrite=True) makes new.")
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
                camera: partial(self._build_camera, self.blocks(camera), config, run)
                for camera in self.cameras()
            }
        )
        for camera, future in pending.items():
            try:
                catalogs[camera] = future.result()
            except CatalogError as error:
                reasons[camera] = f"no catalogue: {error}"
                say(reasons[camera])
                continue
            catalog = catalogs[camera]
            say(describe(catalog))
            found = locate(catalog, self.cameras()[camera], self.wcs, self.calibrations.get(camera))
            add_coordinates(catalog, found)
            if not found.known and wcs_of(self.wcs, camera) is not None:
                say(f"{camera}: sources have no coordinates of their own: {found.reason}")
        if not catalogs:
            more = f"; {len(reasons) - 1} more in {self.tree.log}" if len(reasons) > 1 else ""
            raise CatalogError(f"{self.tree.root}: {next(iter(reasons.values()))}{more}")
        return catalogs, reasons

    def _build_camera(self, blocks: list[FrameBlock], config: AlignmentConfig, run: Run) -> CameraCatalog:
        return build_catalog(
            blocks,
            run=run,
            background=self.background,
            finder=self.finder or DefaultFinder.for_width(blocks[0].shape[1]),
            threshold=self.threshold,
            config=config,
            aperture_selector=self.aperture_selector,
        )


def _at_once(calls: dict[str, Callable[[], Any]]) -> dict[str, Future[Any]]:
    """Start calls in threads of their own: each waits for the cluster, which works on all of them."""
    pool = ThreadPoolExecutor(max_workers=max(1, len(calls)))
    futures = {name: pool.submit(call) for name, call in calls.items()}
    pool.shutdown(wait=False)
    return futures


def describe(catalog: CameraCatalog) -> str:
    """One line on a camera's catalogue, and one more where there is something to know of its sources."""
    status = catalog.alignment["status"].value_counts()
    lost = len(catalog.alignment) - int(status.get("aligned", 0))
    tail = f", {lost} not aligned" if lost else ""
    tail += f", {len(catalog.hot)} hot pixels" if len(catalog.hot) else ""
    psf = catalog.psf
    notice = catalog.table.meta.get(NOTICE)
    return (
        f"{catalog.camera}: {len(catalog.table)} sources, {len(catalog.alignment)} frames{tail}, "
        f"PSF {psf.semimajor_sigma:.3f} x {psf.semiminor_sigma:.3f} px at {psf.orientation:.1f} deg"
        + (f"\n{catalog.camera}: {notice}" if notice else "")
    )


def identity_of(function: Callable[..., Any] | None) -> dict[str, str] | None:
    """Name and digest of a user's function; None for the default."""
    return None if function is None else identity(function)
