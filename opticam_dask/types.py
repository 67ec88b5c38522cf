"""Array aliases and the protocols users may implement."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from astropy.units import Quantity

Image: TypeAlias = NDArray[Any]
"""A native-endian image, shape (ny, nx) [adu]; NaN (float images only) marks a bad pixel."""

XY: TypeAlias = NDArray[np.float64]
"""Positions, shape (n, 2), as (x, y) [pixel]; pixel centres are integers."""

Affine: TypeAlias = NDArray[np.float64]
"""Transform, shape (2, 3): ``xy_frame = A[:, :2] @ xy_reference + A[:, 2]`` [pixel]."""


class LocalBackground(Protocol):
    """Local background of one source; any callable with these parameter names will do.

    ``error`` is passed only to functions that have a parameter of that name.
    ``orientation`` is a Quantity in degrees. Returns ``(level, scatter)`` per pixel [adu].
    """

    def __call__(
        self,
        data: Image,
        position: NDArray[np.float64],
        semimajor_axis: float,
        semiminor_axis: float,
        orientation: Quantity,
    ) -> tuple[float, float]:
        """Level and scatter of the sky per pixel [adu]."""
        ...


FWHM_PER_SIGMA = 2.0 * math.sqrt(2.0 * math.log(2.0))


@dataclass(frozen=True, eq=False)
class Exposure:
    """One frame as photometry takes it: its pixels, and what is known of them.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Pixels [adu, or electron after calibration to electrons]; NaN marks a bad pixel.
    gain : float
        Gain [electron per unit of the image].
    read_noise : float
        Read noise [electron / pixel]; NaN if unknown.
    dark : float
        Charge that dark current left in a pixel [electron]; NaN if unknown.
    saturation : float
        Level from which a pixel counts as saturated [unit of the image]; NaN if there is none, or if `marks`
        tell it.
    exposure_s : float
        Exposure time [s]; NaN if unknown.
    airmass : float
        Airmass; NaN if unknown.
    marked, marks : ndarray of int64 and of int32, shape (n,)
        Flat indices of pixels to tell of, and the bits of `schema.Flag` each is marked with.
    flat_variance : ndarray, shape (ny, nx), float32, optional
        Relative variance of the flat field the image was divided by; None for no flat.
    response : ndarray, shape (ny, nx), float32, optional
        The flat field itself, 1 on average: a pixel's charge is gain x response x its value. None for 1.
    """

    image: Image
    gain: float = 1.0
    read_noise: float = math.nan
    dark: float = math.nan
    saturation: float = math.nan
    exposure_s: float = math.nan
    airmass: float = math.nan
    marked: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    marks: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    flat_variance: NDArray[np.float32] | None = None
    response: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class PsfModel:
    """Elliptical point-spread function of a camera.

    Parameters
    ----------
    semimajor_sigma, semiminor_sigma : float
        Standard deviations along the axes [pixel]; of a Moffat profile, its full widths at half maximum over
        2.3548.
    orientation : float
        Position of the major axis [degrees], counter-clockwise from +x.
    beta : float, optional
        Exponent of a Moffat profile, above 1; None for a Gaussian.
    """

    semimajor_sigma: float
    semiminor_sigma: float
    orientation: float
    beta: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.semiminor_sigma <= self.semimajor_sigma < math.inf:
            raise ValueError(f"PSF sigmas must be finite with 0 < semiminor <= semimajor, not {self}")
        if self.beta is not None and not 1.0 < self.beta < math.inf:
            raise ValueError(f"the beta of a Moffat profile must be above 1, not {self.beta}")

    def scaled(self, factor: float) -> PsfModel:
        """Return the PSF of the same shape, ``factor`` times as wide."""
        return replace(
            self,
            semimajor_sigma=factor * self.semimajor_sigma,
            semiminor_sigma=factor * self.semiminor_sigma,
        )

    @property
    def orientation_rad(self) -> float:
        """Position of the major axis [radian]."""
        return math.radians(self.orientation)

    @property
    def fwhm(self) -> float:
        """Geometric mean full width at half maximum [pixel]."""
        return FWHM_PER_SIGMA * math.sqrt(self.semimajor_sigma * self.semiminor_sigma)
