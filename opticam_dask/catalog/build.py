"""Frames of a camera to its catalogue: scouts, anchors, all frames, sources."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from opticam_dask.catalog.alignment import alignment_table
from opticam_dask.catalog.background import MeshBackground
from opticam_dask.catalog.ensemble import ensemble_of
from opticam_dask.catalog.fixing import TrackingPlan
from opticam_dask.catalog.following import follow_all, succeeded
from opticam_dask.catalog.interpolate import TransformTrack
from opticam_dask.catalog.model import AlignmentConfig, CameraCatalog
from opticam_dask.catalog.order import (
    ANCHOR_STEP,
    FrameOrder,
    every_kth,
    in_order,
    select_frames,
    spread,
)
from opticam_dask.catalog.psf import psf_model, saturated
from opticam_dask.catalog.scouts import Reference, Scout, choose_reference, scout_block
from opticam_dask.catalog.sources import find_sources, stack_range
from opticam_dask.catalog.tracking import (
    ALIGNED,
    anchor_block,
    spread_of,
)
from opticam_dask.errors import CatalogError
from opticam_dask.kernels.background import default_box_size
from opticam_dask.kernels.stack import fixed_point_scale
from opticam_dask.kernels.stack_mean import clean_mean
from opticam_dask.lazy.chunks import map_blocks_of_frames
from opticam_dask.lazy.outcomes import going_on

if TYPE_CHECKING:
    from astropy.table import QTable

    from opticam_dask.catalog.tracking import Partial
    from opticam_dask.io.blocks import FrameBlock

Run = Callable[[Any, str], list[Any]]

N_SCOUTS = (24, 192)
"""Frames looked at to find a reference; more if the first few show no star."""

_ONE_CAMERA = threading.Lock()
"""Of the cameras that end together, one at a time works on whole images of 8 bytes a pixel, ten and more."""

__all__ = ["AlignmentConfig", "CameraCatalog", "build_catalog", "build_tracked", "with_anchors"]


def build_catalog(
    blocks: Sequence[FrameBlock],
    *,
    run: Run,
    background: Callable[..., Any] | None,
    finder: Callable[..., Any],
    threshold: float = 5.0,
    config: AlignmentConfig | None = None,
    aperture_selector: Callable[..., Any] = np.median,
) -> CameraCatalog:
    """Align and stack the frames of one camera and catalogue its sources.

    A few frames, evenly spread, give the reference frame, the stars to align with, the hot pixels and the
    PSF. Their transforms predict where the stars of the other frames lie, which are then followed without
    looking at the whole frame; in a long sequence this is done for every 32nd frame first, and these anchors
    predict the others. Which frames are which depends on the sequence only, never on the blocks.

    Parameters
    ----------
    blocks : sequence of FrameBlock
        Frames of one camera, of one or more nights, in any order.
    run : callable
        Computes a dask array of objects and returns them in order; its second argument describes the work.
    background : callable or None
        Image -> object with ``background`` and ``background_rms``; None for `MeshBackground` with boxes
        that suit the width of the frame and of its stars.
    finder : callable
        (image, threshold) -> table of sources.
    threshold : float
        Detection threshold in units of the background's scatter.
    config : AlignmentConfig, optional
        Settings of alignment and catalogue.
    aperture_selector : callable
        Chooses the PSF's sigmas from those of the stars.

    Returns
    -------
    CameraCatalog

    Raises
    ------
    CatalogError
        If no frame shows a star, none aligns, or the stack shows no source.
    """
    catalog, _ = build_tracked(
        blocks,
        run=run,
        background=background,
        finder=finder,
        threshold=threshold,
        config=config,
        aperture_selector=aperture_selector,
    )
    return catalog


def build_tracked(
    blocks: Sequence[FrameBlock],
    *,
    run: Run,
    background: Callable[..., Any] | None,
    finder: Callable[..., Any],
    threshold: float = 5.0,
    config: AlignmentConfig | None = None,
    aperture_selector: Callable[..., Any] = np.median,
) -> tuple[CameraCatalog, TrackingPlan]:
    """Make a catalogue as `build_catalog` does, and tell what it takes to align further frames with it."""
    config = config or AlignmentConfig()
    blocks = in_order(blocks)
    if not blocks:
        raise CatalogError("no frame to make a catalogue of")
    camera, order = blocks[0].camera, FrameOrder.of(blocks)
    try:
        reference = _find_reference(blocks, order, run, config)
        plan = _plan(blocks, order, reference, config)
        plan = with_anchors(blocks, plan, run)
        partial = follow_all(blocks, plan, run)
        psf = psf_model(reference, _gain(blocks), aperture_selector, partial.rows)
        with _ONE_CAMERA:
            stack, table = _sources(blocks, partial, plan, background, finder, threshold)
    except CatalogError as error:
        raise CatalogError(f"camera {camera}: {error}") from error
    alignment = alignment_table(blocks, order, partial)
    key, hot = reference.scout.key, reference.lasting
    return CameraCatalog(camera, table, psf, stack, alignment, key, hot), plan


def _sources(
    blocks: Sequence[FrameBlock],
    partial: Partial,
    plan: TrackingPlan,
    background: Callable[..., Any] | None,
    finder: Callable[..., Any],
    threshold: float,
) -> tuple[NDArray[np.float64], QTable]:
    """Mean of the frames, and its sources."""
    noise, spread = spread_of(partial.rows)
    stack = clean_mean(partial.stack, plan.scale, noise=noise, spread=spread, sigma=plan.sigma)
    table = find_sources(
        stack,
        partial.stack.count,
        background=background or MeshBackground(default_box_size(stack.shape[1], plan.sigma)),
        finder=finder,
        threshold=threshold,
        max_sources=plan.config.max_catalog_sources,
        sigma=plan.sigma,
        gain=_gain(blocks),
    )
    return stack, table


def _all_positions(blocks: Sequence[FrameBlock], order: FrameOrder) -> NDArray[np.int64]:
    return np.concatenate([order.positions(block) for block in blocks])


def _gain(blocks: Sequence[FrameBlock]) -> float:
    return float(np.median(np.concatenate([block.meta["gain"] for block in blocks])))


def _find_reference(
    blocks: Sequence[FrameBlock], order: FrameOrder, run: Run, config: AlignmentConfig
) -> Reference:
    positions, scouts = _all_positions(blocks, order), list[Scout]()
    for number in N_SCOUTS:
        chosen = select_frames(blocks, order, spread(positions, number))
        tasks = map_blocks_of_frames(scout_block, chosen, order)
        found = succeeded(run(going_on(tasks), f"{blocks[0].camera}: looking for stars"))
        scouts = [scout for part in found for scout in part]
        if any(len(scout.stars) for scout in scouts) or number >= len(positions):
            break
    if not scouts:
        raise CatalogError(f"none of the {len(positions)} frames can be read")
    try:
        return choose_reference(scouts, blocks[0].shape, config.transform_type)
    except CatalogError as error:
        raise CatalogError(
            f"{error}; are the frames cloudy, dark, or of another kind (bias, flat)?"
        ) from error


def _plan(
    blocks: Sequence[FrameBlock], order: FrameOrder, reference: Reference, config: AlignmentConfig
) -> TrackingPlan:
    scout, stars = reference.scout, reference.stars
    # saturated stars have flat tops and poor centres: they serve only if there are not enough others
    last = saturated(stars, scout.saturation)
    chosen = np.argsort(last, kind="stable")[: config.n_alignment_sources]
    limit = stack_range(scout.peak, scout.sky.level)
    return TrackingPlan(
        shape=blocks[0].shape,
        config=config,
        order=order,
        stars=stars,
        chosen=chosen,
        ensemble=ensemble_of(reference, chosen, _gain(blocks)),
        sigma=reference.sigma,
        noise=scout.sky.rms,
        exposure=scout.exposure,
        hot=reference.hot,
        track=reference.track,
        scale=fixed_point_scale(limit, sum(len(block) for block in blocks)),
        limit=limit,
    )


def with_anchors(
    blocks: Sequence[FrameBlock], plan: TrackingPlan, run: Run, most: int = ANCHOR_STEP * N_SCOUTS[0]
) -> TrackingPlan:
    """Plan whose track is dense: that of the scouts, or of anchors if there are more than ``most`` frames."""
    positions = _all_positions(blocks, plan.order)
    if len(positions) <= most:
        return plan
    tasks = map_blocks_of_frames(anchor_block, select_frames(blocks, plan.order, every_kth(positions)), plan)
    found = succeeded(run(going_on(tasks), f"{blocks[0].camera}: aligning anchor frames"))
    rows = np.concatenate(found)
    rows = rows[rows["status"] == ALIGNED]
    mjd = np.concatenate([block.meta["MJD"] for block in blocks])[
        np.searchsorted(positions, rows["position"])
    ]
    return replace(plan, track=TransformTrack(rows["position"].copy(), mjd, rows["affine"].copy()))
