"""What is matched: the catalogue of one camera and night."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opticam_dask.errors import InputError
from opticam_dask.types import XY

Key = tuple[str, str]
"""(night, camera)."""


@dataclass(frozen=True, eq=False)
class NightCatalog:
    """Sources of one camera in one night, as matching takes them.

    Parameters
    ----------
    night, camera, filter : str
        Whose sources they are.
    table : table
        Columns ``source``, ``x``, ``y`` [pixel], ``flux`` [adu]; if known ``ra``, ``dec`` [degree] and
        ``blended``. A QTable, a DataFrame or a mapping of arrays.
    shape : tuple of int
        (rows, columns) of the image they were found on.
    binning : float
        Detector pixels per pixel and axis; NaN if unknown.
    pixel_scale : float
        Scale of the image [arcsec / pixel]; NaN if unknown.
    pointing : tuple of float
        Right ascension and declination of the telescope [degree]; NaN if unknown. It is recorded; matches
        do not depend on it.

    Raises
    ------
    InputError
        If a column is missing, a source is there twice, or a position is not finite.
    """

    night: str
    camera: str
    filter: str
    table: Any
    shape: tuple[int, int]
    binning: float = math.nan
    pixel_scale: float = math.nan
    pointing: tuple[float, float] = (math.nan, math.nan)

    def __post_init__(self) -> None:
        names = set(getattr(self.table, "colnames", None) or getattr(self.table, "columns", self.table))
        missing = sorted({"source", "x", "y", "flux"} - names)
        if missing:
            raise InputError(f"catalogue of {self.night} {self.camera}: no column {', '.join(missing)}")
        if len(np.unique(self.source)) != len(self.source):
            raise InputError(f"catalogue of {self.night} {self.camera}: a source number is there twice")
        if not np.isfinite(self.xy).all():
            raise InputError(f"catalogue of {self.night} {self.camera}: a position is not finite")

    @property
    def key(self) -> Key:
        """Night and camera."""
        return self.night, self.camera

    @property
    def arm(self) -> str:
        """Arm of the camera: what is before the colon of its name."""
        return self.camera.partition(":")[0]

    @property
    def source(self) -> NDArray[np.int64]:
        """Numbers of the sources, shape (n,)."""
        return np.asarray(self.table["source"], np.int64)

    @property
    def xy(self) -> XY:
        """Positions, shape (n, 2) [pixel]."""
        return np.column_stack([self._column(name) for name in ("x", "y")])

    @property
    def flux(self) -> NDArray[np.float64]:
        """Fluxes, shape (n,) [adu]."""
        return self._column("flux")

    @property
    def sky(self) -> NDArray[np.float64]:
        """Right ascension and declination, shape (n, 2) [degree]; NaN where unknown."""
        return np.column_stack([self._column(name) for name in ("ra", "dec")])

    @property
    def blended(self) -> NDArray[np.bool_]:
        """Whether a source is more than one star on the stack, shape (n,)."""
        if not self._has("blended"):
            return np.zeros(len(self.source), bool)
        return np.asarray(self.table["blended"], bool)

    def _has(self, name: str) -> bool:
        return name in (getattr(self.table, "colnames", None) or self.table)

    def _column(self, name: str) -> NDArray[np.float64]:
        if not self._has(name):
            return np.full(len(self.source), np.nan)
        column = self.table[name]
        return np.asarray(getattr(column, "value", column), np.float64)
