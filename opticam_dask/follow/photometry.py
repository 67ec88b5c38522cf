"""Light curves of frames as they come: parts of their own, and what a stop has left undone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from opticam_dask.catalog.frame_psf import frame_psfs
from opticam_dask.lazy.chunks import join_tasks, map_blocks_of_frames
from opticam_dask.stages import PhotometryStage
from opticam_dask.tables.light_curves import BlockSummary, align_blocks, measure_block

if TYPE_CHECKING:
    import pandas as pd

    from opticam_dask.follow.aligning import Alignable, Run
    from opticam_dask.stages.catalog import Say


@dataclass
class CameraPhotometry(PhotometryStage):
    """Photometry of one camera with a catalogue that stays; the settings are recorded by whoever follows."""

    def ready(self, run: Run, say: Say) -> CameraPhotometry:
        """Fit and measure once what holds for all frames: Moffat profile, aperture corrections.

        Raises
        ------
        CatalogError
            If that needs brighter stars than there are.
        """
        from opticam_dask.stages.profiles import moffat_psfs

        self.moffat = moffat_psfs(self.catalog_stage, self.catalogs, self.photometers, run=run, say=say)
        self._correct(run, say)
        return self

    def tasks_of(self, blocks: Sequence[Any], alignment: pd.DataFrame) -> Any:
        """One task for each block of new frames, for all photometers."""
        (catalog,) = self.catalogs.values()
        psfs = frame_psfs(alignment, catalog.psf)
        jobs = [tuple(range(len(self.sets)))] * len(blocks)
        aligned = align_blocks(list(blocks), alignment, psfs, jobs)
        return map_blocks_of_frames(
            measure_block, self._searched(aligned, catalog, psfs), plan=self.plan(catalog)
        )

    def undone(self, frames: pd.DataFrame, alignment: pd.DataFrame, say: Say) -> Any:
        """Tasks for frames that have their numbers but no part of some set.

        Parameters
        ----------
        frames, alignment : DataFrame
            All rows of the camera.
        say : callable
            Told what is complete.
        """
        (catalog,) = self.catalogs.values()
        stage = replace(self.catalog_stage, frames=frames)
        everything = replace(self, catalog_stage=stage)
        everything.moffat, everything.corrected = self.moffat, self.corrected
        return everything._tasks(replace(catalog, alignment=alignment), say)


def measure(batches: Iterable[tuple[Alignable, pd.DataFrame]], run: Run) -> list[BlockSummary]:
    """Measure new frames of several cameras together.

    Parameters
    ----------
    batches : iterable of (Alignable, DataFrame)
        Frames with their final numbers, and their rows of the alignment table.
    run : callable
        Computes tasks.
    """
    tasks = [batch.camera.photometry.tasks_of(batch.blocks, alignment) for batch, alignment in batches]
    return measured(tasks, run)


def measured(tasks: Sequence[Any], run: Run) -> list[BlockSummary]:
    """Run tasks of photometry."""
    if not any(map(len, tasks)):
        return []
    results: list[list[BlockSummary]] = run(join_tasks(tasks), "photometry of new frames")
    return [summary for block in results for summary in block]
