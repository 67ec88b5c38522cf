"""What a detector shows without light: bias and dark, at any exposure time, with its variance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opticam_dask.calibration.masters import MasterRef
from opticam_dask.errors import InputError
from opticam_dask.kernels.calibrate import NOTHING

_SAME_EXPOSURE = 1e-3  # relative difference of exposure times that are one


@dataclass(frozen=True)
class Pedestal:
    """Bias and dark of one detector.

    Parameters
    ----------
    bias, dark : MasterRef, optional
        Master bias, and dark rate.
    matched : tuple of (float, MasterRef)
        Exposure times [s] and masters of bias and dark together, where there is no bias.
    """

    bias: MasterRef | None = None
    dark: MasterRef | None = None
    matched: tuple[tuple[float, MasterRef], ...] = ()

    def references(self) -> list[MasterRef]:
        """All masters it is made of."""
        return [ref for ref in (self.bias, self.dark, *(ref for _, ref in self.matched)) if ref is not None]

    def maps(self, seconds: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Level [adu] at no exposure and rate [adu / s]; `NOTHING` where there is none.

        Raises
        ------
        InputError
            If there are only darks of other exposure times.
        """
        if self.matched:
            return self._matched(seconds).load().data, NOTHING
        bias = NOTHING if self.bias is None else self.bias.load().data
        return bias, NOTHING if self.dark is None else self.dark.load().data

    def variance(self, seconds: float, part: Any = ...) -> NDArray[np.float32] | float:
        """Variance of the pedestal of an exposure [adu^2], with what bias and dark have in common.

        Parameters
        ----------
        seconds : float
            Exposure time.
        part : index
            Pixels wanted.
        """
        if self.matched:
            return np.asarray(self._matched(seconds).load().variance[part])
        total: NDArray[np.float32] | float = 0.0
        share = 1.0
        if self.dark is not None:
            dark = self.dark.load()
            share -= dark.bias_part * seconds
            total = np.float32(seconds) ** 2 * dark.variance[part]
        if self.bias is not None:
            total = total + np.float32(share) ** 2 * self.bias.load().variance[part]
        return total

    def usual_variance(self, seconds: float) -> float:
        """Median over the pixels of what `variance` gives [adu^2]."""
        if self.matched:
            return _usual_variance(self._matched(seconds))
        total, share = 0.0, 1.0
        if self.dark is not None:
            share -= self.dark.load().bias_part * seconds
            total = seconds**2 * _usual_variance(self.dark)
        return total + (share**2 * _usual_variance(self.bias) if self.bias is not None else 0.0)

    def mask(self) -> NDArray[np.bool_] | None:
        """Bad pixels of all masters; None if there is no master."""
        masks = [ref.load().mask for ref in self.references()]
        return np.logical_or.reduce(masks) if masks else None

    def check(self, seconds: float) -> None:
        """Refuse an exposure time that no matched dark has."""
        if self.matched:
            self._matched(seconds)

    def _matched(self, seconds: float) -> MasterRef:
        near = [ref for time, ref in self.matched if math.isclose(time, seconds, rel_tol=_SAME_EXPOSURE)]
        if not near:
            times = ", ".join(f"{time:g}" for time, _ in self.matched)
            raise InputError(
                f"darks of {times} s hold the bias too and cannot be scaled to {seconds:g} s; "
                "give bias frames, or darks of that exposure time"
            )
        return near[0]


@lru_cache(maxsize=64)
def _usual_variance(reference: MasterRef) -> float:
    return float(np.nanmedian(reference.load().variance))
