"""Every frame of a block: follow the stars, measure the transform, add to the stack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from opticam_dask.catalog.ensemble import Detector
from opticam_dask.catalog.fixing import Fix, TrackingPlan, align, longer
from opticam_dask.errors import FrameReadError
from opticam_dask.kernels.sky import Sky, isolated_pixels, sky_of, to_single
from opticam_dask.kernels.stack import Stack
from opticam_dask.kernels.stack_intake import Intake
from opticam_dask.schema import CLOUDY
from opticam_dask.types import FWHM_PER_SIGMA, Image

if TYPE_CHECKING:
    from opticam_dask.catalog.order import Bundle
    from opticam_dask.io.blocks import FrameBlock

ALIGNED, FAILED, UNREADABLE = 0, 1, 2
FRAME_ROW = np.dtype(
    [
        ("position", "i8"),
        ("affine", "f8", (2, 3)),
        ("n_matched", "i4"),
        ("residual", "f8"),
        ("fwhm", "f8"),
        ("background", "f8"),
        ("background_rms", "f8"),
        ("transparency", "f8"),
        ("brightness", "f8"),
        ("shape", "f8", (3,)),
        ("blank", "?"),
        ("status", "i1"),
    ]
)
"""One frame as a worker reports it: columns of the alignment table; how many times brighter its stars are
than the reference frame's, which is the transparency times the ratio of exposure times; the covariance
(xx, xy, yy) of its stars [pixel^2]; and whether there is hardly a star where many should be."""

_NUMBERS = (
    *("affine", "residual", "fwhm", "background", "background_rms"),
    *("transparency", "brightness", "shape"),
)
_NOISY = 0.9  # quantile of the frames' noise that stands for a noisy frame, not for a spoilt one
_FAINT = 0.1  # quantile of the peaks of a star on all frames that stands for the faintest


@dataclass(frozen=True, eq=False)
class Tracked:
    """Rows of some frames; reasons, by position, only of those that did not align."""

    rows: NDArray[np.void]
    reasons: dict[int, str]


@dataclass(frozen=True, eq=False)
class Partial(Tracked):
    """Rows and partial stack of some frames."""

    stack: Stack

    def __sizeof__(self) -> int:
        return self.stack.nbytes + self.rows.nbytes


def anchor_block(block: FrameBlock, plan: TrackingPlan) -> NDArray[np.void]:
    """Rows of the frames of a block, aligned only."""
    rows, predicted = _empty_rows(block, plan)
    image = np.empty(plan.shape, np.float32)
    for i, frame in block.frames():
        if isinstance(frame, FrameReadError):
            rows["status"][i] = UNREADABLE
        else:
            sky = _prepare(frame, image, plan)
            _record(rows[i], align(image, sky, predicted[i], block.meta[i], plan), sky)
    return rows


def track_bundle(bundle: Bundle, plan: TrackingPlan) -> Partial:
    """Rows and partial stack of some blocks of frames, a few frames in memory at a time."""
    intake, reasons = Intake(plan.shape, plan.scale, plan.limit), dict[int, str]()
    rows = [_track_block(block, plan, intake, reasons) for block in bundle.blocks]
    return Partial(np.concatenate(rows), reasons, intake.stack())


def track_block(block: FrameBlock, plan: TrackingPlan) -> Tracked:
    """Rows of the frames of a block, for which no stack is made."""
    reasons = dict[int, str]()
    return Tracked(_track_block(block, plan, None, reasons), reasons)


def _track_block(
    block: FrameBlock, plan: TrackingPlan, intake: Intake | None, reasons: dict[int, str]
) -> NDArray[np.void]:
    """Rows of the frames of a block; adds to the stack, if there is one, and to ``reasons``."""
    rows, predicted = _empty_rows(block, plan)
    scratch = np.empty(plan.shape if intake is None else (0, 0), np.float32)
    for i, frame in block.frames():
        row, meta = rows[i], block.meta[i]
        if isinstance(frame, FrameReadError):
            row["status"], reasons[int(row["position"])] = UNREADABLE, str(frame)
            continue
        image = scratch if intake is None else intake.image
        sky = _prepare(frame, image, plan)
        fix = align(image, sky, predicted[i], meta, plan)
        _record(row, fix, sky)
        _record_stars(row, fix, image, sky, meta, plan)
        if fix.affine is None:
            reasons[int(row["position"])] = fix.reason
        elif intake is not None and _stacked(row):
            intake.take(sky.level, fix.affine)
    return rows


def merge_partials(parts: Sequence[Partial]) -> Partial:
    """Rows one after the other, stacks merged: any grouping gives the same."""
    reasons: dict[int, str] = {}
    for part in parts:
        reasons |= part.reasons
    stack = Stack.merged([part.stack for part in parts])
    return Partial(np.concatenate([part.rows for part in parts]), reasons, stack)


def spread_of(rows: NDArray[np.void]) -> tuple[float, float]:
    """Noise of a frame [adu], but for the noisiest, and the highest peaks of stars in units of the lowest.

    Of the stacked frames; clouds, exposure times and seeing change a star's peak, its flux over its area.
    The lowest decile stands for the lowest.
    """
    stacked = rows[_stacked(rows)]
    if len(stacked) == 0:
        return 0.0, 1.0
    noise = float(np.quantile(stacked["background_rms"], _NOISY))
    good = (stacked["fwhm"] > 0) & (stacked["brightness"] > 0)
    peaks = stacked["brightness"][good] / stacked["fwhm"][good] ** 2
    return noise, float(peaks.max() / np.quantile(peaks, _FAINT)) if good.any() else 1.0


def _stacked(rows: Any) -> Any:
    """Whether a frame, or which of some, are part of the stack; a cloudy one is aligned at most."""
    return (rows["status"] == ALIGNED) & (rows["transparency"] >= CLOUDY)


def _empty_rows(block: FrameBlock, plan: TrackingPlan) -> tuple[NDArray[np.void], NDArray[np.float64]]:
    rows = np.zeros(len(block), FRAME_ROW)
    for name in _NUMBERS:
        rows[name] = np.nan
    rows["position"] = plan.order.positions(block)
    return rows, plan.track.predict(rows["position"], block.meta["MJD"])


def _prepare(frame: Image, image: NDArray[np.float32], plan: TrackingPlan) -> Sky:
    """Copy a frame into ``image``, with hot pixels and those that stand out alone as NaN; its sky."""
    to_single(frame, image)
    sky = sky_of(image)
    alone = isolated_pixels(image, sky)
    for bad in (plan.hot, alone):
        image.ravel()[bad] = np.nan
    return sky


def _record(row: np.void, fix: Fix, sky: Sky) -> None:
    row["background"], row["background_rms"], row["blank"] = sky.level, sky.rms, fix.blank
    row["status"] = FAILED if fix.affine is None else ALIGNED
    if fix.affine is not None:
        row["affine"], row["residual"], row["n_matched"] = fix.affine, fix.residual, len(fix.stars)


def _record_stars(row: np.void, fix: Fix, image: Image, sky: Sky, meta: np.void, plan: TrackingPlan) -> None:
    """Shape of the stars of an aligned frame, and how bright they are."""
    if fix.affine is None:
        return
    detector = Detector(float(meta["gain"]), float(meta["saturation"]), sky)
    shape, certain = plan.ensemble.shape(fix.index, fix.stars, detector)
    row["fwhm"] = FWHM_PER_SIGMA * float(shape[0] * shape[2] - shape[1] ** 2) ** 0.25
    row["shape"] = shape if certain else np.nan
    ratio = plan.ensemble.brightness(image, fix.affine, shape, detector)
    row["brightness"], row["transparency"] = ratio, ratio / longer(meta, plan)
