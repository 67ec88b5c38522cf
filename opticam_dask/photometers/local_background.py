"""Local background estimators that users construct, subclass, or replace by a function of their own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Literal

from opticam_dask.errors import InputError
from opticam_dask.kernels.annulus import R_IN, R_OUT
from opticam_dask.kernels.clipping import ClipRule, clip_rule

if TYPE_CHECKING:
    from astropy.stats import SigmaClip
    from astropy.units import Quantity
    from numpy.typing import NDArray
    from photutils.aperture import ApertureStats, EllipticalAnnulus

    from opticam_dask.types import Image


class BaseLocalBackground(ABC):
    """Base of estimators that look at an elliptical annulus around the source.

    A subclass defines ``__call__`` and may use `get_annulus` and `get_stats`.

    Parameters
    ----------
    r_in_scale, r_out_scale : float
        Inner and outer axes of the annulus in units of the axes passed on calling, which are the standard
        deviations of the PSF.
    sigma_clip : SigmaClip or None
        Clipping of the pixels in the annulus; None for none. Default: 3 sigma, 10 iterations.

    Raises
    ------
    InputError
        If the scales do not increase from 0.
    """

    def __init__(
        self,
        r_in_scale: float = R_IN,
        r_out_scale: float = R_OUT,
        sigma_clip: SigmaClip | Literal["default"] | None = "default",
    ) -> None:
        if not 0 < r_in_scale < r_out_scale:
            raise InputError(
                f"an annulus needs 0 < r_in_scale < r_out_scale, not {r_in_scale}, {r_out_scale}"
            )
        if sigma_clip == "default":
            from astropy.stats import SigmaClip

            sigma_clip = SigmaClip(sigma=3, maxiters=10)
        self.r_in_scale, self.r_out_scale = r_in_scale, r_out_scale
        self.sigma_clip: SigmaClip | None = sigma_clip

    @abstractmethod
    def __call__(
        self,
        data: Image,
        position: NDArray[Any],
        semimajor_axis: float,
        semiminor_axis: float | None = None,
        orientation: Quantity | float = 0.0,
    ) -> tuple[float, float]:
        """Level and scatter of the sky per pixel [adu]; see `DefaultLocalBackground`."""

    def get_annulus(
        self,
        position: NDArray[Any],
        semimajor_axis: float,
        semiminor_axis: float | None = None,
        orientation: Quantity | float = 0.0,
    ) -> EllipticalAnnulus:
        """Annulus around a source.

        Parameters
        ----------
        position : array-like
            Centre as (x, y) [pixel].
        semimajor_axis, semiminor_axis : float
            Unscaled axes [pixel]; without the second the annulus is circular.
        orientation : Quantity or float
            Angle of the major axis, counter-clockwise from +x; a bare number is in degrees.

        Returns
        -------
        photutils.aperture.EllipticalAnnulus
            The annulus.
        """
        import astropy.units as u
        from photutils.aperture import EllipticalAnnulus

        minor = semimajor_axis if semiminor_axis is None else semiminor_axis
        return EllipticalAnnulus(
            position,
            a_in=self.r_in_scale * semimajor_axis,
            a_out=self.r_out_scale * semimajor_axis,
            b_in=self.r_in_scale * minor,
            b_out=self.r_out_scale * minor,
            theta=u.Quantity(orientation, u.deg),
        )

    def get_stats(
        self,
        data: Image,
        position: NDArray[Any],
        semimajor_axis: float,
        semiminor_axis: float | None = None,
        orientation: Quantity | float = 0.0,
    ) -> ApertureStats:
        """Sigma-clipped statistics of the annulus; parameters as those of `get_annulus` and the image.

        Returns
        -------
        photutils.aperture.ApertureStats
            With ``mean``, ``median``, ``std``, ``mad_std`` and more.
        """
        from photutils.aperture import ApertureStats

        annulus = self.get_annulus(position, semimajor_axis, semiminor_axis, orientation)
        return ApertureStats(data, annulus, sigma_clip=self.sigma_clip)


class DefaultLocalBackground(BaseLocalBackground):
    """Sigma-clipped mean and standard deviation of an elliptical annulus.

    Parameters are those of `BaseLocalBackground`. Photometers take the same numbers from a compiled kernel.
    """

    def __call__(
        self,
        data: Image,
        position: NDArray[Any],
        semimajor_axis: float,
        semiminor_axis: float | None = None,
        orientation: Quantity | float = 0.0,
    ) -> tuple[float, float]:
        """Level and scatter of the sky around one source.

        Parameters
        ----------
        data : ndarray, shape (ny, nx) [adu]
            Image.
        position : array-like
            Source as (x, y) [pixel].
        semimajor_axis, semiminor_axis : float
            Standard deviations of the PSF [pixel]; without the second the annulus is circular.
        orientation : Quantity or float
            Angle of the major axis, counter-clockwise from +x; a bare number is in degrees.

        Returns
        -------
        level, scatter : float [adu / pixel]
            Sigma-clipped mean and standard deviation; NaN off the frame.
        """
        stats = self.get_stats(data, position, semimajor_axis, semiminor_axis, orientation)
        return float(stats.mean), float(stats.std)

    def kernel_rule(self) -> ClipRule | None:
        """Clipping as the compiled kernel takes it; None if only photutils can do it."""
        return clip_rule(self.sigma_clip) if type(self) is DefaultLocalBackground else None
