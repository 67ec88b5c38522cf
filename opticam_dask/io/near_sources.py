"""Parts of frames that sources lie in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opticam_dask.types import XY


@dataclass(frozen=True, eq=False)
class NearSources:
    """Squares around sources in each frame of a block.

    Parameters
    ----------
    xy : ndarray, shape (n_source, 2) [pixel]
        Sources, in coordinates that `affine` takes into each frame.
    affine : ndarray, shape (n_frames, 2, 3)
        Transform of each frame; NaN where there is none, and so no square.
    reach : ndarray, shape (n_frames,) [pixel]
        Half widths of the squares: all pixels with centres as near to a source along both axes are in them.
    """

    xy: XY
    affine: NDArray[np.float64]
    reach: NDArray[np.float64]

    def select(self, where: Sequence[int]) -> NearSources:
        """Squares in some of the frames."""
        return NearSources(self.xy, self.affine[where], self.reach[where])

    def boxes(self, position: int, shape: tuple[int, int]) -> NDArray[np.int64]:
        """Squares in one frame, as far as they lie in it.

        Parameters
        ----------
        position : int
            Position of the frame in its block.
        shape : (ny, nx)
            Shape of the frame.

        Returns
        -------
        ndarray, shape (n, 4)
            First row, row after the last, first column and column after the last of each.
        """
        from opticam_dask.kernels.transform import apply  # compiled: takes long to import

        places = apply(self.affine[position], self.xy)[:, ::-1]
        places = places[np.isfinite(places).all(axis=1)]
        reach = self.reach[position]
        first = np.clip(np.ceil(places - reach), 0, shape).astype(np.int64)
        stop = np.clip(np.floor(places + reach) + 1, 0, shape).astype(np.int64)
        some = (first < stop).all(axis=1)
        return np.stack([first[some], stop[some]], axis=2).reshape(-1, 4)
