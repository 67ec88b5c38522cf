"""New frames against the catalogue: the tracking of the batch reduction, from where the last frames were."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from opticam_dask.catalog.alignment import alignment_table
from opticam_dask.catalog.build import with_anchors
from opticam_dask.catalog.clouds import extinction_excess
from opticam_dask.catalog.fixing import TrackingPlan
from opticam_dask.catalog.order import ANCHOR_STEP, FrameOrder
from opticam_dask.catalog.tracking import FRAME_ROW, UNREADABLE, Tracked, track_block
from opticam_dask.io.blocks import FrameBlock, split_blocks
from opticam_dask.lazy.chunks import join_tasks, map_blocks_of_frames
from opticam_dask.lazy.outcomes import Failure, going_on

if TYPE_CHECKING:
    import pandas as pd

    from opticam_dask.follow.camera import Camera

Run = Callable[[Any, str], list[Any]]
_PIECES = 8
_SHORTEST = 8
_STILL_S = 120.0
"""In so little time [s] no field moves out of reach of the tracking."""


@dataclass(frozen=True, eq=False)
class Alignable:
    """New frames of one camera, cut into blocks, and the plan that aligns them."""

    camera: Camera
    rows: pd.DataFrame
    blocks: list[FrameBlock]
    plan: TrackingPlan


def pieces(rows: pd.DataFrame) -> list[FrameBlock]:
    """Cut new frames of a camera into blocks: enough for several workers, each of several frames."""
    blocks = split_blocks(rows)
    if len(blocks) >= _PIECES:
        return blocks
    return split_blocks(rows, frames_per_block=max(_SHORTEST, math.ceil(len(rows) / _PIECES)))


def alignable(camera: Camera, rows: pd.DataFrame, run: Run) -> Alignable:
    """Frames with their numbers, ready to be aligned; of long spans anchors are aligned first."""
    blocks = camera.photometry.catalog_stage.prepared(pieces(rows))
    plan = replace(camera.plan, order=FrameOrder.of(blocks), track=camera.last)
    if np.ptp(rows["MJD"].to_numpy()) * 86400.0 > _STILL_S:
        anchored = with_anchors(blocks, plan, run, most=2 * ANCHOR_STEP)
        if len(anchored.track.mjd):
            plan = anchored
    return Alignable(camera, rows, blocks, plan)


def track(batches: Sequence[Alignable], run: Run) -> list[Tracked]:
    """Align the frames of several cameras together; one result for each."""
    tasks = [map_blocks_of_frames(track_block, batch.blocks, batch.plan) for batch in batches]
    results = iter(run(going_on(join_tasks(tasks), hopeful=True), "aligning new frames"))
    return [
        _joined([_or_lost(block, batch.plan, next(results)) for block in batch.blocks]) for batch in batches
    ]


def _or_lost(block: FrameBlock, plan: TrackingPlan, result: Tracked | Failure) -> Tracked:
    """Frames of a block that failed on all tries count as unreadable: they are tried again later."""
    if not isinstance(result, Failure):
        return result
    rows = np.zeros(len(block), FRAME_ROW)
    rows["position"], rows["status"] = plan.order.positions(block), UNREADABLE
    return Tracked(rows, dict.fromkeys(rows["position"].tolist(), result.reason))


def _joined(parts: list[Tracked]) -> Tracked:
    reasons: dict[int, str] = {}
    for part in parts:
        reasons |= part.reasons
    return Tracked(np.concatenate([part.rows for part in parts]), reasons)


def unreadable(batch: Alignable, tracked: Tracked) -> dict[str, str]:
    """Files whose pixels could not be decoded, and why."""
    paths = [path for block in batch.blocks for path in block.paths]
    positions = np.concatenate([batch.plan.order.positions(block) for block in batch.blocks])
    place = dict(zip(positions.tolist(), paths, strict=True))
    bad = tracked.rows["position"][tracked.rows["status"] == UNREADABLE].tolist()
    return {place[position]: tracked.reasons[position] for position in bad}


def aligned_rows(batch: Alignable, tracked: Tracked) -> pd.DataFrame:
    """Rows of the alignment table; clouds are judged by the frames of the night so far."""
    table = alignment_table(batch.blocks, batch.plan.order, tracked, before=batch.camera.last)
    airmass = np.concatenate([block.meta["airmass"] for block in batch.blocks])
    cloud = table["cloud"].to_numpy(np.float64).copy()
    for night in table["night"].unique():
        here = np.flatnonzero(table["night"] == night)
        known, known_airmass = batch.camera.sky(str(night))
        transparency = np.concatenate([known, table["transparency"].to_numpy(np.float64)[here]])
        every = extinction_excess(
            transparency, np.concatenate([known_airmass, airmass[here]]), np.full(len(transparency), night)
        )
        cloud[here] = np.where(np.isinf(cloud[here]), cloud[here], every[len(known) :])
    return table.assign(cloud=cloud)
