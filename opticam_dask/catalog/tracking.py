"""Every frame of a block: follow the stars, measure the transform, add to the stack."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from opticam_dask.catalog.interpolate import TransformTrack
from opticam_dask.catalog.model import AlignmentConfig
from opticam_dask.catalog.order import FrameOrder
from opticam_dask.errors import FrameReadError
from opticam_dask.kernels.align import match_stars
from opticam_dask.kernels.background import as_pixels
from opticam_dask.kernels.detect import detect_stars
from opticam_dask.kernels.moments import axes_of, positions
from opticam_dask.kernels.sky import Sky, isolated_pixels, sky_of, without
from opticam_dask.kernels.stack import Stack, add_frame
from opticam_dask.kernels.track import track_stars
from opticam_dask.kernels.transform import apply, inside, robust_fit
from opticam_dask.schema import CLOUDY
from opticam_dask.types import FWHM_PER_SIGMA, Affine, Image

if TYPE_CHECKING:
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
        ("status", "i1"),
    ]
)
"""One frame as a worker reports it: columns of the alignment table, and how many times brighter its stars
are than the reference frame's, which is the transparency times the ratio of exposure times."""

_CENTROID_FLOOR = 0.02  # error of the best centroid [pixel]: no star outweighs all others
_DETECTABLE = 8.0  # signal-to-noise ratio at which a star should be found again
_NOISY = 0.9  # quantile of the frames' noise that stands for a noisy frame, not for a spoilt one
_FAINT = 0.1  # quantile of the peaks of a star on all frames that stands for the faintest
_WIDTHS = (0.5, 2.5)  # range of a star's width in units of the reference's


@dataclass(frozen=True, eq=False)
class TrackingPlan:
    """What is the same for all frames of a camera.

    Parameters
    ----------
    shape : tuple of int
        (rows, columns) of the frames.
    config : AlignmentConfig
        Kind and limits of the transforms.
    order : FrameOrder
        Positions of the frames in the sequence.
    stars : ndarray of STAR
        All stars of the reference frame, brightest first.
    chosen : ndarray of int
        Which of them to follow.
    sigma : float
        Their width [pixel].
    exposure : float
        Exposure time of the reference frame [s].
    hot : ndarray of int64
        Flat indices of hot pixels.
    track : TransformTrack
        Transforms of the anchors; empty while these are being found.
    scale, limit : float
        Fixed point of the stack, see `kernels.stack.fixed_point_scale`.
    """

    shape: tuple[int, int]
    config: AlignmentConfig
    order: FrameOrder
    stars: NDArray[np.void]
    chosen: NDArray[np.intp]
    sigma: float
    exposure: float
    hot: NDArray[np.int64]
    track: TransformTrack
    scale: float
    limit: float


@dataclass(frozen=True, eq=False)
class Partial:
    """Rows and partial stack of some frames; reasons only of frames that did not align."""

    rows: NDArray[np.void]
    reasons: dict[int, str]
    stack: Stack


@dataclass(frozen=True, eq=False)
class _Fix:
    """Transform of a frame, with the stars it rests on; or why there is none."""

    affine: Affine | None
    reference: NDArray[np.void]
    stars: NDArray[np.void]
    residual: float = math.nan
    reason: str = ""


def anchor_block(block: FrameBlock, plan: TrackingPlan) -> NDArray[np.void]:
    """Rows of the frames of a block, each aligned by full detection."""
    rows, _ = _empty_rows(block, plan)
    for i, frame in block.frames():
        if not isinstance(frame, FrameReadError):
            image, sky = _prepare(frame, plan)
            _record(rows[i], _align_afresh(image, sky, plan), sky, block.meta["exposure"][i], plan)
        else:
            rows["status"][i] = UNREADABLE
    return rows


def track_block(block: FrameBlock, plan: TrackingPlan) -> Partial:
    """Rows and partial stack of a block of frames, one frame in memory at a time."""
    rows, predicted = _empty_rows(block, plan)
    stack = Stack.empty(plan.shape)
    reasons: dict[int, str] = {}
    for i, frame in block.frames():
        if isinstance(frame, FrameReadError):
            rows["status"][i], reasons[int(rows["position"][i])] = UNREADABLE, str(frame)
            continue
        image, sky = _prepare(frame, plan)
        fix = _align(image, sky, predicted[i], plan)
        _record(rows[i], fix, sky, block.meta["exposure"][i], plan)
        if fix.affine is None:
            reasons[int(rows["position"][i])] = fix.reason
        elif _stacked(rows[i : i + 1])[0]:
            add_frame(image, sky.level, fix.affine, stack, scale=plan.scale, limit=plan.limit)
    return Partial(rows, reasons, stack)


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


def _stacked(rows: NDArray[np.void]) -> NDArray[np.bool_]:
    """Frames that are part of the stack; a cloudy one is aligned at most."""
    return np.asarray((rows["status"] == ALIGNED) & (rows["transparency"] >= CLOUDY))


def _empty_rows(block: FrameBlock, plan: TrackingPlan) -> tuple[NDArray[np.void], NDArray[np.float64]]:
    rows = np.zeros(len(block), FRAME_ROW)
    for name in ("affine", "residual", "fwhm", "background", "background_rms", "transparency", "brightness"):
        rows[name] = np.nan
    rows["position"] = plan.order.positions(block)
    return rows, plan.track.predict(rows["position"], block.meta["MJD"])


