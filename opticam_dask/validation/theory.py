"""What the errors of a measurement must be, worked out apart from the code that makes the measurements."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from opticam_dask.simulate import Scene

Floats = NDArray[np.float64]

_POINTS = 10
"""Points per pixel and axis that a profile is averaged over."""


def star_profile(scene: Scene, xy: tuple[float, float], half: int = 30) -> Floats:
    """Fraction of a star's light in each pixel around it, for a scene's Gaussian PSF.

    The Gaussian is averaged over a grid of points in each pixel, in plain numpy: nothing is shared with
    the simulator's drawing or the photometers' profiles.

    Parameters
    ----------
    scene : Scene
        Gives the PSF.
    xy : tuple of float
        Place of the star within its pixel, each in [-0.5, 0.5] [pixel].
    half : int
        Pixels on each side of the star's.

    Returns
    -------
    ndarray, shape (2 half + 1, 2 half + 1)
    """
    fine = np.arange((2 * half + 1) * _POINTS)
    offsets = (fine + 0.5) / _POINTS - half - 0.5
    x, y = offsets[None, :] - xy[0], offsets[:, None] - xy[1]
    angle = math.radians(scene.orientation)
    major = (x * math.cos(angle) + y * math.sin(angle)) / scene.semimajor_sigma
    minor = (y * math.cos(angle) - x * math.sin(angle)) / scene.semiminor_sigma
    peak = 1.0 / (2.0 * math.pi * scene.semimajor_sigma * scene.semiminor_sigma)
    density = peak * np.exp(-0.5 * (major**2 + minor**2))
    side = 2 * half + 1
    return np.asarray(density.reshape(side, _POINTS, side, _POINTS).mean(axis=(1, 3)))


def sky_variance(scene: Scene) -> float:
    """Variance of a pixel of a scene's sky: shot noise, read-out, and rounding of whole counts [adu^2]."""
    electrons = scene.sky * scene.gain + scene.read_noise**2
    return electrons / scene.gain**2 + (1.0 / 12.0 if scene.dtype == "uint16" else 0.0)


def cramer_rao_error(flux: float, profile: Floats, variance: float, gain: float) -> float:
    """Least error of a flux that any unbiased estimate has, place, profile and sky being known [adu].

    The Fisher information of a flux is the sum of P^2 / V over the pixels, V the true variance of each.

    Parameters
    ----------
    flux : float
        True flux [adu].
    profile : ndarray
        Fraction of the light in each pixel.
    variance : float
        Variance of a pixel without the star [adu^2].
    gain : float
        Gain [electron / adu].
    """
    return float(np.sum(profile**2 / (variance + flux * profile / gain)) ** -0.5)


def aperture_error(flux: float, profile: Floats, weights: Floats, variance: float, gain: float) -> float:
    """Error of a flux summed over an aperture and divided by its part of the light, for a known sky [adu].

    Parameters are those of `cramer_rao_error`; ``weights`` is the part of each pixel inside the aperture.
    """
    pixels = np.sum(weights**2 * (variance + flux * profile / gain))
    return float(np.sqrt(pixels) / np.sum(weights * profile))


class SinusoidErrors(NamedTuple):
    """Least errors of a sinusoid's parameters."""

    amplitude: float
    phase_rad: float
    frequency: float


def sinusoid_errors(n: int, sigma: float, amplitude: float, duration: float) -> SinusoidErrors:
    """Least errors of a sinusoid fitted to evenly spaced points of equal error.

    The phase is that at the middle of the points, where it does not depend on the frequency.

    Parameters
    ----------
    n : int
        Number of points.
    sigma : float
        Error of each, in the unit of the amplitude.
    amplitude : float
        Amplitude.
    duration : float
        Span of the points; the frequency is in cycles per its unit.

    References
    ----------
    Montgomery & O'Donoghue 1999, Delta Scuti Star Newsletter 13, 28.
    """
    of_amplitude = math.sqrt(2.0 / n) * sigma
    return SinusoidErrors(
        of_amplitude,
        of_amplitude / amplitude,
        math.sqrt(6.0 / n) * sigma / (math.pi * duration * amplitude),
    )
