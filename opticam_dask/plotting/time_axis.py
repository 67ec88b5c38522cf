"""One time axis for all panels of a figure: which times, from when, in which unit."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

_SYSTEMS = {"BMJD": "TDB, barycentric", "MJD": "UTC"}
_SECONDS = {"s": 1.0, "h": 3_600.0, "d": 86_400.0}
_LONGEST_IN_SECONDS, _LONGEST_IN_HOURS = 10_000.0, 2 * 86_400.0
_STEPS_A_DAY = 1e5  # of the axis' zero: its label stays short


def time_unit(span_s: float) -> tuple[str, float]:
    """Choose the unit that a stretch of time is read in, and say how many seconds it has.

    Parameters
    ----------
    span_s : float [s]
        Length of the stretch; NaN counts as none.
    """
    unit = "d" if span_s > _LONGEST_IN_HOURS else "h" if span_s > _LONGEST_IN_SECONDS else "s"
    return unit, _SECONDS[unit]


class TimeAxis(NamedTuple):
    """Time axis.

    Parameters
    ----------
    name : {'BMJD', 'MJD'}
        Column of the times.
    start : float [d]
        Time of the axis' zero.
    unit : {'s', 'h', 'd'}
        Unit of the axis.
    """

    name: str
    start: float
    unit: str

    @classmethod
    def of(cls, tables: Iterable[pd.DataFrame]) -> TimeAxis:
        """Axis for tables with ``BMJD`` and ``MJD`` [d]: barycentric where all of them have such times."""
        every = list(tables)
        name = "BMJD" if all(np.isfinite(rows["BMJD"]).any() for rows in every if len(rows)) else "MJD"
        columns = [rows[name].to_numpy(np.float64) for rows in every]
        known = [times[np.isfinite(times)] for times in columns]
        ends = [(times.min(), times.max()) for times in known if times.size]
        if not ends:
            return cls(name, 0.0, "s")
        first, last = min(low for low, _ in ends), max(high for _, high in ends)
        start = float(np.floor(first * _STEPS_A_DAY) / _STEPS_A_DAY)
        return cls(name, start, time_unit((last - first) * 86_400.0)[0])

    def since(self, rows: pd.DataFrame) -> NDArray[np.float64]:
        """Places of the rows of a table on the axis, shape (n,) [`unit`]."""
        days = rows[self.name].to_numpy(np.float64) - self.start
        return days * (86_400.0 / _SECONDS[self.unit])

    @property
    def label(self) -> str:
        """Label of the axis."""
        return f"time since {self.name} {self.start:.5f} ({_SYSTEMS[self.name]}) [{self.unit}]"
