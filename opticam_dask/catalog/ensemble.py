"""The stars of a frame taken together: their shape, and how bright they are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from opticam_dask.catalog.psf import saturated, suitable
from opticam_dask.catalog.scouts import Reference
from opticam_dask.kernels.moments import covariances, positions, shape_fluxes
from opticam_dask.kernels.shape import clipped_mean, debiased, relative_variance, weighted_median
from opticam_dask.kernels.sky import Sky
from opticam_dask.kernels.transform import apply, inside
from opticam_dask.types import XY, Affine, Image

_CERTAIN = 0.01  # relative variance of a frame's mean square width above which it is no measurement
_VARIABILITY = 0.01  # relative scatter granted to every star: no star outweighs all others
_GAUSSIAN_PHOTONS = (
    4.0 / 3.0
)  # variance of a matched flux by its own photoelectrons, in units of their number
_CLIP = 4.0  # sigma
_TINY = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True)
class Detector:
    """Gain [electron / adu] and saturation level [adu] of a frame, and its sky."""

    gain: float
    saturation: float
    sky: Sky


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Stars of the reference frame which measure others.

    Parameters
    ----------
    xy : ndarray, shape (n, 2) [pixel]
        Places of those that tell the transparency.
    flux : ndarray, shape (n,) [adu]
        Their fluxes: means of several frames, on the scale of the reference frame.
    shapely : ndarray of bool, shape (n_stars,)
        Which of all stars of the reference frame are fit to measure the PSF.
    """

    xy: XY
    flux: NDArray[np.float64]
    shapely: NDArray[np.bool_]

    def shape(
        self, index: NDArray[np.intp], stars: NDArray[np.void], detector: Detector
    ) -> tuple[NDArray[np.float64], bool]:
        """Covariance (xx, xy, yy) of the stars of a frame [pixel^2], in its own axes.

        Parameters
        ----------
        index : ndarray of int
            Numbers of the stars in the reference.
        stars : ndarray of STAR
            The same stars as seen in the frame.
        detector : Detector
            Of the frame.

        Returns
        -------
        shape : ndarray, shape (3,)
            Weighted mean over those fit for it, or over all if none is.
        certain : bool
            Whether it is known to about 5 % in width.
        """
        good = self.shapely[index] & ~saturated(stars, detector.saturation)
        rows = stars[good] if good.any() else stars
        variance = relative_variance(rows, detector.gain)
        shape = clipped_mean(debiased(covariances(rows), variance), variance)
        return shape, bool(good.any() and 1.0 / (1.0 / variance).sum() < _CERTAIN)

    def brightness(
        self, image: Image, affine: Affine, shape: NDArray[np.float64], detector: Detector
    ) -> float:
        """How many times brighter the stars are than in the reference frame; NaN if none is on the frame.

        All stars that should be there count, seen or not, with the weight their flux in the reference
        deserves: faint ones do not bias the mean, and one that varies is left out.
        """
        place = apply(affine, self.xy)
        flux, noise = shape_fluxes(image, place, shape, detector.sky.level)
        good = np.isfinite(flux) & inside(place, image.shape)
        if not good.any():
            return math.nan
        ratio = flux[good] / self.flux[good]
        noise2 = (noise[good] * detector.sky.rms / self.flux[good]) ** 2
        photons = _GAUSSIAN_PHOTONS / (self.flux[good] * (detector.gain if detector.gain > 0 else 1.0))
        return _robust_mean(ratio, noise2, photons)


@numba.njit(cache=True, nogil=True)
def _robust_mean(ratio: Any, noise2: Any, photons: Any) -> float:
    mean = weighted_median(ratio, 1.0 / (noise2 + photons + _VARIABILITY**2))
    variance = noise2 + photons * max(mean, 0.0) + (_VARIABILITY * mean) ** 2
    weight = 1.0 / np.maximum(variance, _TINY)
    mean = weighted_median(ratio, weight)
    distance = np.abs(ratio - mean)
    scatter = 1.4826 * weighted_median(distance, weight)
    weight[distance > np.maximum(_CLIP * np.sqrt(variance), _CLIP * scatter)] = 0.0
    return float(np.sum(weight * ratio) / np.sum(weight))


def ensemble_of(reference: Reference, chosen: NDArray[np.intp], gain: float) -> Ensemble:
    """Stars that measure the frames: of those followed the unsaturated ones, if there are three."""
    stars, limit = reference.stars[chosen], reference.scout.saturation
    linear = ~saturated(stars, limit)
    flux = _mean_fluxes(reference)[chosen]
    use = (linear if linear.sum() >= min(3, len(stars)) else np.ones(len(stars), bool)) & (flux > 0)
    return Ensemble(positions(stars[use]), flux[use], suitable(reference, gain))


def _mean_fluxes(reference: Reference) -> NDArray[np.float64]:
    """Flux of each star [adu]: median over the frames looked at, scaled to the reference frame."""
    own = reference.stars["flux"]
    scaled: list[list[float]] = [[] for _ in own]
    for scout, match in reference.matches:
        flux, snr = scout.stars["flux"][match.frame], scout.stars["snr"][match.frame]
        ratio = flux / own[match.reference]
        brightness = weighted_median(ratio, np.minimum(snr, 100.0) ** 2)
        for star, value in zip(match.reference, flux / brightness, strict=True):
            scaled[star].append(float(value))
    mean = np.array([np.median(values) if values else own[i] for i, values in enumerate(scaled)])
    return np.asarray(mean * weighted_median(own / mean, np.minimum(reference.stars["snr"], 100.0) ** 2))
