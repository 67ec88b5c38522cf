"""Transform of one frame: follow the stars from where they should be, or look for them afresh."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opticam_dask.catalog.ensemble import Ensemble
from opticam_dask.catalog.interpolate import TransformTrack
from opticam_dask.catalog.model import AlignmentConfig
from opticam_dask.catalog.order import FrameOrder
from opticam_dask.kernels.align import match_stars
from opticam_dask.kernels.detect import detect_stars
from opticam_dask.kernels.moments import axes_of, positions
from opticam_dask.kernels.sky import Sky
from opticam_dask.kernels.track import track_stars
from opticam_dask.kernels.transform import apply, inside
from opticam_dask.kernels.transform_fit import robust_fit
from opticam_dask.types import FWHM_PER_SIGMA, Affine, Image

_CENTROID_FLOOR = 0.02  # error of the best centroid [pixel]: no star outweighs all others
_DETECTABLE = 8.0  # signal-to-noise ratio at which a star should be found again
_BLANK = 0.3  # of the stars to expect: where fewer are seen, the sky is overcast
_WIDTHS = (0.35, 3.0)  # range of a star's width in units of the reference's


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
    ensemble : Ensemble
        What serves to measure the PSF and the transparency of a frame.
    sigma : float
        Their width [pixel].
    noise : float
        Scatter of the reference frame's sky [adu].
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
    ensemble: Ensemble
    sigma: float
    noise: float
    exposure: float
    hot: NDArray[np.int64]
    track: TransformTrack
    scale: float
    limit: float


@dataclass(frozen=True, eq=False)
class Fix:
    """Transform of a frame, the stars it rests on and their numbers in the plan; or why there is none."""

    affine: Affine | None
    index: NDArray[np.intp]
    stars: NDArray[np.void]
    residual: float = math.nan
    reason: str = ""
    blank: bool = False


def align(image: Image, sky: Sky, predicted: Affine, meta: np.void, plan: TrackingPlan) -> Fix:
    """Transform from the predicted one, or from nothing if the stars are not where it says."""
    fix = _follow(image, sky, predicted, plan)
    return fix if fix is not None else align_afresh(image, sky, meta, plan)


def _follow(image: Image, sky: Sky, predicted: Affine, plan: TrackingPlan) -> Fix | None:
    """Transform from the stars near their predicted places; None if too few are there."""
    if not (sky.rms > 0 and np.isfinite(predicted).all()):
        return None
    place = apply(predicted, positions(plan.stars[plan.chosen]))
    visible = inside(place, plan.shape, 2.0 * plan.sigma)
    index, place = plan.chosen[visible], place[visible]
    if len(index) == 0:
        return None
    radius = max(6.0, 3.0 * FWHM_PER_SIGMA * plan.sigma)
    stars = track_stars(image, place, sky, plan.sigma, radius)
    good = _plausible(stars, plan.sigma)
    if not good.any():
        return None
    affine, kept, residual = robust_fit(
        positions(plan.stars[index[good]]),
        positions(stars[good]),
        _weights(stars[good]),
        predicted,
        plan.config.transform_type,
    )
    fix = Fix(affine, index[good][kept], stars[good][kept], residual)
    found = plan.stars[fix.index]
    if len(found) < _needed(plan.stars[index], found, fix.stars, plan) or not _steady(found, fix.stars):
        return None
    return _limited(fix, plan)


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


def align_afresh(image: Image, sky: Sky, meta: np.void, plan: TrackingPlan) -> Fix:
    """Transform from full detection and matching, with nothing known beforehand."""
    if not math.isfinite(sky.level):
        return _lost(plan, "no finite pixel")
    if not sky.rms > 0:
        return _lost(plan, "constant frame")
    stars, _ = detect_stars(image, sky)
    blank = len(stars) < _BLANK * _expected(sky, meta, plan)
    if len(stars) == 0:
        return _lost(plan, "no stars: cloud?", blank)
    match = match_stars(
        positions(plan.stars),
        positions(stars),
        (plan.stars["flux"], stars["flux"]),
        plan.shape,
        plan.config.transform_type,
    )
    if match is None:
        return _lost(plan, f"{len(stars)} stars, which do not match the reference frame's", blank)
    seen = stars[match.frame]
    affine, kept, residual = robust_fit(
        positions(plan.stars[match.reference]),
        positions(seen),
        _weights(seen),
        match.affine,
        plan.config.transform_type,
    )
    return _limited(Fix(affine, match.reference[kept], seen[kept], residual), plan)


def _lost(plan: TrackingPlan, reason: str, blank: bool = False) -> Fix:
    return Fix(None, np.empty(0, np.intp), plan.stars[:0], reason=reason, blank=blank)


def _expected(sky: Sky, meta: np.void, plan: TrackingPlan) -> int:
    """Stars to expect in a clear frame of this exposure time and this noise."""
    gain = longer(meta, plan) * plan.noise / sky.rms
    return int((plan.stars["snr"] * gain > _DETECTABLE).sum())


def longer(meta: np.void, plan: TrackingPlan) -> float:
    """Exposure time in units of the reference frame's; 1 where unknown."""
    exposure = float(meta["exposure"])
    return exposure / plan.exposure if exposure > 0 and plan.exposure > 0 else 1.0


def _limited(fix: Fix, plan: TrackingPlan) -> Fix:
    reason = plan.config.refusal(fix.affine, plan.shape) if fix.affine is not None else ""
    return _lost(plan, reason) if reason else fix
