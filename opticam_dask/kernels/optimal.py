"""Optimal photometry with a Gaussian profile.

References
----------
Naylor 1998, MNRAS 296, 339: weights W = (P/V) / sum(P^2/V), flux = sum(W (D - S)).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

from opticam_dask.kernels.noise import pixel_variance
from opticam_dask.kernels.profile import PROFILE_RADIUS, core_flags, fill_profile
from opticam_dask.kernels.stamps import stamp_batches

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from opticam_dask.kernels.stamps import Ellipse
    from opticam_dask.types import XY, Image

MIN_FRACTION = 0.5
"""Least part of the profile that must fall on good pixels."""

_ITERATIONS = 3  # of the model variance; the flux then moves by far less than its error


class _SkyFields(NamedTuple):
    level: NDArray[np.float64]
    scatter: NDArray[np.float64]
    level_variance: NDArray[np.float64]
    noise: NDArray[np.float64]


class SourceSky(_SkyFields):
    """Sky under each source, every field of shape (n,).

    Parameters
    ----------
    level : ndarray [adu / pixel]
        Sky level.
    scatter : ndarray [adu / pixel]
        Scatter of the sky as reported: that of the pixels that clipping left.
    level_variance : ndarray [adu^2]
        Variance of the level.
    noise : ndarray, optional [adu / pixel]
        Standard deviation of a pixel for the error budget: the scatter, corrected for what clipping takes
        from it. Default: the scatter.
    """

    __slots__ = ()

    def __new__(
        cls,
        level: NDArray[np.float64],
        scatter: NDArray[np.float64],
        level_variance: NDArray[np.float64],
        noise: NDArray[np.float64] | None = None,
    ) -> SourceSky:
        """Sky whose noise is the scatter unless it is given."""
        return super().__new__(cls, level, scatter, level_variance, scatter if noise is None else noise)


class Fluxes(NamedTuple):
    """Flux of each source [adu], its variance [adu^2] and its quality bits, each of shape (n,)."""

    flux: NDArray[np.float64]
    variance: NDArray[np.float64]
    flags: NDArray[np.int64]


def optimal_fluxes(
    image: Image,
    xy: XY,
    psf: Ellipse,
    sky: SourceSky,
    *,
    gain: float = 1.0,
    saturation: float = math.nan,
) -> Fluxes:
    """Total counts of stars by optimal extraction.

    The profile is a Gaussian sampled at pixel centres with unit sum over the whole grid. The variance of a
    pixel is the sky's plus the model's shot noise, iterated from constant weights. Bad pixels and pixels
    off the frame are left out; the flux stays unbiased because the profile there is left out, too.

    Parameters
    ----------
    image : ndarray, shape (ny, nx), uint16, float32 or float64 [adu]
        NaN marks a bad pixel.
    xy : ndarray, shape (n, 2) [pixel]
        Positions.
    psf : Ellipse
        Standard deviations of the profile and the angle of its major axis.
    sky : SourceSky
        Sky under each source.
    gain : float
        Gain [electron / adu].
    saturation : float
        Level from which a pixel counts as saturated [adu]; NaN for none.

    Returns
    -------
    Fluxes
        Flux and variance are NaN where the sky is, and where less than half of the profile falls on good
        pixels (with EDGE or NON_FINITE set).
    """
    table = np.full((len(xy), 2), np.nan)
    flags = np.zeros(len(xy), dtype=np.int64)
    sky_table = np.column_stack(sky)
    shape = (psf.semimajor, psf.semiminor, psf.orientation_rad)
    for rows, stamps in stamp_batches(image, xy, psf.half_extent(PROFILE_RADIUS)):
        _optimal(
            stamps.pixels, stamps.xy, stamps.corner, stamps.shape, shape,
            sky_table[rows], gain, saturation, table[rows], flags[rows],
        )  # fmt: skip
    return Fluxes(table[:, 0], table[:, 1], flags)


@njit(cache=True, nogil=True)
def _optimal(pixels, xy, corner, frame, psf, sky, gain, saturation, table, flags):
    profile = np.empty(pixels.shape[1:])
    for k in range(pixels.shape[0]):
        total = fill_profile(profile, xy[k, 0], xy[k, 1], psf[0], psf[1], psf[2])
        flags[k] = core_flags(pixels[k], profile, corner[k], frame, saturation)
        profile /= total
        if _good_fraction(pixels[k], profile) >= MIN_FRACTION:
            table[k, 0], table[k, 1] = _extract(pixels[k], profile, sky[k], gain)


@njit(cache=True, nogil=True)
def _good_fraction(pixels, profile):
    fraction = 0.0
    for j in range(pixels.shape[0]):
        for i in range(pixels.shape[1]):
            if not math.isnan(pixels[j, i]):
                fraction += profile[j, i]
    return fraction


@njit(cache=True, nogil=True)
def _extract(pixels, profile, sky, gain):
    """Flux and variance: constant weights first, then weights from the model of the round before."""
    flux, variance = _weighted(pixels, profile, sky, gain, 0.0)
    if sky[1] > 0.0:
        for _ in range(_ITERATIONS):
            flux, variance = _weighted(pixels, profile, sky, gain, flux)
    else:  # weights stay constant: W = P / sum(P^2), for which sum(W^2 P) = 4/3 of a Gaussian
        variance = 4.0 / 3.0 * max(flux, 0.0) / gain
    return flux, variance


@njit(cache=True, nogil=True)
def _weighted(pixels, profile, sky, gain, flux):
    """One round; ``flux`` is the model. With W = (P/V) / norm, sum(W^2 V) is 1 / norm."""
    sky_variance = sky[1] * sky[1] if sky[1] > 0.0 else 1.0
    norm, counts, weights = 0.0, 0.0, 0.0
    for j in range(pixels.shape[0]):
        for i in range(pixels.shape[1]):
            if not math.isnan(pixels[j, i]):
                weight = profile[j, i] / pixel_variance(sky_variance, flux, profile[j, i], gain)
                norm += weight * profile[j, i]
                counts += weight * (pixels[j, i] - sky[0])
                weights += weight
    return counts / norm, 1.0 / norm + (weights / norm) ** 2 * sky[2]
