"""Moffat profile of a camera's PSF, from its bright stars on a few frames."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from opticam_dask.catalog.bright import ClearFrames, clear_frames, isolated_sources
from opticam_dask.catalog.frame_psf import covariances_of, ellipses
from opticam_dask.errors import CatalogError, FrameReadError
from opticam_dask.kernels.background import as_pixels
from opticam_dask.kernels.moffat import fit_moffat
from opticam_dask.kernels.sky import isolated_pixels, sky_of, without
from opticam_dask.kernels.stamps import Ellipse, Stamps, stamp_batches
from opticam_dask.kernels.transform import apply, inside
from opticam_dask.lazy.chunks import map_blocks_of_frames
from opticam_dask.types import XY, Exposure, PsfModel

if TYPE_CHECKING:
    from opticam_dask.catalog.model import CameraCatalog
    from opticam_dask.io.blocks import FrameBlock

N_STARS = 8
_REACH = 8.0  # of a cut-out [sigma]: enough sky to tell the wings from it
_SATURATED = 0.9  # of the saturation level


@dataclass(frozen=True, eq=False)
class _Fit:
    """What is the same for all frames: places of the stars, PSF to start from, hot pixels, transforms."""

    xy: XY
    start: Ellipse
    hot: NDArray[np.int64]
    frames: ClearFrames


def moffat_psf(
    blocks: Sequence[FrameBlock], catalog: CameraCatalog, *, run: Callable[[Any, str], list[Any]]
) -> PsfModel:
    """Moffat profile of a camera: median over some frames of the shape common to the stars of each.

    Up to 24 clear, aligned frames, evenly spread over the sequence, and on each the 8 brightest isolated
    sources that are whole and unsaturated there. Which frames and stars depends on the catalogue only.

    Parameters
    ----------
    blocks : sequence of FrameBlock
        Frames of the camera, those the catalogue was made from.
    catalog : CameraCatalog
        Sources, transforms and the PSF to start from.
    run : callable
        Computes a dask array of objects and returns them in order; its second argument describes the work.

    Returns
    -------
    PsfModel
        With ``beta``; the sigmas are full widths at half maximum over 2.3548 [pixel].

    Raises
    ------
    CatalogError
        If no frame has a star bright enough.
    """
    frames, psf = clear_frames(blocks, catalog), catalog.psf
    start = Ellipse(psf.semimajor_sigma, psf.semiminor_sigma, psf.orientation_rad)
    plan = _Fit(catalog.xy[isolated_sources(catalog)], start, catalog.hot, frames)
    tasks = map_blocks_of_frames(_fit_block, frames.blocks, plan)
    parts = run(tasks, f"{catalog.camera}: fitting Moffat profiles") if frames.blocks else []
    shapes = np.concatenate([np.empty((0, 4)), *parts])
    shapes = shapes[np.isfinite(shapes).all(axis=1)]
    if len(shapes) == 0:
        raise CatalogError(
            f"camera {catalog.camera}: no Moffat profile, for no frame shows an isolated, unsaturated star "
            "that is bright enough; use a Gaussian profile"
        )
    return _median(shapes)


def _median(shapes: NDArray[np.float64]) -> PsfModel:
    """Median of the covariances and of the exponents."""
    covariance = np.median(covariances_of(shapes[:, :3]), axis=0)
    major, minor, angle = (float(value) for value in ellipses(covariance[None])[0])
    return PsfModel(major, minor, angle, beta=float(np.median(shapes[:, 3])))


def _fit_block(block: FrameBlock, plan: _Fit) -> NDArray[np.float64]:
    """Shape on each frame of a (small) block, rows (semimajor, semiminor, orientation [degree], beta)."""
    affine = plan.frames.affine[plan.frames.index_of(block)]
    return np.array(
        [
            _fit_frame(frame, affine[i], plan)
            for i, frame in block.exposures()
            if not isinstance(frame, FrameReadError)
        ]
    ).reshape(-1, 4)


def _fit_frame(frame: Exposure, affine: NDArray[np.float64], plan: _Fit) -> tuple[float, ...]:
    image = as_pixels(frame.image)
    sky = sky_of(image)
    bad = np.union1d(np.union1d(plan.hot, frame.marked), isolated_pixels(image, sky))
    if math.isfinite(frame.saturation):
        bad = np.union1d(bad, np.flatnonzero(image.ravel() >= _SATURATED * frame.saturation))
    place = apply(affine, plan.xy)
    place = place[inside(place, image.shape, _REACH * plan.start.semiminor)]
    stamps = _whole(without(image, bad), place, plan.start)
    if stamps is None:
        return (math.nan,) * 4
    gain = frame.gain if frame.gain > 0 else 1.0
    return tuple(fit_moffat(stamps, plan.start, scatter=sky.rms, gain=gain))


def _whole(image: NDArray[Any], place: XY, start: Ellipse) -> Stamps | None:
    """Cut-outs of the first stars whose centres have no bad pixel; None if there is none."""
    half = start.half_extent(_REACH)
    core = next(stamp_batches(image, place, (1.0, 1.0)), None)
    if core is None:
        return None
    whole = np.isfinite(core[1].pixels).all(axis=(1, 2))
    found = next(stamp_batches(image, place[whole][:N_STARS], half), None)
    return None if found is None else found[1]
