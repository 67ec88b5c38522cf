"""Patterns that stay on a camera's frames: shadows, dust, pixel response, bias, dark current, hot pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from opticam_dask.simulate.parts import CameraSetup
from opticam_dask.simulate.scene import Scene
from opticam_dask.simulate.streams import Purpose, generator

Floats = NDArray[np.float64]

DUST_RADIUS = 0.04
"""Radius of a dust shadow, as a fraction of the frame's shorter side."""

RING_HOLE, RING_EDGE = 0.4, 0.08
"""Radius of the lighter middle of a ring, and softness of its edges, as fractions of the ring's radius."""


def shadows_on(scene: Scene, camera: CameraSetup) -> Floats:
    """Fraction of the light that reaches each pixel past vignetting and dust, shape (ny, nx)."""
    ny, nx = scene.shape
    y, x = np.ogrid[:ny, :nx]
    radius = np.hypot(x - (nx - 1) / 2, y - (ny - 1) / 2)
    light = 1.0 - scene.vignetting * (radius / max(radius.max(), 1.0)) ** 2
    if scene.circular_aperture:
        light = light * np.minimum(1.0, (np.maximum(radius, 0.5) / (ny / 2)) ** -2)
    size = DUST_RADIUS * min(ny, nx)
    for spot_x, spot_y in _places(scene, camera, Purpose.DUST, scene.dust_spots):
        distance2 = (x - spot_x) ** 2 + (y - spot_y) ** 2
        light = light * (1.0 - scene.dust_depth * np.exp(-0.5 * distance2 / size**2))
    for ring_x, ring_y in _places(scene, camera, Purpose.DUST_RINGS, scene.dust_rings):
        light = light * (1.0 - scene.dust_depth * _ring(np.hypot(x - ring_x, y - ring_y) / size))
    return np.ascontiguousarray(light)


def _places(scene: Scene, camera: CameraSetup, purpose: Purpose, number: int) -> Floats:
    places = generator(scene.seed, purpose, camera.filter).random((number, 2))
    return np.asarray(places * (scene.shape[1], scene.shape[0]))


def _ring(radius: Floats) -> Floats:
    """Depth of a ring at distances in units of its radius, 1 where it is darkest: a disc less its middle."""
    outer, hole = (np.tanh((edge - radius) / RING_EDGE) for edge in (1.0, RING_HOLE))
    return np.asarray(0.5 * (outer - hole))


def response(scene: Scene, camera: CameraSetup) -> Floats:
    """Response of each pixel to light, 1 on average, shape (ny, nx)."""
    deviates = generator(scene.seed, Purpose.RESPONSE, camera.filter).standard_normal(scene.shape)
    return np.maximum(1.0 + scene.prnu * deviates, 0.0)


def bias_pattern(scene: Scene, camera: CameraSetup) -> Floats:
    """Departure of the bias from its mean, a pattern of columns and one of rows, shape (ny, nx) [adu]."""
    rng = generator(scene.seed, Purpose.BIAS_PATTERN, camera.filter)
    ny, nx = scene.shape
    columns, rows = rng.standard_normal((1, nx)), rng.standard_normal((ny, 1))
    return np.asarray(scene.bias_structure * np.sqrt(0.5) * (columns - columns.mean() + rows - rows.mean()))


def dark_pattern(scene: Scene, camera: CameraSetup) -> Floats:
    """Dark current of each pixel relative to its mean, gamma distributed, shape (ny, nx)."""
    variance = scene.dark_nonuniformity**2
    rng = generator(scene.seed, Purpose.DARK_PATTERN, camera.filter)
    return rng.gamma(1.0 / variance, variance, size=scene.shape)


def hot_pixels(scene: Scene, camera: CameraSetup) -> Floats:
    """Draw the counts that hot pixels add to a frame, shape (ny, nx) [adu]."""
    rng = generator(scene.seed, Purpose.HOT_PIXELS, camera.filter)
    hot = np.zeros(scene.shape)
    where = rng.choice(hot.size, size=min(scene.hot_pixels, hot.size), replace=False)
    hot.flat[where] = scene.hot_pixel_level * rng.uniform(0.5, 1.5, size=where.size)
    return hot
