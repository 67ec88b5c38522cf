"""PSF of a camera from its stars on single frames: stacking would widen it, isophotes would narrow it.

The PSF is taken to be fixed to the detector: covariances are combined as they are, in pixels, whatever the
rotation of the field.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opticam_dask.catalog.scouts import Reference
from opticam_dask.errors import CatalogError
from opticam_dask.kernels.moments import covariances, positions
from opticam_dask.kernels.shape import clipped_mean, debiased, relative_variance
from opticam_dask.types import PsfModel

_GOOD_SNR = 20.0
_FAINTER = 0.25  # stars below this fraction of the best signal-to-noise ratio only add noise
_ENOUGH = 5  # stars, of which none is too faint
_SAME_SIZE = 0.1  # fraction of a star's mean square width it may differ from the others'
_CLEAR_OF_OTHERS = 8.0  # distance to a star of 2 % of the flux [sigma]
_SATURATED = 0.9  # of the saturation level
_BY_CHANCE = 2.0  # times the variance that noise should give: what stars may differ without being different


def psf_model(
    reference: Reference, gain: float, selector: Callable[..., Any], rows: NDArray[np.void]
) -> PsfModel:
    """PSF on the detector.

    Each star's covariance is the mean over the scouts it is seen in, cleared of the bias by noise. The mean
    over the stars gives the axes; `selector` chooses among the stars' sigmas along these common axes: along
    its own axes, noise makes every round star look elongated. What noise explains of the differences between
    stars is taken out first, and what all frames know better than the scouts is put in: scouts alone leave
    an error of some 3e-4, which shifts the fluxes of all frames by as much.

    Parameters
    ----------
    reference : Reference
        Stars and matches.
    gain : float
        Gain [electron / adu].
    selector : callable
        List of sigmas in, one sigma out, such as `numpy.median`.
    rows : ndarray
        Fields ``position`` and ``shape`` of `catalog.tracking.FRAME_ROW`: the covariance of the stars of
        every frame [pixel^2], NaN where it is not known.

    Returns
    -------
    PsfModel

    Raises
    ------
    CatalogError
        If `selector` does not return a positive number.
    """
    shapes, variance = _shapes(reference, gain)
    good = _best(reference, suitable(reference, gain))
    shapes, variance = shapes[good], variance[good]
    mean = clipped_mean(shapes, variance)
    differences = _real_part(shapes, variance, mean) * (shapes - mean)
    mean = mean + _missed(reference, rows)
    shapes = mean + differences
    angle = 0.5 * math.atan2(2.0 * mean[1], mean[0] - mean[2])
    sigmas = [float(selector(list(np.sqrt(along(shapes, a))))) for a in (angle, angle + math.pi / 2)]
    if not all(math.isfinite(s) and s > 0 for s in sigmas):
        raise CatalogError(f"aperture_selector gave the sigmas {sigmas}; it must return a positive number")
    if sigmas[1] > sigmas[0]:
        angle += math.pi / 2
    return PsfModel(max(sigmas), min(sigmas), (math.degrees(angle) + 90.0) % 180.0 - 90.0)


def _real_part(
    shapes: NDArray[np.float64], variance: NDArray[np.float64], mean: NDArray[np.float64]
) -> float:
    """Part of the stars' differences from their mean that noise does not explain."""
    differences = (shapes - mean)[:, [0, 2]] / mean[[0, 2]]
    seen = float((differences**2).sum()) / max(2 * (len(shapes) - 1), 1)
    return max(0.0, 1.0 - _BY_CHANCE * float(variance.mean()) / seen) if seen > 0 else 0.0


def _missed(reference: Reference, rows: NDArray[np.void]) -> NDArray[np.float64]:
    """Mean covariance of all frames less that of the scouts among them [pixel^2].

    Both are means of what the same stars show in the same way, so the errors of the scouts cancel.
    """
    known = rows[np.isfinite(rows["shape"]).all(axis=1)]
    scouts = np.isin(known["position"], [scout.position for scout, _ in reference.matches])
    if not scouts.any():
        return np.zeros(3)
    equal = np.ones(len(known))
    shapes = np.ascontiguousarray(known["shape"])
    return np.asarray(clipped_mean(shapes, equal) - clipped_mean(shapes[scouts], equal[scouts]))


def along(shapes: NDArray[np.float64], angle_rad: float) -> NDArray[np.float64]:
    """Variances [pixel^2] of covariances (xx, xy, yy), shape (n, 3), along one direction."""
    c, s = math.cos(angle_rad), math.sin(angle_rad)
    return np.asarray(shapes @ np.array([c * c, 2.0 * c * s, s * s]))


def saturated(stars: NDArray[np.void], saturation: float) -> NDArray[np.bool_]:
    """Whether the highest pixels of stars are near the saturation level; unknown levels saturate nothing."""
    return np.asarray(stars["peak"] >= (_SATURATED * saturation if math.isfinite(saturation) else math.inf))


def suitable(reference: Reference, gain: float) -> NDArray[np.bool_]:
    """Stars of the reference to measure shapes on: unsaturated, bright, isolated, of the common size.

    Where the saturation level is unknown, the size tells a saturated star. A demand that none meets is
    dropped.
    """
    stars = reference.stars
    shapes, variance = _shapes(reference, gain)
    limit = reference.scout.saturation
    linear = ~saturated(stars, limit)
    xy = positions(stars)
    apart = np.hypot(*(xy[:, None] - xy[None]).transpose(2, 0, 1)) < _CLEAR_OF_OTHERS * reference.sigma
    disturbing = apart & (stars["flux"][None] > 0.02 * stars["flux"][:, None])
    np.fill_diagonal(disturbing, False)
    good = _demand(np.isfinite(variance), linear, stars["snr"] >= _GOOD_SNR, ~disturbing.any(axis=1))
    size = shapes[:, 0] + shapes[:, 2]
    departure = np.abs(size / np.median(size[good]) - 1.0)
    with np.errstate(invalid="ignore"):
        return _demand(good, departure <= _SAME_SIZE + 5.0 * np.sqrt(variance))


def _demand(good: NDArray[np.bool_], *demands: NDArray[np.bool_]) -> NDArray[np.bool_]:
    for demand in demands:
        both = np.asarray(good & demand)
        good = both if both.any() else good
    return good


def _best(reference: Reference, good: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Those of some stars that are near the best of them in signal-to-noise ratio, or the few best."""
    snr = np.where(good, reference.stars["snr"], 0.0)
    ranked = np.sort(snr)[::-1]
    return np.asarray(good & (snr >= min(_FAINTER * ranked[0], ranked[min(_ENOUGH, len(ranked)) - 1])))


def _shapes(reference: Reference, gain: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean covariance (xx, xy, yy) of each reference star and its relative variance; NaN if never seen."""
    n = len(reference.stars)
    frames: list[list[NDArray[np.void]]] = [[] for _ in range(n)]
    for scout, match in reference.matches:
        linear = ~saturated(scout.stars, scout.saturation)
        for star, row in zip(match.reference, match.frame, strict=True):
            if linear[row]:
                frames[star].append(scout.stars[row])
    shapes, variance = np.full((n, 3), np.nan), np.full(n, np.nan)
    for star, seen in enumerate(frames):
        if seen:
            rows = np.array(seen, dtype=reference.stars.dtype)
            noise = relative_variance(rows, gain)
            shapes[star] = clipped_mean(debiased(covariances(rows), noise), np.full(len(rows), 1.0))
            variance[star] = float(noise.mean()) / len(rows)
    return shapes, variance
