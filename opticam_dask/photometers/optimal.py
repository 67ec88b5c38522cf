"""Optimal photometry."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, get_args

from opticam_dask.errors import InputError
from opticam_dask.kernels.optimal import Weighting, optimal_fluxes
from opticam_dask.kernels.profile import core_radius, peak_density, profile_radius
from opticam_dask.kernels.stamps import Ellipse
from opticam_dask.photometers.base import BasePhotometer, ProfileName
from opticam_dask.photometers.noise_budget import DEFAULT_NOISE, NoiseBudget
from opticam_dask.photometers.sky import ellipse_of
from opticam_dask.types import FWHM_PER_SIGMA

if TYPE_CHECKING:
    from opticam_dask.kernels.noise import Fluxes
    from opticam_dask.kernels.optimal import SourceSky
    from opticam_dask.types import XY, Exposure, PsfModel

Normalization = Literal["total", "peak"]


class OptimalPhotometer(BasePhotometer):
    """Optimal photometry with a Gaussian or Moffat PSF (Naylor 1998, MNRAS 296, 339).

    Parameters
    ----------
    forced, source_matching_tolerance, local_background_estimator, psf, noise
        See `BasePhotometer`.
    normalization : {'total', 'peak'}
        'total' gives total counts; 'peak' the peak of the profile, for a Gaussian total / (2 pi a b) with the
        PSF's standard deviations a and b.
    profile : {'gaussian', 'moffat'}
        Profile, integrated over each pixel, that the pixels are weighted with.
    beta : float, optional
        Exponent of the Moffat profile, above 1. Default: that of the PSF.
    clip_radius : float, optional
        Leave out pixels with centres farther from the source than this many standard deviations of the PSF;
        fluxes stay total counts. Default: the whole profile (5 for a Gaussian, up to 12 for a Moffat).
    weighting : {'variance', 'profile'}
        'variance' weighs pixels by profile over variance, which gives the smallest errors; 'profile' by the
        profile alone, for which a profile that is wrong changes all stars of a frame, bright and faint, by
        one factor.
    aperture_correction : {'profile', 'measured'}
        'profile' trusts the profile, whose sum is 1. With 'measured' a `Reducer` multiplies all fluxes of a
        camera by what bright stars have in an aperture of 4 FWHM over their optimal fluxes: best with
        ``weighting='profile'``, for which one factor serves stars of any brightness.

    Raises
    ------
    InputError
        If a parameter is none of these; from `measure`, if a Moffat profile has no exponent.
    """

    def __init__(
        self,
        forced: bool = False,
        source_matching_tolerance: float = 5.0,
        local_background_estimator: Any = None,
        normalization: Normalization = "total",
        profile: ProfileName = "gaussian",
        beta: float | None = None,
        clip_radius: float | None = None,
        weighting: Weighting = "variance",
        psf: Literal["run", "frame"] = "run",
        noise: NoiseBudget = DEFAULT_NOISE,
        aperture_correction: Literal["profile", "measured"] = "profile",
    ) -> None:
        super().__init__(forced, source_matching_tolerance, local_background_estimator, psf, noise)
        _check_choice("normalization", normalization, get_args(Normalization))
        _check_choice("profile", profile, get_args(ProfileName))
        _check_choice("weighting", weighting, get_args(Weighting))
        _check_choice("aperture_correction", aperture_correction, ("profile", "measured"))
        if beta is not None and not (profile == "moffat" and 1.0 < beta < math.inf):
            raise InputError(f"beta is the exponent of profile='moffat', above 1; not {beta} of {profile!r}")
        if clip_radius is not None and not 0 < clip_radius < math.inf:
            raise InputError(f"clip_radius is above 0, in standard deviations; not {clip_radius}")
        self.normalization: Normalization = normalization
        self.profile: ProfileName = profile
        self.beta, self.clip_radius = beta, clip_radius
        self.weighting: Weighting = weighting
        self.aperture_correction = aperture_correction

    def extract(self, frame: Exposure, xy: XY, psf: PsfModel, sky: SourceSky) -> Fluxes:
        """Flux, weight sums and flags of the sources at ``xy``, shape (n, 2), over the given sky."""
        beta = self._exponent(psf)
        found = optimal_fluxes(
            frame.image,
            xy,
            ellipse_of(psf),
            sky,
            gain=frame.gain,
            saturation=frame.saturation,
            beta=beta,
            clip_radius=self.clip_radius,
            weighting=self.weighting,
            flat_variance=frame.flat_variance,
        )
        if self.normalization == "total":
            return found
        return found.scaled(peak_density(psf.semimajor_sigma, psf.semiminor_sigma, beta))

    def reach(self, psf: PsfModel) -> Ellipse:
        """Ellipse of the PSF with semi-axes of one FWHM: a neighbour there is blended [pixel]."""
        return ellipse_of(psf, FWHM_PER_SIGMA)

    def footprint(self, psf: PsfModel) -> Ellipse:
        """Core of the profile, or what the clip radius leaves of it [pixel]."""
        radius = core_radius(self._exponent(psf))
        return ellipse_of(psf, radius if self.clip_radius is None else min(radius, self.clip_radius))

    def pixels_within(self, psf: PsfModel) -> float:
        """Radius to which the profile is followed along its major axis [pixel]."""
        return profile_radius(self._exponent(psf)) * psf.semimajor_sigma

    def variant(self) -> str:
        """Return ``_moffat`` for that profile."""
        return "_moffat" if self.profile == "moffat" else ""

    def _exponent(self, psf: PsfModel) -> float:
        """Exponent of the profile, infinite for a Gaussian."""
        if self.profile == "gaussian":
            return math.inf
        beta = psf.beta if self.beta is None else self.beta
        if beta is None:
            raise InputError("profile='moffat' needs an exponent: give beta, or a PSF that has one")
        return beta


def _check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InputError(f"{name} is {' or '.join(map(repr, allowed))}, not {value!r}")
