"""Frames of each camera one after the other, as animated pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from opticam_dask.catalog.order import FrameOrder, in_order, select_frames, spread
from opticam_dask.catalog.store import stack_path
from opticam_dask.errors import CatalogError, FrameReadError, InputError
from opticam_dask.kernels.transform import apply
from opticam_dask.lazy.chunks import map_blocks_of_frames
from opticam_dask.plotting.animation import picture_of_frame, write_animation
from opticam_dask.stages.figures import transforms_of
from opticam_dask.stages.noise import is_reference
from opticam_dask.types import XY, PsfModel

if TYPE_CHECKING:
    from pathlib import Path

    from opticam_dask.catalog.model import CameraCatalog
    from opticam_dask.io.blocks import FrameBlock
    from opticam_dask.stages.catalog import CatalogStage, Run

MOST_FRAMES = 100
"""Frames of a picture by default: what a viewer loads at once."""


@dataclass(frozen=True, eq=False)
class _Plan:
    order: FrameOrder
    affine: NDArray[np.float64]
    status: NDArray[np.str_]
    xy: XY
    psf: PsfModel


def gifs(
    stage: CatalogStage, catalogs: Mapping[str, CameraCatalog], *, most_frames: int, run: Run
) -> list[Path]:
    """Draw ``cat/<camera>_images.gif`` of each camera: frames evenly spread, and where the sources are put.

    Raises
    ------
    InputError
        If `most_frames` is not positive.
    """
    if most_frames < 1:
        raise InputError(f"an animation needs at least one frame, not {most_frames}")
    return [_gif(stage, catalog, most_frames, run) for catalog in catalogs.values()]


def _gif(stage: CatalogStage, catalog: CameraCatalog, most_frames: int, run: Run) -> Path:
    blocks = in_order(stage.blocks(catalog.camera))
    order = FrameOrder.of(blocks)
    positions = np.concatenate([order.positions(block) for block in blocks])
    chosen = select_frames(blocks, order, spread(positions, most_frames))
    tasks = map_blocks_of_frames(_pictures, chosen, _plan_of(catalog, order))
    blocks_of_pictures: list[list[bytes]] = run(tasks, f"{catalog.camera}: animation")
    pictures = [picture for block in blocks_of_pictures for picture in block]
    if not pictures:
        raise CatalogError(f"{catalog.camera}: no animation, for none of its frames can be read")
    name = stack_path(stage.tree.root, catalog.camera).name.removesuffix(".fits.gz")
    path = stage.tree.cat / f"{name}_images.gif"
    return write_animation(pictures, path)


def _plan_of(catalog: CameraCatalog, order: FrameOrder) -> _Plan:
    """Lay out transforms and statuses by position in the sequence; frames without any have the identity."""
    rows = catalog.alignment
    where = rows["night"].map(order.offsets).to_numpy(np.int64) + rows["frame"].to_numpy(np.int64)
    affine = np.tile(np.eye(2, 3), (int(where.max()) + 1, 1, 1))
    status = np.full(len(affine), "not catalogued", dtype="<U16")
    known = np.nan_to_num(transforms_of(rows), nan=np.inf)
    fits = np.isfinite(known).all(axis=(1, 2))
    affine[where[fits]] = known[fits]
    status[where] = np.where(is_reference(catalog), "reference", rows["status"].to_numpy(str))
    return _Plan(order, affine, status, catalog.xy, catalog.psf)


def _pictures(block: FrameBlock, plan: _Plan) -> list[bytes]:
    """Pictures of a block's frames; a frame that cannot be read has none."""
    positions = plan.order.positions(block)
    found = []
    for i, exposure in block.exposures():
        if isinstance(exposure, FrameReadError):
            continue
        at = int(positions[i])
        name = f"{block.camera}  {block.night}  frame {int(block.meta['frame'][i])}"
        xy = apply(plan.affine[at], plan.xy)
        found.append(picture_of_frame(exposure.image, xy, plan.psf, name=name, status=str(plan.status[at])))
    return found
