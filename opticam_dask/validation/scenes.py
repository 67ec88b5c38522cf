"""Scenes that photometry is judged on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from opticam_dask.simulate import CameraSetup, Scene
from opticam_dask.simulate.detector import make_detector
from opticam_dask.simulate.sky import make_stars

FLUX_RANGE = (300.0, 3e5)

DETECTOR: dict[str, Any] = {
    "bias": 150.0,
    "bias_structure": 4.0,
    "dark_current": 20.0,
    "dark_nonuniformity": 0.2,
    "hot_pixels": 60,
    "hot_pixel_level": 1500.0,
    "cosmic_rays": 3.0,
    "vignetting": 0.2,
    "dust_rings": 6,
    "dust_depth": 0.1,
    "prnu": 0.01,
}
"""What a scene needs calibration for: patterns of bias and dark, shadows, uneven pixels, cosmic rays."""


def pull_scene(frames: int = 300, stars: int = 60, gain: float = 1.0, seed: int = 5, **options: Any) -> Scene:
    """One camera's night of isolated stars: elongated rotated PSF, drift, field rotation, a sloping sky.

    Parameters
    ----------
    frames, stars : int
        Number of frames and of stars. The stars' totals are evenly spread in their logarithm, from 300 to
        300 000 counts, whatever the seed.
    gain : float
        Gain [electron / adu].
    seed : int
        Seed of the positions and of the noise.
    **options
        Anything else of `Scene`, in place of what stands here.

    Returns
    -------
    Scene

    Raises
    ------
    InputError
        If a value makes no sense.
    """
    values: dict[str, Any] = {
        "cameras": (CameraSetup(filter="g"),),
        "shape": (620, 701),
        "margin_px": 64.0,
        "min_separation_px": 40.0,
        "semimajor_sigma": 4.0,
        "semiminor_sigma": 2.5,
        "orientation": 37.0,
        "sky": 100.0,
        "sky_gradient": (0.02, -0.015),
        "drift_px_per_hour": (40.0, -25.0),
        "jitter_px": 0.2,
        "rotation_deg_per_hour": 6.0,
        "compression": "none",
        "pointing": (83.63, 22.01),
        **options,
    }
    scene = Scene(seed=seed, n_frames=frames, n_stars=stars, gain=gain, **values)
    placed = make_stars(scene)
    placed[:, 2] = even_fluxes(stars)
    return replace(scene, stars=tuple((float(x), float(y), float(flux)) for x, y, flux in placed))


def even_fluxes(stars: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Totals evenly spread in their logarithm over `FLUX_RANGE`, brightest first [adu]."""
    low, high = FLUX_RANGE
    return np.asarray(high * (low / high) ** ((np.arange(stars) + 0.5) / stars))


def mean_throughput(scene: Scene) -> float:
    """Mean part of the light that the pixels of a scene's first camera receive.

    A flat field is 1 on average, so a flattened flux is the true one, shadows not counted, times this.
    """
    camera = scene.cameras[0]
    return float(make_detector(scene, camera, scene.exposure_s).throughput.mean())
