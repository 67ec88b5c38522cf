"""Error of a flux: which terms count, and how large each is."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

import numpy as np

from opticam_dask.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from opticam_dask.kernels.noise import Fluxes
    from opticam_dask.kernels.optimal import SourceSky
    from opticam_dask.types import Exposure

_SCALE_HEIGHT_M = 8000.0  # of the turbulence that makes scintillation
_QUANTISATION = 1.0 / 12.0  # variance of rounding to whole numbers [adu^2]


class Telescope(Protocol):
    """What scintillation depends on; an `Instrument` has it."""

    @property
    def diameter_m(self) -> float | None:
        """Diameter [m]."""

    @property
    def height_m(self) -> float | None:
        """Height above the sea [m]."""


class NoiseTerms(NamedTuple):
    """Variance of each flux by cause [adu^2], each of shape (n,); 0 for a term that is switched off."""

    source: NDArray[np.float64]
    sky: NDArray[np.float64]
    level: NDArray[np.float64]
    flat: NDArray[np.float64]
    scintillation: NDArray[np.float64]

    @property
    def total(self) -> NDArray[np.float64]:
        """Sum of the terms [adu^2]."""
        return np.asarray(self.source + self.sky + self.level + self.flat + self.scintillation)


@dataclass(frozen=True)
class NoiseBudget:
    """Terms of the error of a flux, each of which can be switched off.

    Parameters
    ----------
    source : bool
        Shot noise of the star's own light.
    sky : {'empirical', 'model'} or None
        Noise of the sky in each pixel. 'empirical' is the scatter of the pixels that the sky was taken from:
        it already holds the shot noise of sky and dark current, the read noise, quantisation, and the noise
        of subtracted master frames, so none of these is added. 'model' adds up the shot noise of the sky
        level, read noise, dark current and the rounding to whole adu; it means something only where bias and
        dark current have been subtracted, so that the level is light.
    level : bool
        Uncertainty of the local sky level, common to all pixels of a source.
    flat : bool
        Uncertainty of the flat field, on the star's own light; the sky's is in its scatter.
    scintillation : bool
        Scintillation of the atmosphere.
    diameter_m, height_m : float, optional
        Diameter of the telescope and its height above the sea [m], for scintillation. A `Reducer` fills in
        those of its instrument.
    scintillation_coefficient : float
        Site's coefficient C: 1.5 on average, 1.67 at San Pedro Martir.

    Raises
    ------
    InputError
        If a value is out of range.

    Notes
    -----
    Scintillation needs exposure time and airmass. In a frame that lacks one its size is unknown, and so the
    total error is NaN there rather than too small; the flux is not touched.

    References
    ----------
    Osborn et al. 2015, MNRAS 452, 1707 (scintillation); Merline & Howell 1995, Exp. Astron. 6, 163 (others).
    """

    source: bool = True
    sky: Literal["empirical", "model"] | None = "empirical"
    level: bool = True
    flat: bool = True
    scintillation: bool = False
    diameter_m: float | None = None
    height_m: float | None = None
    scintillation_coefficient: float = 1.5

    def __post_init__(self) -> None:
        if self.sky not in ("empirical", "model", None):
            raise InputError(f"the sky's noise is 'empirical', 'model' or None, not {self.sky!r}")
        for name in ("diameter_m", "scintillation_coefficient"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise InputError(f"{name} must be positive, not {value}")
        if self.height_m is not None and not math.isfinite(self.height_m):
            raise InputError(f"height_m must be a height in metres, not {self.height_m}")

    def for_instrument(self, telescope: Telescope) -> NoiseBudget:
        """Return the budget with the telescope's diameter and height where they were not given."""
        return replace(
            self,
            diameter_m=telescope.diameter_m if self.diameter_m is None else self.diameter_m,
            height_m=telescope.height_m if self.height_m is None else self.height_m,
        )

    def check(self, exposure: Exposure) -> None:
        """Raise InputError, naming what is missing, if the terms asked for cannot be worked out."""
        if self.scintillation and (self.diameter_m is None or self.height_m is None):
            raise InputError(
                "scintillation needs the telescope: give NoiseBudget diameter_m and height_m, or set them in "
                "the Instrument"
            )
        missing = [name for name in ("read_noise", "dark") if math.isnan(getattr(exposure, name))]
        if self.sky == "model" and missing:
            raise InputError(
                f"sky='model' needs the frame's {' and '.join(missing)} [electron]: set it (0 if negligible) "
                "in the Instrument, or use sky='empirical'"
            )

    def terms(
        self,
        fluxes: Fluxes,
        sky: SourceSky,
        exposure: Exposure,
        response: NDArray[np.float64] | float = 1.0,
    ) -> NoiseTerms:
        """Variance of fluxes, by cause.

        Parameters
        ----------
        fluxes : Fluxes
            Fluxes and the sums of their weights, n of them.
        sky : SourceSky
            Sky under each source.
        exposure : Exposure
            Gain, read noise, dark, exposure time and airmass of the frame.
        response : ndarray, shape (n,), or float
            Flat field at the sources: where it is low, a calibrated count stands for fewer electrons.

        Returns
        -------
        NoiseTerms
            NaN where a flux is, and for a scintillation that cannot be known.

        Raises
        ------
        InputError
            If a term was asked for and telescope or detector do not tell what it needs.
        """
        self.check(exposure)
        flux, sums = fluxes.flux, fluxes.sums
        nothing = np.zeros_like(flux)
        return NoiseTerms(
            source=np.maximum(flux, 0.0) / (exposure.gain * response) * sums.w2p if self.source else nothing,
            sky=self._pixel_variance(sky, exposure, response) * sums.w2 if self.sky else nothing,
            level=sky.level_variance * sums.w**2 if self.level else nothing,
            flat=flux**2 * sums.w2p2_flat if self.flat else nothing,
            scintillation=flux**2 * self.scintillation_variance(exposure) if self.scintillation else nothing,
        )

    def _pixel_variance(
        self, sky: SourceSky, exposure: Exposure, response: NDArray[np.float64] | float
    ) -> NDArray[np.float64]:
        """Variance of a pixel without a star [adu^2], shape (n,)."""
        if self.sky == "empirical":
            return sky.noise**2
        electrons = exposure.read_noise**2 + exposure.dark
        shot = np.maximum(sky.level, 0.0) / (exposure.gain * response)
        constant = electrons / exposure.gain**2 + _QUANTISATION
        return np.asarray(shot + constant / np.square(response))

    def scintillation_variance(self, exposure: Exposure) -> float:
        """Relative variance of the flux by scintillation; NaN without exposure time or airmass.

        It holds for exposures longer than the shadow pattern takes to cross the telescope, some 0.1 s for
        2 m, and is too large for shorter ones.
        """
        if self.diameter_m is None or self.height_m is None or not exposure.exposure_s > 0:
            return math.nan
        telescope = self.diameter_m ** (-4.0 / 3.0) * math.exp(-2.0 * self.height_m / _SCALE_HEIGHT_M)
        site = 1e-5 * self.scintillation_coefficient**2 * telescope
        return float(site * exposure.airmass**3 / exposure.exposure_s)


DEFAULT_NOISE = NoiseBudget()
