"""Second stage of a reduction: catalogues to light curves, several photometers in one pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from opticam_dask import config
from opticam_dask.calibration import near_sources
from opticam_dask.catalog.frame_psf import frame_psfs
from opticam_dask.errors import InputError
from opticam_dask.kernels.background import default_box_size
from opticam_dask.lazy.chunks import join_tasks, map_blocks_of_frames
from opticam_dask.lazy.outcomes import Failure, going_on
from opticam_dask.photometers.estimator import check_estimator
from opticam_dask.shipping import by_value
from opticam_dask.stages.catalog import identity_of
from opticam_dask.stages.coordinates import coordinates_in, to_file
from opticam_dask.stages.corrections import corrections
from opticam_dask.stages.export import export_tasks
from opticam_dask.stages.light_curve_set import LightCurveSet
from opticam_dask.stages.profiles import moffat_psfs
from opticam_dask.tables.atomic import sweep
from opticam_dask.tables.coverage import lacking
from opticam_dask.tables.digest import made_with
from opticam_dask.tables.failed_blocks import give_up
from opticam_dask.tables.light_curves import (
    AlignedBlock,
    BlockSummary,
    PhotometryPlan,
    align_blocks,
    measure_block,
)
from opticam_dask.tables.lock import held
from opticam_dask.tables.source_times import SourceClock

if TYPE_CHECKING:
    from opticam_dask.catalog.model import CameraCatalog
    from opticam_dask.io.blocks import FrameBlock
    from opticam_dask.photometers.base import BasePhotometer
    from opticam_dask.stages.catalog import CatalogStage, Run, Say
    from opticam_dask.tables.light_curves import PhotometryJob
    from opticam_dask.tables.parts import PartKey
    from opticam_dask.types import PsfModel


@dataclass
class _Work:
    """Blocks of a camera that are to be measured, and those of them that failed, with the reason."""

    blocks: list[AlignedBlock]
    plan: PhotometryPlan
    failed: list[tuple[AlignedBlock, str]] = field(default_factory=list)

    def tasks(self, function: Callable[..., Any]) -> Any:
        """One task a block."""
        return map_blocks_of_frames(function, self.blocks, plan=self.plan)

    def lost(self) -> Any:
        """One task for each block that failed, which writes flagged rows."""
        return map_blocks_of_frames(give_up, self.failed, plan=self.plan)


@dataclass
class PhotometryStage:
    """Catalogues and photometers: what sets of light curves are made with."""

    catalog_stage: CatalogStage
    catalogs: dict[str, CameraCatalog]
    photometers: Sequence[BasePhotometer]

    def __post_init__(self) -> None:
        labels = [photometer.label for photometer in self.photometers]
        doubled = sorted({label for label in labels if labels.count(label) > 1})
        if not labels:
            raise InputError("photometry needs at least one photometer")
        if doubled:
            raise InputError(
                f"two photometers share the label {', '.join(doubled)}: "
                "measure one of them into another output directory"
            )
        self.sets = [LightCurveSet(self.catalog_stage.tree, p) for p in self.photometers]
        self.moffat: dict[str, PsfModel] = {}
        self.corrected: dict[str, dict[str, float]] = {}
        self.begun = False

    def settings(self, photometer: BasePhotometer) -> dict[str, Any]:
        """Everything that changes the light curves of a photometer."""
        return {
            **self.catalog_stage.pixels(),
            "background": identity_of(self.catalog_stage.background),
            "catalogs": {camera: catalog.digest() for camera, catalog in self.catalogs.items()},
            "photometer": photometer.settings(),
            "times": {camera: self.clock(catalog).digest() for camera, catalog in self.catalogs.items()},
        }

    def check(self, *, overwrite: bool) -> None:
        """Refuse what cannot be measured before anything is touched.

        Raises
        ------
        SettingsChangedError
            If light curves made with other settings exist and must not be overwritten.
        InputError
            If a local background function does not work.
        """
        for each in self.sets:
            made_with(each.recorded, self.settings(each.photometer), overwrite=overwrite)
            self._check(each.photometer)

    def measure(
        self, *, run: Run, say: Say, overwrite: bool, meanwhile: Callable[[], None]
    ) -> list[BlockSummary]:
        """Measure the blocks whose part is missing; each is read once for all photometers.

        A block that fails on all its tries gives flagged rows; the next run tries it again. What is to begin
        while the cluster measures, ``meanwhile``, is called when all is known but the rows.
        """
        with held(self.catalog_stage.tree.root, "photometry"):
            return self._measure(run, say, meanwhile, overwrite=overwrite)

    def _measure(
        self, run: Run, say: Say, meanwhile: Callable[[], None], *, overwrite: bool
    ) -> list[BlockSummary]:
        self.check(overwrite=overwrite)
        self._warn(say)
        for each in self.sets:
            each.prepare(self.settings(each.photometer), overwrite=overwrite)
        self.moffat = moffat_psfs(self.catalog_stage, self.catalogs, self.photometers, run=run, say=say)
        self._correct(run, say)
        work = [self._work(catalog, say) for catalog in self.catalogs.values()]
        wanted = {number for each in work for block in each.blocks for number in block.jobs}
        for number in wanted:
            self.sets[number].outdate_exports()
        named = ", ".join(each.label for each in self.sets)
        tasks = going_on(join_tasks([each.tasks(measure_block) for each in work]), hopeful=self.begun)
        meanwhile()
        summaries = self._settled(work, run(tasks, f"photometry: {named}"), run, say)
        for camera in self.catalogs:
            say(_tell(camera, [summary for summary in summaries if summary.key[1] == camera]))
        for each in self.sets:
            each.compact(run=run, say=say)
            # of workers that died while they wrote
            sweep(each.folder)
        return summaries

    def _settled(self, work: list[_Work], results: list[Any], run: Run, say: Say) -> list[BlockSummary]:
        """Summaries of all blocks; such as failed for good are written as flagged rows."""
        ends = np.cumsum([0, *(len(each.blocks) for each in work)])
        for each, start, stop in zip(work, ends[:-1], ends[1:], strict=True):
            own = zip(each.blocks, results[start:stop], strict=True)
            each.failed = [(block, one.reason) for block, one in own if isinstance(one, Failure)]
            for block, reason in each.failed:
                say(_lament(block.frames, reason))
        given_up = run(join_tasks([each.lost() for each in work]), "marking frames that failed")
        measured = [one for one in results if not isinstance(one, Failure)]
        return [summary for block in (*measured, *given_up) for summary in block]

    def _correct(self, run: Run, say: Say) -> None:
        """Measure the aperture corrections of the sets that want one."""
        for each in self.sets:
            if each.photometer.corrects_by_measurement:
                jobs = {
                    camera: each.job(catalog, self.moffat.get(camera))
                    for camera, catalog in self.catalogs.items()
                }
                self.corrected[each.label] = corrections(
                    each.folder, self.catalog_stage, self.catalogs, jobs, run=run, say=say
                )

    def _warn(self, say: Say) -> None:
        """Say where errors will be NaN for want of an airmass."""
        if any(each.photometer.noise.scintillation for each in self.sets):
            for camera, rows in self.catalog_stage.cameras().items():
                unknown = int(rows["airmass"].isna().sum())
                if unknown:
                    say(
                        f"warning: {camera}: {unknown} of {len(rows)} frames have no airmass, so "
                        "scintillation is unknown and flux_err NaN there; give target="
                    )

    def _check(self, photometer: BasePhotometer) -> None:
        if photometer.local_background_estimator is not None:
            check_estimator(photometer.local_background_estimator, next(iter(self.catalogs.values())).psf)

    def _tasks(self, catalog: CameraCatalog, say: Say) -> Any:
        """Lay out one task for each block of a camera that lacks a part of some set."""
        return self._work(catalog, say).tasks(measure_block)

    def _work(self, catalog: CameraCatalog, say: Say) -> _Work:
        """Blocks of a camera, cut where some set lacks a part, and how they are measured."""
        blocks = self.catalog_stage.blocks(catalog.camera)
        sets = [each.covered(blocks, catalog.camera, say) for each in self.sets]
        self.begun |= any(sets)
        todo = [
            (_part_of(block, piece), numbers)
            for block in blocks
            for piece, numbers in lacking(block.key, sets)
        ]
        wanted = {number for _, numbers in todo for number in numbers}
        for number, each in enumerate(self.sets):
            if number not in wanted:
                say(f"{catalog.camera}: light curves '{each.label}' are complete.")
        psfs = frame_psfs(catalog.alignment, catalog.psf)
        pieces, jobs = [block for block, _ in todo], [numbers for _, numbers in todo]
        aligned = align_blocks(pieces, catalog.alignment, psfs, jobs)
        return _Work(self._searched(aligned, catalog, psfs), self.plan(catalog))

    def _searched(
        self, blocks: list[AlignedBlock], catalog: CameraCatalog, psfs: NDArray[np.float64]
    ) -> list[AlignedBlock]:
        """Blocks that look for cosmic rays only as far around sources as some photometer does."""
        if not len(blocks):
            return blocks
        widest = catalog.psf.scaled(max(1.0, float(psfs[:, 0].max()) / catalog.psf.semimajor_sigma))
        beta = self.moffat.get(catalog.camera, catalog.psf).beta
        reach = max(photometer.extent(replace(widest, beta=beta)) for photometer in self.photometers)
        return [
            replace(block, frames=near_sources(block.frames, block.affine, catalog.xy, reach))
            for block in blocks
        ]

    def plan(self, catalog: CameraCatalog) -> PhotometryPlan:
        """Gather what every block of a camera is measured with."""
        background = self.catalog_stage.background
        return PhotometryPlan(
            xy=np.asarray(catalog.xy, np.float64),
            source=np.asarray(catalog.table["source"], np.int32),
            blended=catalog.blended,
            background=background and by_value(background),
            box_size=default_box_size(catalog.stacked_image.shape[1], catalog.psf.semimajor_sigma),
            hot=catalog.hot,
            jobs=tuple(self._job(each, catalog) for each in self.sets),
            clock=self.clock(catalog),
            unit=self.catalog_stage.unit,
            partial_reads=config.partial_reads(),
        )

    def _job(self, each: LightCurveSet, catalog: CameraCatalog) -> PhotometryJob:
        factor = self.corrected.get(each.label, {}).get(catalog.camera, 1.0)
        return replace(each.job(catalog, self.moffat.get(catalog.camera)), correction=factor)

    def clock(self, catalog: CameraCatalog) -> SourceClock:
        """Clock of a camera's sources: their own light travel times, where their coordinates are known."""
        stage = self.catalog_stage
        frames = stage.cameras()[catalog.camera]
        ra, dec = coordinates_in(catalog)
        unknown = np.full_like(ra, np.nan)
        rows_to_file = to_file(stage.calibrations.get(catalog.camera))[1]
        rows = int(frames["shape"].iloc[0].split("x")[0])
        return SourceClock.of_camera(
            stage.instrument,
            catalog.camera,
            rows,
            str(frames["binning"].iloc[0]),
            *((ra, dec) if stage.barycenter else (unknown, unknown)),
            to_file_row=(float(rows_to_file[1]), float(rows_to_file[2])),
        )

    def export(self, *, run: Run, say: Say, measured: list[BlockSummary]) -> None:
        """Write one CSV file per source, of each set all if it was measured anew, else those missing."""
        fresh = {summary.label for summary in measured}
        with held(self.catalog_stage.tree.root, "export"):
            for each in self.sets:
                tasks = export_tasks(each.folder, self.catalogs, everything=each.label in fresh)
                if tasks is not None:
                    paths = run(tasks, "writing CSV")
                    sweep(each.folder)
                    say(f"{sum(map(len, paths))} CSV files in {each.folder}")


