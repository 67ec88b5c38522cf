"""Errors against flux: what a photometer would make of stars of any brightness in a frame."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from opticam_dask.kernels.optimal import SourceSky
from opticam_dask.kernels.profile import fill_profile, profile_radius
from opticam_dask.photometers.records import empty_terms, fill_terms

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from opticam_dask.photometers.base import BasePhotometer
    from opticam_dask.types import Exposure, PsfModel

_MARGIN = 2.0  # half width of a cut-out in units of the photometer's own reach


def noise_curve(
    photometer: BasePhotometer,
    fluxes: NDArray[np.float64],
    psf: PsfModel,
    sky: SourceSky,
    frame: Exposure,
) -> NDArray[np.void]:
    """Errors of stars of given fluxes, by cause, over a typical sky of a frame.

    Noiseless stars, in the middle of a pixel each, go through the photometer's own extraction and budget.

    Parameters
    ----------
    photometer : BasePhotometer
        What measures them.
    fluxes : ndarray, shape (n,) [adu]
        Total counts.
    psf : PsfModel
        PSF of the frame.
    sky : SourceSky
        Sky under some sources of the frame; the medians are taken.
    frame : Exposure
        Tells gain, read noise, airmass and the like; its pixels are not looked at.

    Returns
    -------
    ndarray of `records.NOISE_TERMS`, shape (n,)
    """
    typical = SourceSky(*(np.array([np.nanmedian(values)]) for values in sky))
    half = math.ceil(_MARGIN * max(photometer.reach(psf).semimajor, 5.0 * psf.semimajor_sigma))
    profile = np.empty((2 * half + 1, 2 * half + 1))
    beta = psf.beta or math.inf
    shape = (psf.semimajor_sigma, psf.semiminor_sigma, psf.orientation_rad, beta, profile_radius(beta))
    fill_profile(profile, float(half), float(half), shape)
    blank = replace(frame, saturation=math.nan, flat_variance=_typical_flat(frame, profile.shape))
    terms = empty_terms(len(fluxes))
    for row, flux in enumerate(fluxes):
        star = replace(blank, image=flux * profile + typical.level[0])
        found = photometer.extract(star, np.array([[half, half]], float), psf, typical)
        budget = photometer.noise.terms(found, typical, star)
        fill_terms(terms, np.array([row]), found.flux, budget)
    return terms


def _typical_flat(frame: Exposure, shape: tuple[int, ...]) -> NDArray[np.float32] | None:
    """Median of the flat's relative variance, for every pixel of a cut-out."""
    if frame.flat_variance is None:
        return None
    return np.full(shape, np.nanmedian(frame.flat_variance), np.float32)
