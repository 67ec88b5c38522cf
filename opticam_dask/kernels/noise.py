"""Weighted sums of pixels, and the sums of their weights from which every noise term follows.

The flux of a star is sum(W (D - S)) with sum(W P) = 1, D the pixels, S the sky level and P the profile of
unit sum. Whatever the weights, its variance is a sum of terms, each one number of the frame times one sum of
the weights; `photometers.noise_budget` puts them together.

References
----------
Naylor 1998, MNRAS 296, 339.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

from opticam_dask.kernels.sums import dot

if TYPE_CHECKING:
    from numpy.typing import NDArray

FLUX_COLUMNS = 5
NO_FLAT = np.empty((0, 0), dtype=np.float32)
"""What `weighted_flux` takes where no flat field has a say."""


class WeightSums(NamedTuple):
    """Sums over the weights W of each flux, shape (n,); P is the profile, scaled so that sum(W P) = 1.

    Parameters
    ----------
    w, w2 : ndarray
        Sum of W (what a unit of sky level adds to the flux), and of W^2.
    w2p : ndarray
        Sum of W^2 P.
    w2p2_flat : ndarray
        Sum of W^2 P^2 times the relative variance of the flat field; 0 without one.
    """

    w: NDArray[np.float64]
    w2: NDArray[np.float64]
    w2p: NDArray[np.float64]
    w2p2_flat: NDArray[np.float64]


class Fluxes(NamedTuple):
    """Flux of each source [adu], the sums of its weights, and its quality bits, each of shape (n,)."""

    flux: NDArray[np.float64]
    sums: WeightSums
    flags: NDArray[np.int64]

    @classmethod
    def of(cls, table: NDArray[np.float64], flags: NDArray[np.int64]) -> Fluxes:
        """From rows that `weighted_flux` filled, shape (n, `FLUX_COLUMNS`)."""
        return cls(table[:, 0], WeightSums(*table.T[1:]), flags)

    def scaled(self, factor: float) -> Fluxes:
        """Fluxes in another unit: all weights times ``factor``, so flux times profile is still the star."""
        w, w2, w2p, w2p2_flat = self.sums
        sums = WeightSums(factor * w, factor**2 * w2, factor * w2p, w2p2_flat)
        return Fluxes(factor * self.flux, sums, self.flags)


def level_variance(scatter: NDArray[np.float64], n_sky: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Variance of a sky level averaged over ``n_sky`` pixels [adu^2]; ``scatter`` is per pixel [adu]."""
    return scatter**2 / np.maximum(n_sky, 1.0)


@njit(cache=True, nogil=True)
def keep_good(pixels, weights, profile, level, flat, corner, kept):
    """Line up the good pixels of a cut-out that have a weight, and return how many there are.

    Parameters
    ----------
    pixels, weights, profile : ndarray, shape (ny, nx)
        Cut-out [adu], NaN where a pixel is bad; weights in any unit, 0 where a pixel has none; profile.
    level : float
        Sky level [adu / pixel].
    flat : ndarray, shape of the frame, or empty
        Relative variance of the flat field.
    corner : ndarray of int64, shape (2,)
        Column and row in the frame of the cut-out's first pixel.
    kept : ndarray, shape (4, ny * nx)
        Filled in place: pixels less level, weights, profile, and variance of the flat, 0 without one.
    """
    n = 0
    for j in range(pixels.shape[0]):
        for i in range(pixels.shape[1]):
            if weights[j, i] > 0.0 and not math.isnan(pixels[j, i]):
                kept[0, n], kept[1, n], kept[2, n] = pixels[j, i] - level, weights[j, i], profile[j, i]
                kept[3, n] = flat[corner[1] + j, corner[0] + i] if flat.size else 0.0
                n += 1
    return n


@njit(cache=True, nogil=True, error_model="numpy")
def weighted_flux(light, weights, profile, flat, scale, row):
    """Write flux and sums of the weights of one source into ``row``, shape (`FLUX_COLUMNS`,).

    Parameters
    ----------
    light, weights, profile, flat : ndarray, shape (n,)
        Pixels, as `keep_good` lines them up; profile of unit sum over the star.
    scale : float
        Sum of W P to come out, 1 for total counts.
    row : ndarray
        Filled in place; NaN if all weights are 0 or NaN.
    """
    w, w2, w2p, flat_term = 0.0, 0.0, 0.0, 0.0
    for i in range(light.size):
        square = weights[i] * weights[i]
        w += weights[i]
        w2 += square
        w2p += square * profile[i]
        flat_term += square * profile[i] * profile[i] * flat[i]
    held = dot(weights, profile)
    norm = scale / held
    row[0], row[1], row[2] = dot(weights, light) * norm, w * norm, w2 * norm * norm
    row[3], row[4] = w2p * norm * norm / scale, flat_term / (held * held)
