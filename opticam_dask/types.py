"""Array aliases and the protocols users may implement."""

from __future__ import annotations

import math
from dataclasses import dataclass
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


@dataclass(frozen=True)
class PsfModel:
    """Elliptical Gaussian point-spread function of a camera.

    Parameters
    ----------
    semimajor_sigma, semiminor_sigma : float
        Standard deviations along the axes [pixel].
    orientation : float
        Position of the major axis [degrees], counter-clockwise from +x.
    """

    semimajor_sigma: float
    semiminor_sigma: float
    orientation: float

    def __post_init__(self) -> None:
        if not 0 < self.semiminor_sigma <= self.semimajor_sigma < math.inf:
            raise ValueError(f"PSF sigmas must be finite with 0 < semiminor <= semimajor, not {self}")

    @property
    def orientation_rad(self) -> float:
        """Position of the major axis [radian]."""
        return math.radians(self.orientation)

    @property
    def fwhm(self) -> float:
        """Geometric mean full width at half maximum [pixel]."""
        return FWHM_PER_SIGMA * math.sqrt(self.semimajor_sigma * self.semiminor_sigma)
