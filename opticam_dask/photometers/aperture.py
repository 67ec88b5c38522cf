"""Aperture photometry."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from opticam_dask.errors import InputError
from opticam_dask.kernels.aperture import aperture_fluxes
from opticam_dask.kernels.stamps import Ellipse
from opticam_dask.photometers.base import BasePhotometer
from opticam_dask.photometers.sky import ellipse_of
from opticam_dask.types import FWHM_PER_SIGMA

if TYPE_CHECKING:
    from opticam_dask.kernels.optimal import Fluxes, SourceSky
    from opticam_dask.types import XY, Image, PsfModel


class AperturePhotometer(BasePhotometer):
    """Photometry in elliptical apertures, with the exact area of each pixel inside.

    Parameters
    ----------
    semimajor_axis : float, optional
        Semi-major axis [pixel]. Default: one FWHM of the PSF along its major axis.
    semiminor_axis : float, optional
        Semi-minor axis [pixel]; needs ``semimajor_axis``. Default: one FWHM of the PSF along its minor axis,
        but equal to ``semimajor_axis`` (a circle) if that is given.
    orientation : float, optional
        Angle of the semi-major axis [degrees], counter-clockwise from +x. Default: that of the PSF.
    forced, source_matching_tolerance, local_background_estimator
        See `BasePhotometer`.
    aperture_correction : bool
        Divide by the part of the PSF that the aperture holds, so that fluxes are total counts.

    Raises
    ------
    InputError
        If the axes are not positive and in order, or another parameter is wrong.
    """

    def __init__(
        self,
        semimajor_axis: float | None = None,
        semiminor_axis: float | None = None,
        orientation: float | None = None,
        forced: bool = False,
        source_matching_tolerance: float = 5.0,
        local_background_estimator: Any = None,
        aperture_correction: bool = True,
    ) -> None:
        super().__init__(forced, source_matching_tolerance, local_background_estimator)
        _check_axes(semimajor_axis, semiminor_axis, orientation)
        self.semimajor_axis, self.semiminor_axis = semimajor_axis, semiminor_axis
        self.orientation = orientation
        self.aperture_correction = bool(aperture_correction)

    def extract(
        self, image: Image, xy: XY, psf: PsfModel, sky: SourceSky, *, gain: float, saturation: float
    ) -> Fluxes:
        """Flux, variance and flags of the sources at ``xy``, shape (n, 2), over the given sky."""
        return aperture_fluxes(
            image,
            xy,
            ellipse_of(psf),
            self.reach(psf),
            sky,
            gain=gain,
            saturation=saturation,
            correct=self.aperture_correction,
        )

    def reach(self, psf: PsfModel) -> Ellipse:
        """Aperture for a camera with this PSF [pixel]; a neighbour within it is blended."""
        angle = psf.orientation_rad if self.orientation is None else math.radians(self.orientation)
        if self.semimajor_axis is None:
            return Ellipse(FWHM_PER_SIGMA * psf.semimajor_sigma, FWHM_PER_SIGMA * psf.semiminor_sigma, angle)
        minor = self.semimajor_axis if self.semiminor_axis is None else self.semiminor_axis
        return Ellipse(self.semimajor_axis, minor, angle)


def _check_axes(semimajor: float | None, semiminor: float | None, orientation: float | None) -> None:
    if semimajor is None and semiminor is not None:
        raise InputError(f"semiminor_axis={semiminor} needs a semimajor_axis")
    minor = semimajor if semiminor is None else semiminor
    if semimajor is not None and minor is not None and not 0 < minor <= semimajor < math.inf:
        raise InputError(f"aperture axes need 0 < semiminor <= semimajor, not {minor} and {semimajor}")
    if orientation is not None and not math.isfinite(orientation):
        raise InputError(f"orientation is an angle in degrees, not {orientation}")
