"""Bright stars on a few clear frames: what profiles and corrections are measured on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from opticam_dask.catalog.alignment import AFFINE_COLUMNS
from opticam_dask.catalog.order import FrameOrder, in_order, select_frames, spread
from opticam_dask.schema import CLOUD_MAG

if TYPE_CHECKING:
    from opticam_dask.catalog.model import CameraCatalog
    from opticam_dask.io.blocks import FrameBlock

N_FRAMES = 24
_CLEAR_OF_OTHERS = 10.0  # distance to a source of 1 % of the flux [sigma]
_DISTURBING = 0.01


class ClearFrames(NamedTuple):
    """Some clear, aligned frames of a camera, evenly spread over the sequence.

    Parameters
    ----------
    blocks : list of FrameBlock
        Small blocks that hold just these.
    order : FrameOrder
        Positions of frames in the sequence.
    position : ndarray of int, shape (n,)
        Positions of the frames, increasing.
    row : ndarray of int, shape (n,)
        Their rows of the alignment table, sorted by night and frame.
    affine : ndarray, shape (n, 2, 3)
        Their transforms.
    """

    blocks: list[FrameBlock]
    order: FrameOrder
    position: NDArray[np.int64]
    row: NDArray[np.intp]
    affine: NDArray[np.float64]

    def index_of(self, block: FrameBlock) -> NDArray[np.intp]:
        """Which of the frames those of a block are."""
        return np.searchsorted(self.position, self.order.positions(block))


def clear_frames(blocks: Sequence[FrameBlock], catalog: CameraCatalog) -> ClearFrames:
    """Choose up to 24 frames; which ones depends on the sequence and the catalogue only."""
    blocks = in_order(blocks)
    order = FrameOrder.of(blocks)
    positions = np.concatenate([order.positions(block) for block in blocks])
    table = catalog.alignment.sort_values(["night", "frame"], ignore_index=True)
    clear = (table["status"] == "aligned").to_numpy() & ~(table["cloud"] >= CLOUD_MAG).to_numpy()
    chosen = spread(positions[clear], N_FRAMES)
    row = np.searchsorted(positions, chosen)
    affine = table[list(AFFINE_COLUMNS)].to_numpy(np.float64).reshape(-1, 2, 3)[row]
    return ClearFrames(list(select_frames(blocks, order, chosen)), order, chosen, row, affine)


def isolated_sources(catalog: CameraCatalog) -> NDArray[np.intp]:
    """Which sources, brightest first, have no neighbour that would disturb; all if none is alone."""
    alone = is_isolated(catalog)
    return np.flatnonzero(alone) if alone.any() else np.arange(len(alone))


def is_isolated(catalog: CameraCatalog) -> NDArray[np.bool_]:
    """Whether each source has no neighbour that would disturb."""
    xy, flux = catalog.xy, np.asarray(catalog.table["psf_flux"], np.float64)
    apart = np.hypot(*(xy[:, None] - xy[None]).transpose(2, 0, 1))
    near = (apart < _CLEAR_OF_OTHERS * catalog.psf.semimajor_sigma) & (
        flux[None] > _DISTURBING * flux[:, None]
    )
    np.fill_diagonal(near, False)
    return np.asarray(~near.any(axis=1))
