"""Shapes of stars combined: noise of adaptive moments, its bias, and means that survive a bad star."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

_SKY_NOISE = 12.0  # relative variance of an adaptive moment times the squared signal-to-noise ratio
_PHOTON_NOISE = 5.5  # the same, times the star's photoelectrons
_BIAS = 0.7  # relative bias of an adaptive moment in units of its relative variance
_PIXEL = 1.0 / 480.0  # of the fourth cumulant of a square pixel, over 4 [pixel^4]
_FLOOR = 0.003  # relative error of the best star's moments: no star outweighs all others
_CLIP = 5.0  # sigma


def relative_variance(stars: NDArray[np.void], gain: float) -> NDArray[np.float64]:
    """Relative variance of a star's adaptive moments mxx and myy.

    The two constants, noise of the sky and of the star's own photons, are fits to simulated stars, round and
    elongated, sigma 1.5 to 4 px.

    Parameters
    ----------
    stars : ndarray of `kernels.moments.STAR`
        Measured stars.
    gain : float
        Gain [electron / adu]; 1 is taken where it is unknown.
    """
    electrons = stars["flux"] * (gain if gain > 0 else 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(_SKY_NOISE / stars["snr"] ** 2 + _PHOTON_NOISE / electrons)


def debiased(shapes: NDArray[np.float64], variance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Covariances of stars, shape (n, 3) [pixel^2], from their adaptive moments.

    Noise makes adaptive moments too wide by 0.7 of their relative variance, a second-order bias found from
    simulated stars. The square response of a pixel has an excess of its own: of a Gaussian plus a little
    fourth cumulant k the adaptive moment m is k / (4 m) less than the second one, and a pixel's k is -1/120.
    """
    clean = np.asarray(shapes / (1.0 + _BIAS * variance)[:, None])
    clean[:, [0, 2]] -= _PIXEL / clean[:, [0, 2]]
    return clean


@numba.njit(cache=True, nogil=True)
def clipped_mean(shapes: Any, variance: Any) -> Any:
    """Mean covariance (xx, xy, yy) of stars, the best weighing most; stars of another size are left out.

    Parameters
    ----------
    shapes : ndarray, shape (n, 3) [pixel^2]
        Covariances.
    variance : ndarray, shape (n,)
        Their relative variances; only the ratios count for the weights.

    Returns
    -------
    ndarray, shape (3,) [pixel^2]
        Weighted mean, of the stars whose size (trace) is within 5 robust standard deviations of the
        weighted median.
    """
    weight = 1.0 / (_FLOOR**2 + variance)
    size = shapes[:, 0] + shapes[:, 2]
    middle = weighted_median(size, weight)
    distance = np.abs(size - middle)
    limit = _CLIP * max(1.4826 * weighted_median(distance, weight), _FLOOR * middle)
    mean, total = np.zeros(3), 0.0
    for n in range(len(weight)):
        if distance[n] <= limit:
            mean += weight[n] * shapes[n]
            total += weight[n]
    return mean / total


@numba.njit(cache=True, nogil=True)
def weighted_median(values: Any, weights: Any) -> float:
    """Value with half of the weight on either side; between two such values their mean."""
    order = np.argsort(values, kind="mergesort")
    total = np.cumsum(weights[order])
    half, last = 0.5 * total[-1], len(values) - 1
    low = min(np.searchsorted(total, half * (1 - 1e-12)), last)
    high = min(np.searchsorted(total, half * (1 + 1e-12)), last)
    return float(0.5 * (values[order[low]] + values[order[high]]))
