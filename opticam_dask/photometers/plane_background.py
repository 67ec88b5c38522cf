"""Local background by a tilted plane."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from opticam_dask.kernels.annulus import MIN_SKY_PIXELS
from opticam_dask.kernels.plane import PLANE_ROUNDS
from opticam_dask.photometers.local_background import CompiledLocalBackground

if TYPE_CHECKING:
    from astropy.units import Quantity
    from numpy.typing import NDArray

    from opticam_dask.types import Image


class PlaneLocalBackground(CompiledLocalBackground):
    """Tilted plane through the clipped pixels of an elliptical annulus, taken at the source.

    Clipping and fitting take turns until the same pixels are left, five times at most. Parameters are those
    of `CompiledLocalBackground`. Where the annulus is complete the level is that of the mean; the plane
    helps at the edge of the frame or beside a neighbour in a gradient, and its scatter is free of the
    gradient. It takes 10 pixels that do not lie on a line.
    """

    _compiled = True

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
            Plane at the source, and standard deviation of the residuals; NaN where too few pixels are left.
        """
        annulus = self.get_annulus(position, semimajor_axis, semiminor_axis, orientation)
        mask = annulus.to_mask(method="center").to_image(data.shape)
        if mask is None:
            return math.nan, math.nan
        row, column = np.nonzero((mask > 0) & np.isfinite(data))
        x, y = np.asarray(position, dtype=float)
        return self._fit(np.column_stack([np.ones(row.size), column - x, row - y]), data[row, column])

    def _fit(self, design: NDArray[np.float64], values: NDArray[Any]) -> tuple[float, float]:
        """Constant term, and scatter, of a plane with columns 1, x, y, by clipping and fitting in turn."""
        residuals, kept = values.astype(float), np.zeros(len(values), dtype=bool)
        result = math.nan, math.nan
        for _ in range(PLANE_ROUNDS):
            before, kept = kept, self._clipped(residuals)
            if kept.sum() < MIN_SKY_PIXELS:
                return math.nan, math.nan
            if (kept == before).all():
                break
            plane, _, rank, _ = np.linalg.lstsq(design[kept], values[kept].astype(float), rcond=None)
            if rank < 3:
                return math.nan, math.nan
            residuals = values - design @ plane
            result = float(plane[0]), float(residuals[kept].std())
        return result

    def _clipped(self, residuals: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Mark what clipping leaves."""
        if self.sigma_clip is None or residuals.size == 0:
            return np.ones(len(residuals), dtype=bool)
        return ~np.ma.getmaskarray(self.sigma_clip(residuals, masked=True))
