"""Small detectors with known bias, dark, flat and bad pixels, and files of their frames."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits

from opticam_dask.instrument import CameraSpec, Instrument

SHAPE = (47, 62)
GAIN, READ_NOISE = 0.8, 2.5
CAMERA = Instrument(
    name="one camera",
    cameras=(CameraSpec(name="1", read_noise=READ_NOISE, dark_current=0.4),),
    camera_from="filter",
)


@dataclass
class Detector:
    """Truth: bias [adu], dark [adu / s], response (1 on average where good), dead and hot pixels."""

    bias: np.ndarray
    dark: np.ndarray
    response: np.ndarray
    dead: np.ndarray
    hot: np.ndarray

    def expose(self, rng, light: np.ndarray | float, seconds: float, *, rays: int = 0) -> np.ndarray:
        """Raw frame of light [adu, before the response]: shot noise, read noise, rounding, saturation."""
        charge = GAIN * (np.asarray(light) * self.response + self.dark * seconds)
        signal = rng.poisson(charge) + rng.normal(0, READ_NOISE, SHAPE)
        raw = signal / GAIN + self.bias
        for place in rng.integers(0, raw.size, rays):
            raw.flat[place] += rng.uniform(2000, 9000)
        return np.rint(raw).clip(0, 65535).astype(np.uint16)


def make_detector(seed: int = 5) -> Detector:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    bias = 100 + 8 * np.sin(x / 3.0) + rng.normal(0, 2, SHAPE)
    dark = rng.gamma(4.0, 0.05, SHAPE)
    hot = rng.choice(bias.size, 6, replace=False)
    dark.flat[hot] = rng.uniform(40, 120, 6)
    vignette = 1 - 0.35 * ((x - 25) ** 2 + (y - 20) ** 2) / (40**2 + 30**2)
    dust = 1 - 0.25 * np.exp(-(((x - 44) ** 2 + (y - 13) ** 2) / 18.0))
    response = vignette * dust * rng.normal(1, 0.01, SHAPE)
    dead = rng.choice(np.setdiff1d(np.arange(bias.size), hot), 4, replace=False)
    response.flat[dead] = [0.0, 0.02, 0.2, 0.3]
    good = np.ones(bias.size, bool)
    good[dead] = good[hot] = False
    response /= response.ravel()[good].mean()
    return Detector(bias, dark, response, np.sort(dead), np.sort(hot))


def write(path: Path, image: np.ndarray, kind: str, seconds: float, band: str | None = "g", **more) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    header = fits.Header({"IMGTYPE": kind, "EXPOSURE": seconds, "GAIN": GAIN, "BINNING": "2x2"} | more)
    header["UT"] = "2024-01-01 03:00:00.000"
    if band is not None:
        header["FILTER"] = band
    fits.writeto(path, image, header, overwrite=True)
    return path


def write_biases(folder: Path, detector: Detector, n: int, *, seed: int = 1, rays: int = 2) -> None:
    rng = np.random.default_rng(seed)
    for i in range(n):
        write(folder / f"bias{i:03d}.fits", detector.expose(rng, 0.0, 0.0, rays=rays), "bias", 0.0, None)


def write_darks(folder: Path, detector: Detector, n: int, seconds: float, *, seed: int = 2) -> None:
    rng = np.random.default_rng(seed)
    for i in range(n):
        image = detector.expose(rng, 0.0, seconds, rays=2)
        write(folder / f"dark{seconds:g}_{i:03d}.fits", image, "dark", seconds, None)


def write_flats(
    folder: Path, detector: Detector, levels, *, seconds: float = 2.0, seed: int = 3, band: str = "g"
) -> None:
    rng = np.random.default_rng(seed)
    for i, level in enumerate(levels):
        image = detector.expose(rng, level, seconds, rays=3)
        write(folder / f"flat_{band}{i:03d}.fits", image, "flat", seconds, band)
