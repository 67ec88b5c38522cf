"""Variances of photometry, each noise term once.

The scatter of the sky pixels already holds the sky's shot noise, the read noise and the dark noise, so none
of them is added again. The star's own shot noise comes from the model, not from the noisy pixel.

References
----------
Naylor 1998, MNRAS 296, 339 (optimal photometry); Merline & Howell 1995, Exp. Astron. 6, 163 (CCD equation).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray


def level_variance(scatter: NDArray[np.float64], n_sky: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Variance of a sky level averaged over ``n_sky`` pixels [adu^2]; ``scatter`` is per pixel [adu]."""
    return scatter**2 / np.maximum(n_sky, 1.0)


@njit(cache=True, nogil=True)
def pixel_variance(sky_variance, flux, profile, gain):
    """Variance of a pixel [adu^2]: the sky's, and the star's shot noise from the model ``flux * profile``.

    ``gain`` is in electrons per adu, ``flux`` in adu; a negative flux has no shot noise.
    """
    return sky_variance + max(flux, 0.0) * profile / gain


@njit(cache=True, nogil=True)
def aperture_variance(counts, area, scatter, level_var, gain):
    """Variance of a sum over an aperture [adu^2], by the CCD equation.

    Parameters
    ----------
    counts : float
        Background-subtracted counts of the star in the aperture [adu].
    area : float
        Area summed [pixel].
    scatter : float
        Scatter of the sky pixels [adu].
    level_var : float
        Variance of the sky level [adu^2].
    gain : float
        Gain [electron / adu].
    """
    return max(counts, 0.0) / gain + area * scatter**2 + area**2 * level_var
