"""Light curves of frames as they come: parts of their own, and what a stop has left undone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from opticam_dask.catalog.frame_psf import frame_psfs
from opticam_dask.follow.state import set_settings
from opticam_dask.lazy.chunks import join_tasks, map_blocks_of_frames
from opticam_dask.lazy.outcomes import Failure, going_on
from opticam_dask.stages import PhotometryStage
from opticam_dask.stages.profiles import moffat_psfs
from opticam_dask.tables.failed_blocks import give_up
from opticam_dask.tables.light_curves import AlignedBlock, PhotometryPlan, align_blocks, measure_block

if TYPE_CHECKING:
    import pandas as pd

    from opticam_dask.follow.aligning import Run
    from opticam_dask.follow.settings import Reduction
    from opticam_dask.stages.catalog import Say


@dataclass(frozen=True, eq=False)
class Measurable:
    """Blocks of one camera that are to be measured, and how."""

    blocks: list[AlignedBlock]
    plan: PhotometryPlan


@dataclass
class CameraPhotometry(PhotometryStage):
    """Photometry of one camera with a catalogue that stays."""

    def ready(self, how: Reduction, run: Run, say: Say) -> None:
        """Fit and measure once what holds for all frames: Moffat profile, aperture corrections.

        Raises
        ------
        CatalogError
            If that needs brighter stars than there are.
        SettingsChangedError
            If light curves made with other settings are there.
        """
        for each in self.sets:
            self._check(each.photometer)
            each.prepare(set_settings(how, each.photometer), overwrite=False)
        self.moffat = moffat_psfs(self.catalog_stage, self.catalogs, self.photometers, run=run, say=say)
        self._correct(run, say)

    def measurable(self, blocks: Sequence[Any], alignment: pd.DataFrame) -> Measurable:
        """Blocks of new frames, to be measured by all photometers."""
        (catalog,) = self.catalogs.values()
        psfs = frame_psfs(alignment, catalog.psf)
        jobs = [tuple(range(len(self.sets)))] * len(blocks)
        aligned = align_blocks(list(blocks), alignment, psfs, jobs)
        return Measurable(self._searched(aligned, catalog, psfs), self.plan(catalog))

    def undone(self, frames: pd.DataFrame, alignment: pd.DataFrame, say: Say) -> Measurable:
        """Frames that have their numbers but no part of some set, or one that is damaged or failed.

        Parameters
        ----------
        frames, alignment : DataFrame
            All rows of the camera.
        say : callable
            Told what is complete, and what is made again.
        """
        (catalog,) = self.catalogs.values()
        everything = replace(self, catalog_stage=replace(self.catalog_stage, frames=frames))
        everything.sets, everything.moffat, everything.corrected = self.sets, self.moffat, self.corrected
        work = everything._work(replace(catalog, alignment=alignment), say)
        return Measurable(list(work.blocks), work.plan)


def measure(work: Sequence[Measurable], run: Run, say: Say) -> int:
    """Measure blocks of several cameras together; those that fail on all tries give flagged rows.

    Returns
    -------
    int
        Number of blocks.
    """
    if not any(each.blocks for each in work):
        return 0
    tasks = [map_blocks_of_frames(measure_block, each.blocks, plan=each.plan) for each in work]
    results = run(going_on(join_tasks(tasks), hopeful=True), "photometry of new frames")
    ends = np.cumsum([0, *(len(each.blocks) for each in work)])
    failed = [
        [(block, one.reason) for block, one in _pairs(each, results[start:stop]) if isinstance(one, Failure)]
        for each, start, stop in zip(work, ends[:-1], ends[1:], strict=True)
    ]
    for block, reason in (pair for pairs in failed for pair in pairs):
        where = f"{block.frames.camera}, frames {block.frames.start} to {block.frames.stop - 1}"
        say(f"warning: {where}: not measured ({reason}); their rows are NaN, flagged BLOCK_FAILED")
    if any(failed):
        lost = [
            map_blocks_of_frames(give_up, pairs, plan=each.plan)
            for pairs, each in zip(failed, work, strict=True)
        ]
        run(join_tasks(lost), "marking frames that failed")
    return len(results)


def _pairs(work: Measurable, results: Sequence[Any]) -> list[tuple[AlignedBlock, Any]]:
    return list(zip(work.blocks, results, strict=True))