def _part_of(block: FrameBlock, span: PartKey) -> FrameBlock:
    """Frames of a block within a span: all of them, but for what another division left undone."""
    if block.key == span:
        return block
    frame = block.meta["frame"]
    return block.select((span[2] <= frame) & (frame < span[3]))


def _lament(frames: FrameBlock, reason: str) -> str:
    """Say which frames could not be measured, and what to do."""
    return (
        f"warning: {frames.camera}: night {frames.night}, frames {frames.start} to {frames.stop - 1} failed "
        f"on all tries ({reason}); their rows are NaN, flagged BLOCK_FAILED; run again to try them once more"
    )


def _tell(camera: str, summaries: list[BlockSummary]) -> str:
    """Lines on what a camera's blocks gave, one for each label; unreadable frames once."""
    lines = []
    for label in dict.fromkeys(summary.label for summary in summaries):
        some = [summary for summary in summaries if summary.label == label]
        rows, measured = sum(s.rows for s in some), sum(s.measured for s in some)
        lines.append(f"{camera}: {label}: {measured} of {rows} measurements have a flux")
    reasons = dict.fromkeys(reason for summary in summaries for reason in summary.unreadable)
    return "\n".join([*lines, *(f"{camera}: unreadable: {reason}" for reason in reasons)])
