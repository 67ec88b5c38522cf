"""Local background estimators that users construct, subclass, or replace by a function of their own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from opticam_dask.errors import InputError
from opticam_dask.kernels.annulus import R_IN, R_OUT
from opticam_dask.kernels.background import SKEWED
from opticam_dask.kernels.clipping import ClipRule, clip_rule

if TYPE_CHECKING:
    from astropy.stats import SigmaClip
    from astropy.units import Quantity
    from numpy.typing import NDArray
    from photutils.aperture import ApertureStats, EllipticalAnnulus

    from opticam_dask.types import Image

DEFAULT_CLIP = 4.0
"""Default clipping limit [standard deviations]."""

MODE_WEIGHT = 2.5
"""Weight of the median in the mode 2.5 median - 1.5 mean."""


class BaseLocalBackground(ABC):
    """Base of estimators that look at an elliptical annulus around the source.

    A subclass defines ``__call__`` and may use `get_annulus` and `get_stats`.

    Parameters
    ----------
    r_in_scale, r_out_scale : float
        Inner and outer axes of the annulus in units of the axes passed on calling, which are the standard
        deviations of the PSF.
    sigma_clip : SigmaClip or None
        Clipping of the pixels in the annulus; None for none. Default: 4 sigma, 10 iterations. At 3 sigma the
        mean of a sky of photons, which is skewed, would come out 0.04 / gain [adu] low.

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

            sigma_clip = SigmaClip(sigma=DEFAULT_CLIP, maxiters=10)
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


class CompiledLocalBackground(BaseLocalBackground):
    """Base of the estimators whose numbers photometers take from compiled kernels.

    Called alone, on one source, they use photutils; a subclass of yours is called in photometers, too.

    Parameters
    ----------
    r_in_scale, r_out_scale, sigma_clip
        As for `BaseLocalBackground`. Clipping that only astropy can do (growing, or functions of your own)
        makes photometers call the estimator for each source, with no neighbours left out.
    mask_neighbours : bool
        Photometers leave out the pixels within 4 standard deviations of the PSF of other catalogue
        sources, and flag CROWDED_SKY where these cover more than half of the annulus. A call on one source
        knows of no others.
    """

    def __init__(
        self,
        r_in_scale: float = R_IN,
        r_out_scale: float = R_OUT,
        sigma_clip: SigmaClip | Literal["default"] | None = "default",
        *,
        mask_neighbours: bool = True,
    ) -> None:
        super().__init__(r_in_scale, r_out_scale, sigma_clip)
        self.mask_neighbours = bool(mask_neighbours)

    def kernel_rule(self) -> ClipRule | None:
        """Clipping as the compiled kernel takes it; None if this object has to be called."""
        of_this_class = vars(type(self)).get("_compiled", False)  # what a subclass does is not known
        return clip_rule(self.sigma_clip) if of_this_class else None


class StatisticLocalBackground(CompiledLocalBackground):
    """Base of the estimators whose level mixes median and mean of the clipped pixels."""

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
            Level, and standard deviation of the clipped pixels; NaN off the frame.
        """
        stats = self.get_stats(data, position, semimajor_axis, semiminor_axis, orientation)
        mean, median, std = (np.array(float(value)) for value in (stats.mean, stats.median, stats.std))
        return float(self.level_and_weight(mean, median, std)[0]), float(std)

    def level_and_weight(
        self, mean: NDArray[np.float64], median: NDArray[np.float64], std: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Level from statistics of the clipped pixels [adu / pixel], and the weight of the median in it."""
        weight = self.median_weight(mean, median, std)
        return weight * median + (1.0 - weight) * mean, weight

    @abstractmethod
    def median_weight(
        self, mean: NDArray[np.float64], median: NDArray[np.float64], std: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Weight of the median in the level; that of the mean makes it up to 1."""


class DefaultLocalBackground(StatisticLocalBackground):
    """Sigma-clipped mean and standard deviation of an elliptical annulus.

    Parameters are those of `CompiledLocalBackground`. The mean is the least noisy level; on a Poisson sky
    clipping at 3 sigma puts it 0.04 / gain [adu] too low, at 4 sigma 0.003 / gain.
    """

    _compiled = True

    def median_weight(
        self, mean: NDArray[np.float64], median: NDArray[np.float64], std: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """0 everywhere."""
        return np.zeros_like(mean)


class MedianLocalBackground(StatisticLocalBackground):
    """Median of the clipped pixels of an elliptical annulus, and their standard deviation.

    Parameters are those of `CompiledLocalBackground`. Unseen stars move it less than the mean, but its
    variance is 1.55 times that of the mean, and on a Poisson sky it is 0.17 / gain [adu] too low. In frames
    of whole numbers it is a whole or half number: let the scatter of the sky be well above 1 adu.
    """

    _compiled = True

    def median_weight(
        self, mean: NDArray[np.float64], median: NDArray[np.float64], std: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """1 everywhere."""
        return np.ones_like(mean)


class ModeLocalBackground(StatisticLocalBackground):
    """Mode of the clipped pixels of an elliptical annulus, and their standard deviation.

    As in SExtractor and `photutils.background.SExtractorBackground` the mode is 2.5 median - 1.5 mean, or
    the median where mean and median differ by 0.3 standard deviations or more. Parameters are those of
    `CompiledLocalBackground`. Meant for crowded fields: its variance is 4.4 times that of the mean, and on
    a Poisson sky it is 0.4 / gain [adu] too low.

    References
    ----------
    Bertin & Arnouts 1996, A&AS 117, 393.
    """

    _compiled = True

    def median_weight(
        self, mean: NDArray[np.float64], median: NDArray[np.float64], std: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """2.5, or 1 where the pixels are skewed, or 0 where they are all the same."""
        skewed = np.abs(mean - median) >= SKEWED * std
        return np.where(std == 0.0, 0.0, np.where(skewed, 1.0, MODE_WEIGHT))
