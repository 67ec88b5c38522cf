"""What the detector does to the light: shadows, dust, dark current, hot pixels, cosmic rays, read-out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opticam_dask.simulate.parts import CameraSetup
from opticam_dask.simulate.photons import poisson_inplace
from opticam_dask.simulate.scene import Scene
from opticam_dask.simulate.streams import Purpose, generator, seed_sequence

Floats = NDArray[np.float64]
DUST_RADIUS = 0.04
"""Radius of a dust shadow, as a fraction of the frame's shorter side."""


@dataclass(frozen=True, eq=False)
class Detector:
    """Fixed properties of one camera's detector.

    Parameters
    ----------
    throughput : ndarray, shape (ny, nx), float64
        Fraction of the light each pixel receives.
    sky : ndarray, shape (ny, nx), float64
        Expected level without stars, hot pixels, or bias [adu].
    hot : ndarray, shape (ny, nx), float64
        Counts that hot pixels add [adu].
    """

    throughput: Floats
    sky: Floats
    hot: Floats


def make_detector(scene: Scene, camera: CameraSetup, exposure_s: float) -> Detector:
    """Detector of a camera, and the sky on it."""
    throughput = _throughput(scene, camera)
    ny, nx = scene.shape
    y, x = np.ogrid[:ny, :nx]
    gx, gy = scene.sky_gradient
    sky = scene.sky + gx * (x - (nx - 1) / 2) + gy * (y - (ny - 1) / 2)
    dark = scene.dark_current * exposure_s / scene.gain
    return Detector(throughput, np.asarray(sky * throughput + dark), _hot_pixels(scene, camera))


def expose(
    scene: Scene, camera: CameraSetup, index: int, image: Floats, *, flat: bool = False
) -> NDArray[np.generic]:
    """Photon noise, cosmic rays, read-out and digitisation of an image of expected counts.

    Parameters
    ----------
    scene, camera
        What is observed, and with which camera.
    index : int
        Number of the exposure.
    image : ndarray, shape (ny, nx), float64
        Expected counts without bias [adu]; changed in place.
    flat : bool
        A flat field: it has streams of its own and no cosmic rays.

    Returns
    -------
    ndarray, shape (ny, nx)
        Pixels as written to the file, of the scene's dtype.
    """
    keys = (camera.filter, index, int(flat))
    image *= scene.gain
    _photon_noise(scene, image, keys)
    if scene.cosmic_rays > 0 and not flat:
        _add_cosmic_rays(scene, image, generator(scene.seed, Purpose.COSMIC_RAYS, *keys))
    if scene.read_noise > 0 and scene.noise != "none":
        deviates = generator(scene.seed, Purpose.READ_NOISE, *keys).standard_normal(image.shape, np.float32)
        deviates *= np.float32(scene.read_noise)
        image += deviates
    return _digitise(scene, image)


def _photon_noise(scene: Scene, image: Floats, keys: tuple[int | str, ...]) -> None:
    if scene.noise == "poisson":
        state = seed_sequence(scene.seed, Purpose.NOISE, *keys).generate_state(4, np.uint64)
        poisson_inplace(image, float(image[0, 0]), state.astype(np.uint64))
    elif scene.noise == "gaussian":
        deviates = generator(scene.seed, Purpose.NOISE, *keys).standard_normal(image.shape)
        deviates *= np.sqrt(image)
        image += deviates


def _digitise(scene: Scene, image: Floats) -> NDArray[np.generic]:
    image /= scene.gain
    image += scene.bias
    if scene.saturation is not None:
        np.minimum(image, scene.saturation, out=image)
    if scene.dtype == "uint16":
        np.rint(image, out=image)
        np.clip(image, 0.0, 65535.0, out=image)
    elif scene.quantum > 0:
        np.rint(np.divide(image, scene.quantum, out=image), out=image)
        image *= scene.quantum
    return image.astype(scene.dtype, copy=False)


def _throughput(scene: Scene, camera: CameraSetup) -> Floats:
    ny, nx = scene.shape
    y, x = np.ogrid[:ny, :nx]
    radius = np.hypot(x - (nx - 1) / 2, y - (ny - 1) / 2)
    light = 1.0 - scene.vignetting * (radius / max(radius.max(), 1.0)) ** 2
    if scene.circular_aperture:
        light = light * np.minimum(1.0, (np.maximum(radius, 0.5) / (ny / 2)) ** -2)
    for spot_x, spot_y, depth in _dust(scene, camera):
        distance2 = (x - spot_x) ** 2 + (y - spot_y) ** 2
        light = light * (1.0 - depth * np.exp(-0.5 * distance2 / (DUST_RADIUS * min(ny, nx)) ** 2))
    return np.ascontiguousarray(light)


def _dust(scene: Scene, camera: CameraSetup) -> Floats:
    rng = generator(scene.seed, Purpose.DUST, camera.filter)
    places = rng.random((scene.dust_spots, 2)) * (scene.shape[1], scene.shape[0])
    return np.column_stack([places, np.full(scene.dust_spots, scene.dust_depth)])


def _hot_pixels(scene: Scene, camera: CameraSetup) -> Floats:
    rng = generator(scene.seed, Purpose.HOT_PIXELS, camera.filter)
    hot = np.zeros(scene.shape)
    where = rng.choice(hot.size, size=min(scene.hot_pixels, hot.size), replace=False)
    hot.flat[where] = scene.hot_pixel_level * rng.uniform(0.5, 1.5, size=where.size)
    return hot


def _add_cosmic_rays(scene: Scene, image: Floats, rng: np.random.Generator) -> None:
    """Straight tracks of some pixels' length, each of a log-normal charge [electron]."""
    ny, nx = image.shape
    for _ in range(rng.poisson(scene.cosmic_rays)):
        x, y, angle = rng.random(3) * (nx, ny, 2.0 * math.pi)
        charge = scene.cosmic_ray_electrons * rng.lognormal(0.0, 0.7)
        steps = np.arange(0.0, 1.0 + rng.exponential(3.0), 0.25)
        columns = np.floor(x + steps * math.cos(angle)).astype(np.int64)
        rows = np.floor(y + steps * math.sin(angle)).astype(np.int64)
        inside = (columns >= 0) & (columns < nx) & (rows >= 0) & (rows < ny)
        np.add.at(image, (rows[inside], columns[inside]), charge / steps.size)
