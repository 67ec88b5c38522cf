"""Light of one source that is counted as another's."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from opticam_dask.kernels.stamps import Ellipse
    from opticam_dask.types import XY

_BORDER = 0.46  # of the way to the source: one ten times brighter reaches beyond the middle


def spilt_upon(
    xy: XY,
    flux: NDArray[np.float64],
    error: NDArray[np.float64],
    psf: Ellipse,
    beta: float = math.inf,
) -> NDArray[np.bool_]:
    """Which sources may have more light of a neighbour than their own error.

    Weights of bright stars are flat out to where a neighbour's light takes over, halfway at equal
    brightness: so the light a source spills is taken to be what it has beyond about the middle.

    Parameters
    ----------
    xy : ndarray, shape (n, 2) [pixel]
        Places; NaN has no neighbour.
    flux, error : ndarray, shape (n,) [adu]
        Fluxes and their errors; NaN spills nothing, and nothing is told of it.
    psf : Ellipse
        Standard deviations of the profile (of a Moffat: FWHM / 2.3548) and the angle of its major axis.
    beta : float
        Exponent of a Moffat profile; infinite for a Gaussian.

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    found = np.zeros(len(xy), dtype=np.bool_)
    _spilt(xy, flux, error, (psf.semimajor, psf.semiminor, psf.orientation_rad), beta, found)
    return found


@njit(cache=True, nogil=True)
def _spilt(xy, flux, error, psf, beta, found):
    cos, sin, gaussian = math.cos(psf[2]), math.sin(psf[2]), math.isinf(beta)
    for k in range(len(xy)):
        for m in range(len(xy)):
            if m == k or not flux[m] > error[k]:
                continue
            dx, dy = xy[m, 0] - xy[k, 0], xy[m, 1] - xy[k, 1]
            u, v = (dx * cos + dy * sin) / psf[0], (dy * cos - dx * sin) / psf[1]
            if gaussian and flux[m] <= error[k] * _least_drop(_BORDER * _BORDER * (u * u + v * v)):
                continue
            if flux[m] * beyond(_BORDER * math.hypot(u, v), beta) > error[k]:
                found[k] = True
                break


@njit(cache=True, nogil=True)
def _least_drop(square):
    """Cheap lower bound of one over `beyond` of a Gaussian, from erfc(x) < exp(-x^2) and its series."""
    half = 0.5 * square
    return 1.0 + half * (1.0 + half * (1.0 / 2.0 + half * (1.0 / 6.0 + half / 24.0)))


@njit(cache=True, nogil=True)
def beyond(distance, beta):
    """Twice the light of a star beyond a line at a distance from its centre [axes], for a Gaussian.

    Of a Moffat, half of what lies outside the circle of that radius.
    """
    if math.isinf(beta):
        return math.erfc(distance / math.sqrt(2.0))
    steepness = (2.0 ** (1.0 / beta) - 1.0) / (2.0 * math.log(2.0))
    return 0.5 * (1.0 + steepness * distance * distance) ** (1.0 - beta)
