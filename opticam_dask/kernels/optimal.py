"""Optimal photometry with a Gaussian or Moffat profile.

References
----------
Naylor 1998, MNRAS 296, 339: weights W = (P/V) / sum(P^2/V), flux = sum(W (D - S)).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numba import njit

from opticam_dask.kernels.noise import (
    FLUX_COLUMNS,
    NO_FLAT,
    Fluxes,
    keep_good,
    weighted_flux,
)
from opticam_dask.kernels.profile import all_plain, clip_profile, core_flags, fill_profile, profile_radius
from opticam_dask.kernels.stamps import stamp_batches
from opticam_dask.kernels.sums import dot

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from opticam_dask.kernels.stamps import Ellipse
    from opticam_dask.types import XY, Image

MIN_FRACTION = 0.5
"""Least part of the profile that must fall on good pixels."""

_ITERATIONS = 3  # of the model variance; the flux then moves by far less than its error

Weighting = Literal["variance", "profile"]


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


def optimal_fluxes(
    image: Image,
    xy: XY,
    psf: Ellipse,
    sky: SourceSky,
    *,
    gain: float = 1.0,
    saturation: float = math.nan,
    beta: float = math.inf,
    clip_radius: float | None = None,
    weighting: Weighting = "variance",
    flat_variance: NDArray[np.float32] | None = None,
) -> Fluxes:
    """Total counts of stars by optimal extraction.

    Bad pixels and pixels off the frame or beyond the clip radius are left out; the flux stays unbiased
    because the profile there is left out, too.

    Parameters
    ----------
    image : ndarray, shape (ny, nx), uint16, float32 or float64 [adu]
        NaN marks a bad pixel.
    xy : ndarray, shape (n, 2) [pixel]
        Positions.
    psf : Ellipse
        Standard deviations of the profile (of a Moffat: its FWHM / 2.3548) and the angle of its major axis.
    sky : SourceSky
        Sky under each source.
    gain : float
        Gain [electron / adu].
    saturation : float
        Level from which a pixel counts as saturated [adu]; NaN for none.
    beta : float
        Exponent of a Moffat profile; infinite for a Gaussian.
    clip_radius : float, optional
        Pixels with centres farther out than this many standard deviations are left out. Default: the whole
        profile, out to `profile.profile_radius`.
    weighting : {'variance', 'profile'}
        Weights P/V, with the variance V of the sky and of the model's shot noise, iterated from constant V;
        or constant V throughout, for which what is wrong with P is the same factor for stars of any flux.
    flat_variance : ndarray, shape (ny, nx), optional
        Relative variance of the flat field that the image was divided by.

    Returns
    -------
    Fluxes
        NaN where the sky is, and where less than half of the profile used falls on good pixels (with EDGE or
        NON_FINITE set).
    """
    table = np.full((len(xy), FLUX_COLUMNS), np.nan)
    flags = np.zeros(len(xy), dtype=np.int64)
    sky_table = np.column_stack(sky)
    radius = profile_radius(beta)
    shape = (*map(float, psf), float(beta), radius)
    rule = (math.inf if clip_radius is None else float(clip_radius), weighting == "variance")
    flat = NO_FLAT if flat_variance is None else flat_variance
    for rows, stamps in stamp_batches(image, xy, psf.half_extent(radius)):
        _optimal(
            stamps.pixels, stamps.xy, stamps.corner, stamps.shape, shape, rule,
            sky_table[rows], gain, saturation, flat, table[rows], flags[rows],
        )  # fmt: skip
    return Fluxes.of(table, flags)


@njit(cache=True, nogil=True)
def _optimal(pixels, xy, corner, frame, psf, rule, sky, gain, saturation, flat, table, flags):
    profile, kept = np.empty(pixels.shape[1:]), np.empty((4, pixels[0].size))
    for k in range(pixels.shape[0]):
        fill_profile(profile, xy[k, 0], xy[k, 1], psf)
        if rule[0] < psf[4]:
            clip_profile(profile, xy[k, 0], xy[k, 1], psf, rule[0])
        plain = all_plain(pixels[k], saturation)
        if not plain:
            flags[k] = core_flags(pixels[k], profile, corner[k], frame, saturation)
        n = keep_good(pixels[k], profile, profile, sky[k, 0], flat, corner[k], kept)
        light, weights, part = kept[0, :n], kept[1, :n], kept[2, :n]
        if plain or part.sum() >= MIN_FRACTION * profile.sum():
            if rule[1]:
                _reweigh(light, weights, part, sky[k, 1] ** 2, gain)
            weighted_flux(light, weights, part, kept[3, :n], 1.0, table[k])


@njit(cache=True, nogil=True)
def _reweigh(light, weights, profile, sky_variance, gain):
    """Divide constant weights by the variance of the model, iterated.

    A sky without scatter leaves them constant: there is nothing to tell the wings' variance from.
    """
    if sky_variance > 0.0:
        flux = 0.0
        for _ in range(1 + _ITERATIONS):
            flux = _model_flux(light, weights, profile, sky_variance, flux, gain)


@njit(cache=True, nogil=True, error_model="numpy")
def _model_flux(light, weights, profile, sky_variance, flux, gain):
    """One round; ``flux`` is the model of the variance, and the flux by the new weights is returned.

    The variance of a pixel [adu^2] is the sky's, and the star's shot noise; a negative flux has none. The
    gain is in electrons per adu.
    """
    shot = max(flux, 0.0) / gain
    for i in range(light.size):
        weights[i] = profile[i] / (sky_variance + shot * profile[i])
    return dot(weights, light) / dot(weights, profile)
