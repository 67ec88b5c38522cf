"""All frames of a camera in one pass; blocks that fail for good are left out, and the rest goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from opticam_dask.catalog.order import Bundle, bundled
from opticam_dask.catalog.tracking import FAILED, FRAME_ROW, Partial, merge_partials, track_bundle
from opticam_dask.errors import BlockFailedError, CatalogError
from opticam_dask.kernels.stack import Stack
from opticam_dask.lazy.chunks import map_blocks_of_frames
from opticam_dask.lazy.outcomes import Failure, going_on
from opticam_dask.lazy.stack import merge_tree
from opticam_dask.tables.failures import BLOCK_FAILED

if TYPE_CHECKING:
    from opticam_dask.catalog.fixing import TrackingPlan
    from opticam_dask.io.blocks import FrameBlock

Run = Callable[[Any, str], list[Any]]


def follow_all(blocks: Sequence[FrameBlock], plan: TrackingPlan, run: Run) -> Partial:
    """Rows of all frames of a camera, and their stack.

    Where a block fails on all its tries, every block is tried by itself, and those that fail again give rows
    with the status ``failed`` and the reason.

    Raises
    ------
    CatalogError
        If no frame aligns.
    BlockFailedError
        If every block fails, or blocks fail together that do not by themselves.
    """
    what = f"{blocks[0].camera}: aligning and stacking"
    try:
        partial = _followed(bundled(blocks), plan, run, what)
    except BlockFailedError:
        partial = _without_failing(blocks, plan, run, what)
    if not partial.stack.count.any():
        reasons = sorted(set(partial.reasons.values()))
        raise CatalogError(
            f"no frame aligns with the reference frame: {'; '.join(reasons[:3])}; widen the limits"
        )
    return partial


def succeeded(results: Sequence[Any]) -> list[Any]:
    """Results of the blocks that did not fail."""
    return [one for one in results if not isinstance(one, Failure)]


def _followed(bundles: Sequence[Bundle], plan: TrackingPlan, run: Run, what: str) -> Partial:
    tasks = merge_tree(map_blocks_of_frames(track_bundle, bundles, plan), merge_partials)
    partial: Partial = run(tasks, what)[0]
    return partial


def _without_failing(blocks: Sequence[FrameBlock], plan: TrackingPlan, run: Run, what: str) -> Partial:
    """Find the blocks that fail, follow the others, and put all in order again."""
    outcomes = run(going_on(map_blocks_of_frames(_try, blocks, plan)), f"{what}, once more")
    pairs = list(zip(blocks, outcomes, strict=True))
    good = [Bundle((block,)) for block, outcome in pairs if not isinstance(outcome, Failure)]
    lost = [_unknown(block, outcome, plan) for block, outcome in pairs if isinstance(outcome, Failure)]
    return merge_partials([_followed(good, plan, run, what), *lost])


def _try(block: FrameBlock, plan: TrackingPlan) -> None:
    """Follow the frames of a block for the sake of whether it can be done."""
    track_bundle(Bundle((block,)), plan)


def _unknown(block: FrameBlock, failure: Failure, plan: TrackingPlan) -> Partial:
    """Rows of frames of which nothing is known but why."""
    rows = np.zeros(len(block), FRAME_ROW)
    for name in FRAME_ROW.names or ():
        if FRAME_ROW[name].base.kind == "f":
            rows[name] = np.nan
    rows["position"], rows["status"] = plan.order.positions(block), FAILED
    reason = BLOCK_FAILED + failure.reason
    return Partial(rows, dict.fromkeys(rows["position"].tolist(), reason), Stack.empty(plan.shape))
