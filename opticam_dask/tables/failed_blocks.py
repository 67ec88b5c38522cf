"""Blocks that could not be measured: flagged rows, in parts that say so and are made again later."""

from __future__ import annotations

import numpy as np

from opticam_dask.schema import MEASUREMENT, Flag
from opticam_dask.tables.light_curves import (
    AlignedBlock,
    BlockSummary,
    PhotometryJob,
    PhotometryPlan,
    nothing,
    rows_of_block,
)
from opticam_dask.tables.parts import part_path, write_part
from opticam_dask.tables.records import fault_of


def give_up(failed: tuple[AlignedBlock, str], plan: PhotometryPlan) -> list[BlockSummary]:
    """Write NaN with the flag BLOCK_FAILED for every source in every frame of a block.

    Parameters
    ----------
    failed : tuple of AlignedBlock and str
        The frames, and why they could not be measured.
    plan : PhotometryPlan
        Sources, photometers and output folders.

    Returns
    -------
    list of BlockSummary
        One entry per photometer whose part had not been written before the block failed.
    """
    block, reason = failed
    jobs = [plan.jobs[number] for number in block.jobs]
    return [_flagged(block, reason, plan, job) for job in jobs if not _is_there(block, job)]


def _is_there(block: AlignedBlock, job: PhotometryJob) -> bool:
    key = block.frames.key
    return not fault_of(part_path(job.root, key), key, job.made_of)


def _flagged(block: AlignedBlock, reason: str, plan: PhotometryPlan, job: PhotometryJob) -> BlockSummary:
    key = block.frames.key
    rows = np.empty((len(block.frames), len(plan.xy)), MEASUREMENT)
    rows[:] = nothing(len(plan.xy), Flag.BLOCK_FAILED)
    table = rows_of_block(block, plan, rows)
    write_part(table, job.root, key, job.provenance, made_of=job.made_of, failed=reason)
    return BlockSummary(job.label, key, rows.size, 0, 0.0, (), reason)
