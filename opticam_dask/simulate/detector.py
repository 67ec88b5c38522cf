"""What the detector does to the light: photon noise, dark current, cosmic rays, read-out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opticam_dask.simulate.parts import CameraSetup
from opticam_dask.simulate.patterns import bias_pattern, dark_pattern, hot_pixels, response, shadows_on
from opticam_dask.simulate.photons import poisson_inplace
from opticam_dask.simulate.scene import Scene
from opticam_dask.simulate.streams import Purpose, generator, seed_sequence

Floats = NDArray[np.float64]
KINDS = ("object", "flat", "bias", "dark")
"""Kinds of exposures; their numbers are keys of random streams, so never reorder."""


@dataclass(frozen=True, eq=False)
class Detector:
    """Fixed properties of one camera's detector.

    Parameters
    ----------
    shadows : ndarray, shape (ny, nx), float64
        Fraction of the light that reaches each pixel.
    throughput : ndarray, shape (ny, nx), float64
        The same times the pixel's response, which is 1 on average.
    sky : ndarray, shape (ny, nx), float64
        Expected level without stars, hot pixels, or bias [adu].
    hot : ndarray, shape (ny, nx), float64
        Counts that hot pixels add to a frame of ``exposure_s`` [adu].
    dark : float, or ndarray, shape (ny, nx)
        Dark current without that of hot pixels [adu / s].
    bias : float, or ndarray, shape (ny, nx)
        Bias [adu].
    exposure_s : float
        Exposure time of the camera's frames [s].
    """

    shadows: Floats
    throughput: Floats
    sky: Floats
    hot: Floats
    dark: Floats | float
    bias: Floats | float
    exposure_s: float

    def dark_counts(self, exposure_s: float) -> Floats:
        """Return the counts of dark current, hot pixels included, after an exposure, shape (ny, nx) [adu]."""
        times = exposure_s / self.exposure_s if self.exposure_s > 0 else 0.0
        return np.asarray(self.dark * exposure_s + self.hot * times)


def make_detector(scene: Scene, camera: CameraSetup, exposure_s: float) -> Detector:
    """Detector of a camera, and the sky on it."""
    shadows = shadows_on(scene, camera)
    throughput = response(scene, camera) * shadows if scene.prnu > 0 else shadows
    ny, nx = scene.shape
    y, x = np.ogrid[:ny, :nx]
    gx, gy = scene.sky_gradient
    sky = scene.sky + gx * (x - (nx - 1) / 2) + gy * (y - (ny - 1) / 2)
    uneven = dark_pattern(scene, camera) if scene.dark_nonuniformity > 0 else 1.0
    dark = scene.dark_current * exposure_s / scene.gain * uneven
    bias = scene.bias + bias_pattern(scene, camera) if scene.bias_structure > 0 else scene.bias
    return Detector(
        shadows,
        throughput,
        np.asarray(sky * throughput + dark),
        hot_pixels(scene, camera),
        scene.dark_current / scene.gain * uneven,
        bias,
        exposure_s,
    )


def expose(
    scene: Scene,
    camera: CameraSetup,
    index: int,
    image: Floats,
    *,
    bias: Floats | float | None = None,
    kind: str = "object",
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
    bias : float, or ndarray, shape (ny, nx), optional
        Bias of the pixels [adu]; by default the scene's.
    kind : {'object', 'flat', 'bias', 'dark'}
        Each kind has streams of its own; flat fields and bias frames see no cosmic rays.

    Returns
    -------
    ndarray, shape (ny, nx)
        Pixels as written to the file, of the scene's dtype.
    """
    keys = (camera.filter, index, KINDS.index(kind))
    image *= scene.gain
    _photon_noise(scene, image, keys)
    if scene.cosmic_rays > 0 and kind in ("object", "dark"):
        _add_cosmic_rays(scene, image, generator(scene.seed, Purpose.COSMIC_RAYS, *keys))
    if scene.read_noise > 0 and scene.noise != "none":
        deviates = generator(scene.seed, Purpose.READ_NOISE, *keys).standard_normal(image.shape, np.float32)
        deviates *= np.float32(scene.read_noise)
        image += deviates
    return _digitise(scene, image, scene.bias if bias is None else bias)


def _photon_noise(scene: Scene, image: Floats, keys: tuple[int | str, ...]) -> None:
    if scene.noise == "poisson":
        state = seed_sequence(scene.seed, Purpose.NOISE, *keys).generate_state(4, np.uint64)
        poisson_inplace(image, float(image[0, 0]), state.astype(np.uint64))
    elif scene.noise == "gaussian":
        deviates = generator(scene.seed, Purpose.NOISE, *keys).standard_normal(image.shape)
        deviates *= np.sqrt(image)
        image += deviates


def _digitise(scene: Scene, image: Floats, bias: Floats | float) -> NDArray[np.generic]:
    image /= scene.gain
    image += bias
    if scene.saturation is not None:
        np.minimum(image, scene.saturation, out=image)
    if scene.dtype == "uint16":
        np.rint(image, out=image)
        np.clip(image, 0.0, 65535.0, out=image)
    elif scene.quantum > 0:
        np.rint(np.divide(image, scene.quantum, out=image), out=image)
        image *= scene.quantum
    return image.astype(scene.dtype, copy=False)


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
