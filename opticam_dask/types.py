"""Array aliases and the protocols users may implement."""

from __future__ import annotations

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
    ) -> tuple[float, float]: ...
