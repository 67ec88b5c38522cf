"""Optimal photometry."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

from opticam_dask.errors import InputError
from opticam_dask.kernels.optimal import Fluxes, optimal_fluxes
from opticam_dask.kernels.stamps import Ellipse
from opticam_dask.photometers.base import BasePhotometer
from opticam_dask.photometers.sky import ellipse_of
from opticam_dask.types import FWHM_PER_SIGMA

if TYPE_CHECKING:
    from opticam_dask.kernels.optimal import SourceSky
    from opticam_dask.types import XY, Image, PsfModel


class OptimalPhotometer(BasePhotometer):
    """Optimal photometry with the camera's Gaussian PSF (Naylor 1998, MNRAS 296, 339).

    Parameters
    ----------
    forced, source_matching_tolerance, local_background_estimator
        See `BasePhotometer`.
    normalization : {'total', 'peak'}
        'total' gives total counts; 'peak' the peak of the profile, total / (2 pi a b) with the PSF's
        standard deviations a and b.

    Raises
    ------
    InputError
        If a parameter is none of these.
    """

    def __init__(
        self,
        forced: bool = False,
        source_matching_tolerance: float = 5.0,
        local_background_estimator: Any = None,
        normalization: Literal["total", "peak"] = "total",
    ) -> None:
        super().__init__(forced, source_matching_tolerance, local_background_estimator)
        if normalization not in ("total", "peak"):
            raise InputError(f"normalization is 'total' or 'peak', not {normalization!r}")
        self.normalization = normalization

    def extract(
        self, image: Image, xy: XY, psf: PsfModel, sky: SourceSky, *, gain: float, saturation: float
    ) -> Fluxes:
        """Flux, variance and flags of the sources at ``xy``, shape (n, 2), over the given sky."""
        found = optimal_fluxes(image, xy, ellipse_of(psf), sky, gain=gain, saturation=saturation)
        if self.normalization == "total":
            return found
        peak = 1.0 / (2.0 * math.pi * psf.semimajor_sigma * psf.semiminor_sigma)
        return Fluxes(found.flux * peak, found.variance * peak**2, found.flags)

    def reach(self, psf: PsfModel) -> Ellipse:
        """Ellipse of the PSF with semi-axes of one FWHM: a neighbour there is blended [pixel]."""
        psf_ellipse = ellipse_of(psf)
        return Ellipse(
            FWHM_PER_SIGMA * psf_ellipse.semimajor,
            FWHM_PER_SIGMA * psf_ellipse.semiminor,
            psf_ellipse.orientation_rad,
        )