def _prepare(frame: Image, plan: TrackingPlan) -> tuple[Image, Sky]:
    """Pixels the kernels take, with hot pixels and those that stand out alone as NaN."""
    image = as_pixels(frame)
    sky = sky_of(image)
    return without(image, np.union1d(plan.hot, isolated_pixels(image, sky))), sky


def _align(image: Image, sky: Sky, predicted: Affine, plan: TrackingPlan) -> _Fix:
    fix = _follow(image, sky, predicted, plan)
    return fix if fix is not None else _align_afresh(image, sky, plan)


def _follow(image: Image, sky: Sky, predicted: Affine, plan: TrackingPlan) -> _Fix | None:
    """Transform from the stars near their predicted places; None if too few are there."""
    reference = plan.stars[plan.chosen]
    if not (sky.rms > 0 and np.isfinite(predicted).all()):
        return None
    place = apply(predicted, positions(reference))
    visible = inside(place, plan.shape, 2.0 * plan.sigma)
    reference, place = reference[visible], place[visible]
    if len(reference) == 0:
        return None
    radius = max(6.0, 3.0 * FWHM_PER_SIGMA * plan.sigma)
    stars = track_stars(image, place, sky, plan.sigma, radius)
    good = _plausible(stars, plan.sigma)
    if not good.any():
        return None
    affine, kept, residual = robust_fit(
        positions(reference[good]),
        positions(stars[good]),
        _weights(stars[good]),
        predicted,
        plan.config.transform_type,
    )
    found, seen = reference[good][kept], stars[good][kept]
    if len(found) < _needed(reference, found, seen, plan) or not _steady(found, seen):
        return None
    return _limited(_Fix(affine, found, seen, residual), plan)


def _plausible(stars: NDArray[np.void], sigma: float) -> NDArray[np.bool_]:
    major, minor, _ = axes_of(stars["mxx"], stars["mxy"], stars["myy"])
    width = np.sqrt(major * minor) / sigma
    with np.errstate(invalid="ignore"):
        good = (stars["snr"] >= 5.0) & (width >= _WIDTHS[0]) & (width <= _WIDTHS[1])
    return np.asarray(good & stars["converged"])


def _weights(stars: NDArray[np.void]) -> NDArray[np.float64]:
    """Inverse variances of centroids: a star of width s is placed to about s / (signal-to-noise)."""
    error2 = (stars["mxx"] + stars["myy"]) / (2.0 * stars["snr"] ** 2)
    return np.asarray(1.0 / (_CENTROID_FLOOR**2 + error2))


def _needed(
    visible: NDArray[np.void], found: NDArray[np.void], seen: NDArray[np.void], plan: TrackingPlan
) -> float:
    """Stars that must agree: 60 % of those the frame's transparency lets one expect, three if there are."""
    dimming = min(1.0, float(np.median(seen["flux"] / found["flux"]))) if len(found) else 1.0
    expected = int((visible["snr"] * dimming > _DETECTABLE).sum())
    return max(0.6 * expected, min(3, len(plan.chosen)))


def _steady(found: NDArray[np.void], seen: NDArray[np.void]) -> bool:
    """Whether flux ratios agree; noise and wrong stars do not."""
    ratio = np.log(seen["flux"] / found["flux"])
    return bool(np.median(np.abs(ratio - np.median(ratio))) < 0.5)


def _align_afresh(image: Image, sky: Sky, plan: TrackingPlan) -> _Fix:
    """Transform from full detection and matching, with nothing known beforehand."""
    nothing = plan.stars[:0]
    if not math.isfinite(sky.level):
        return _Fix(None, nothing, nothing, reason="no finite pixel")
    if not sky.rms > 0:
        return _Fix(None, nothing, nothing, reason="constant frame")
    stars, _ = detect_stars(image, sky)
    if len(stars) == 0:
        return _Fix(None, nothing, nothing, reason="no stars: cloud?")
    match = match_stars(
        positions(plan.stars),
        positions(stars),
        (plan.stars["flux"], stars["flux"]),
        plan.shape,
        plan.config.transform_type,
    )
    if match is None:
        return _Fix(
            None, nothing, nothing, reason=f"{len(stars)} stars, which do not match the reference frame's"
        )
    found, seen = plan.stars[match.reference], stars[match.frame]
    affine, kept, residual = robust_fit(
        positions(found), positions(seen), _weights(seen), match.affine, plan.config.transform_type
    )
    return _limited(_Fix(affine, found[kept], seen[kept], residual), plan)


def _limited(fix: _Fix, plan: TrackingPlan) -> _Fix:
    reason = plan.config.refusal(fix.affine, plan.shape) if fix.affine is not None else ""
    return _Fix(None, fix.reference, fix.stars, reason=reason) if reason else fix


def _record(row: np.void, fix: _Fix, sky: Sky, exposure: float, plan: TrackingPlan) -> None:
    row["background"], row["background_rms"] = sky.level, sky.rms
    row["status"] = FAILED if fix.affine is None else ALIGNED
    if fix.affine is None:
        return
    row["affine"], row["residual"], row["n_matched"] = fix.affine, fix.residual, len(fix.stars)
    major, minor, _ = axes_of(fix.stars["mxx"], fix.stars["mxy"], fix.stars["myy"])
    row["fwhm"] = FWHM_PER_SIGMA * np.median(np.sqrt(major * minor))
    ratio = float(np.median(fix.stars["flux"] / fix.reference["flux"]))
    longer = exposure / plan.exposure if exposure > 0 and plan.exposure > 0 else 1.0
    row["brightness"], row["transparency"] = ratio, ratio / longer
