"""Aperture photometry."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, get_args

from opticam_dask.errors import InputError
from opticam_dask.kernels.aperture import aperture_fluxes
from opticam_dask.kernels.stamps import Ellipse
from opticam_dask.photometers.base import BasePhotometer, ProfileName
from opticam_dask.photometers.noise_budget import DEFAULT_NOISE, NoiseBudget
from opticam_dask.photometers.sky import ellipse_of
from opticam_dask.types import FWHM_PER_SIGMA

if TYPE_CHECKING:
    from opticam_dask.kernels.noise import Fluxes
    from opticam_dask.kernels.optimal import SourceSky
    from opticam_dask.types import XY, Exposure, PsfModel


class AperturePhotometer(BasePhotometer):
    """Photometry in elliptical apertures, with the exact area of each pixel inside.

    Parameters
    ----------
    semimajor_axis : float, optional
        Semi-major axis [pixel]. Default: ``scale`` times the FWHM of the PSF along its major axis.
    semiminor_axis : float, optional
        Semi-minor axis [pixel]; needs ``semimajor_axis``. Default: ``scale`` times the FWHM of the PSF along
        its minor axis, but equal to ``semimajor_axis`` (a circle) if that is given.
    orientation : float, optional
        Angle of the semi-major axis [degrees], counter-clockwise from +x. Default: that of the PSF.
    forced, source_matching_tolerance, local_background_estimator, psf, noise
        See `BasePhotometer`.
    aperture_correction : bool or 'measured'
        Divide by the part of the PSF that the aperture holds, so that fluxes are total counts. With
        'measured' a `Reducer` multiplies by what bright stars have in an aperture of 4 FWHM over that, too,
        which makes up for a PSF that is not quite the profile.
    scale : float
        Semi-axes in units of the PSF's FWHM; not together with ``semimajor_axis``.
    profile : {'gaussian', 'moffat'}
        Kind of PSF. A `Reducer` fits the Moffat profile to each camera's bright stars.

    Raises
    ------
    InputError
        If the axes are not positive and in order, or another parameter is wrong; from `measure`, if the PSF
        is no Moffat but should be.
    """

    def __init__(
        self,
        semimajor_axis: float | None = None,
        semiminor_axis: float | None = None,
        orientation: float | None = None,
        forced: bool = False,
        source_matching_tolerance: float = 5.0,
        local_background_estimator: Any = None,
        aperture_correction: bool | Literal["measured"] = True,
        scale: float = 1.0,
        psf: Literal["run", "frame"] = "run",
        noise: NoiseBudget = DEFAULT_NOISE,
        profile: ProfileName = "gaussian",
    ) -> None:
        super().__init__(forced, source_matching_tolerance, local_background_estimator, psf, noise)
        _check_axes(semimajor_axis, semiminor_axis, orientation)
        if profile not in get_args(ProfileName):
            raise InputError(f"profile is 'gaussian' or 'moffat', not {profile!r}")
        if not 0 < scale < math.inf or (semimajor_axis is not None and scale != 1.0):
            raise InputError(f"scale is positive, and without a semimajor_axis; not {scale}")
        self.semimajor_axis, self.semiminor_axis = semimajor_axis, semiminor_axis
        self.orientation = orientation
        if aperture_correction not in (True, False, "measured"):
            raise InputError(f"aperture_correction is True, False or 'measured', not {aperture_correction!r}")
        self.aperture_correction = aperture_correction
        self.scale = float(scale)
        self.profile: ProfileName = profile

    def extract(self, frame: Exposure, xy: XY, psf: PsfModel, sky: SourceSky) -> Fluxes:
        """Flux, weight sums and flags of the sources at ``xy``, shape (n, 2), over the given sky."""
        if self.profile == "moffat" and psf.beta is None:
            raise InputError("profile='moffat' needs a PSF with an exponent")
        return aperture_fluxes(
            frame.image,
            xy,
            ellipse_of(psf),
            self.reach(psf),
            sky,
            saturation=frame.saturation,
            beta=math.inf if psf.beta is None else psf.beta,
            correct=bool(self.aperture_correction),
            flat_variance=frame.flat_variance,
        )

    def reach(self, psf: PsfModel) -> Ellipse:
        """Aperture for a camera with this PSF [pixel]; a neighbour within it is blended."""
        angle = psf.orientation_rad if self.orientation is None else math.radians(self.orientation)
        if self.semimajor_axis is None:
            factor = self.scale * FWHM_PER_SIGMA
            return Ellipse(factor * psf.semimajor_sigma, factor * psf.semiminor_sigma, angle)
        minor = self.semimajor_axis if self.semiminor_axis is None else self.semiminor_axis
        return Ellipse(self.semimajor_axis, minor, angle)

    def pixels_within(self, psf: PsfModel) -> float:
        """Semi-major axis of the aperture [pixel]."""
        return self.reach(psf).semimajor

    def variant(self) -> str:
        """Return the scale of the aperture, such as ``_x1.5``, unless it is 1, and ``_moffat``."""
        scale = "" if self.scale == 1.0 else f"_x{self.scale:g}"
        return scale + ("_moffat" if self.profile == "moffat" else "")


def _check_axes(semimajor: float | None, semiminor: float | None, orientation: float | None) -> None:
    if semimajor is None and semiminor is not None:
        raise InputError(f"semiminor_axis={semiminor} needs a semimajor_axis")
    minor = semimajor if semiminor is None else semiminor
    if semimajor is not None and minor is not None and not 0 < minor <= semimajor < math.inf:
        raise InputError(f"aperture axes need 0 < semiminor <= semimajor, not {minor} and {semimajor}")
    if orientation is not None and not math.isfinite(orientation):
        raise InputError(f"orientation is an angle in degrees, not {orientation}")
