"""When each row of a rolling-shutter detector is exposed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Readout: TypeAlias = Literal["centre-out", "bottom-up", "top-down"]


@dataclass(frozen=True, kw_only=True)
class RollingShutter:
    """Delay of the rows of one frame against the row that is read first.

    Parameters
    ----------
    row_delay_s : float
        Time from the exposure of one detector row to that of the next [s].
    readout : {'centre-out', 'bottom-up', 'top-down'}
        Order of the rows: both halves at once from the centre row outwards, from row 0 on, or from the last.
    rows : int
        Rows of the frame.
    binning_rows : int
        Detector rows per row of the frame.
    centre_row : float, optional
        Where the halves meet, in detector rows from the lower edge of the frame; the middle of the frame
        unless given.
    """

    row_delay_s: float
    readout: Readout
    rows: int
    binning_rows: int = 1
    centre_row: float | None = None

    def delay_s(self, y: ArrayLike) -> NDArray[np.float64]:
        """Delay of a place of the frame.

        Parameters
        ----------
        y : array_like
            Row of the frame [pixel], 0 at the centre of the first; places beyond the frame count as its edge,
            NaN as the row read first.

        Returns
        -------
        ndarray, of the shape of ``y``
            Delay [s], 0 for the detector row that is read first. A binned row has the mean of its rows.
        """
        detector_rows = float(self.rows * self.binning_rows)
        edge = 0.5 * self.binning_rows
        place = np.clip((np.asarray(y, float) + 0.5) * self.binning_rows, edge, detector_rows - edge)
        steps = self._steps(place) - float(self._steps(self._first()))
        return np.asarray(self.row_delay_s * np.where(np.isnan(steps), 0.0, steps), dtype=float)

    @property
    def longest_s(self) -> float:
        """Delay of the row of the frame that is read last [s]."""
        return float(self.delay_s([0.0, self.rows - 1.0]).max())

    def _first(self) -> NDArray[np.float64]:
        """Centre of the detector row of the frame that is read first."""
        last = self.rows * self.binning_rows - 0.5
        wanted = {"bottom-up": 0.5, "top-down": last, "centre-out": self._centre}[self.readout]
        return np.asarray(np.clip(wanted, 0.5, last))

    @property
    def _centre(self) -> float:
        return 0.5 * self.rows * self.binning_rows if self.centre_row is None else self.centre_row

    def _steps(self, place: NDArray[np.float64]) -> NDArray[np.float64]:
        """Rows read before the one at ``place`` (detector rows from the lower edge of the frame)."""
        if self.readout == "centre-out":
            return np.maximum(np.abs(place - self._centre) - 0.5, 0.0)
        return place if self.readout == "bottom-up" else -place
