"""Clouds from the transparency of the frames: what the clear frames of the night do not explain."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SLOPES = np.arange(0.0, 1.01, 0.05)
"""Extinction of clear sky [mag / airmass] that a first look tries."""
_CLEAR_SHARE = 0.1  # of the frames are brighter than the first guess of the clear level
_TYPICAL = 0.2, 0.2  # extinction before a look at the data, and its scatter [mag / airmass]
_LEAST_SCATTER = 0.01  # of clear frames [mag]
_CLEAR = 0.1  # a frame this near to the clear level [mag], or within three times the noise, is clear
_CLIP = 3.0
_ROUNDS = 10


def extinction_excess(
    transparency: NDArray[np.float64], airmass: NDArray[np.float64], night: NDArray[Any]
) -> NDArray[np.float64]:
    """Extinction of frames in excess of the clear frames of their night at their airmass.

    The clear level is an upper envelope of the transparency: it needs a tenth of the night's frames to be
    clear, not most of them. It falls with airmass as far as the frames show it; where the airmass hardly
    varies, the slope is a typical one, which then makes no difference.

    Parameters
    ----------
    transparency : ndarray, shape (n,)
        Flux of the stars per second, in any unit; NaN where unknown, not positive where no light was seen.
    airmass : ndarray, shape (n,)
        Airmass; where a night has none, it plays no part.
    night : ndarray of str, shape (n,)
        Night of each frame.

    Returns
    -------
    ndarray, shape (n,) [mag]
        NaN where the transparency is, infinite where it is not positive.
    """
    excess = np.full(len(transparency), np.nan)
    for name in np.unique(night.astype(str)):
        rows = night == name
        excess[rows] = _of_one_night(transparency[rows], airmass[rows])
    return excess


def _of_one_night(transparency: NDArray[np.float64], airmass: NDArray[np.float64]) -> NDArray[np.float64]:
    excess = np.where(transparency <= 0, np.inf, np.nan)
    good = transparency > 0
    if not good.any():
        return excess
    dimming = -2.5 * np.log10(transparency[good])
    x = airmass[good]
    x = np.where(np.isfinite(x), x, np.median(x[np.isfinite(x)])) if np.isfinite(x).any() else np.ones(len(x))
    excess[good] = dimming - _clear_level(dimming, x)
    return excess


def _clear_level(dimming: NDArray[np.float64], airmass: NDArray[np.float64]) -> NDArray[np.float64]:
    """Dimming of a clear sky at the airmass of each frame [mag]."""
    offset, slope = _envelope(dimming, airmass)
    noise = (
        max(1.4826 * float(np.median(np.abs(np.diff(dimming)))) / math.sqrt(2.0), _LEAST_SCATTER)
        if len(dimming) > 1
        else _LEAST_SCATTER
    )
    clear = np.zeros(len(dimming), bool)
    for _ in range(_ROUNDS):
        again = np.abs(dimming - offset - slope * airmass) <= max(_CLEAR, _CLIP * noise)
        if np.array_equal(again, clear) or not again.any():
            break
        clear = again
        offset, slope = _line(dimming[clear], airmass[clear], noise)
    return np.asarray(offset + slope * airmass)


def _envelope(dimming: NDArray[np.float64], airmass: NDArray[np.float64]) -> tuple[float, float]:
    """Line with a tenth of the frames below it, of the least absolute deviations: quantile regression."""
    best, answer = math.inf, (0.0, 0.0)
    for slope in _SLOPES:
        rest = dimming - slope * airmass
        offset = float(np.quantile(rest, _CLEAR_SHARE))
        loss = np.where(rest > offset, _CLEAR_SHARE * (rest - offset), (1 - _CLEAR_SHARE) * (offset - rest))
        # of slopes that explain the frames equally well, the typical one
        total = float(loss.mean()) + 1e-6 * abs(slope - _TYPICAL[0])
        if total < best:
            best, answer = total, (offset, float(slope))
    return answer


def _line(dimming: NDArray[np.float64], airmass: NDArray[np.float64], noise: float) -> tuple[float, float]:
    """Least-squares line, its slope drawn towards the typical one as far as the frames leave it open."""
    typical, scatter = _TYPICAL
    x = airmass - airmass.mean()
    prior = (noise / scatter) ** 2
    slope = float(((x * dimming).sum() + prior * typical) / ((x**2).sum() + prior))
    return float(dimming.mean() - slope * airmass.mean()), slope
