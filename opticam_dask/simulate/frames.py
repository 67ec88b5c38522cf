"""One frame from a scene: expected counts, noise, file."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from opticam_dask.simulate.detector import Detector, expose, make_detector
from opticam_dask.simulate.encode import fits_bytes, write_atomically
from opticam_dask.simulate.headers import Exposure, cards, file_name, start_of
from opticam_dask.simulate.parts import CameraSetup
from opticam_dask.simulate.render import add_stars
from opticam_dask.simulate.scene import Scene
from opticam_dask.simulate.sky import CameraRun, Floats, camera_run, fluxes, make_stars, positions

_PROFILES = {"gaussian": 0, "sampled-gaussian": 1, "moffat": 2}


@dataclass(frozen=True)
class CalibrationFrame:
    """One bias, dark or flat frame.

    Parameters
    ----------
    kind : {'bias', 'dark', 'flat'}
        What it is.
    number : int
        Number among those of its kind and camera; its noise follows from it.
    start : numpy.datetime64
        UTC at the start, in milliseconds.
    exposure_s : float
        Exposure time [s].
    level : float
        Light where there is no shadow [adu].
    """

    kind: str
    number: int
    start: np.datetime64
    exposure_s: float
    level: float = 0.0


@dataclass(frozen=True, eq=False)
class CameraFrames:
    """All frames of one camera, made on demand.

    Parameters
    ----------
    scene : Scene
        The scene.
    run : CameraRun
        What the camera sees.
    detector : Detector
        The camera's detector.
    stars : ndarray, shape (n_star, 3)
        x, y [pixel] and counts [adu], brightest first.
    """

    scene: Scene
    run: CameraRun
    detector: Detector
    stars: Floats

    def __len__(self) -> int:
        return len(self.run)

    def name(self, row: int) -> str:
        """Name of a frame's file."""
        return file_name(self.scene, self.run, row)

    def expected(self, row: int) -> Floats:
        """Draw the expected counts of a frame, hot pixels included, bias not, shape (ny, nx) [adu]."""
        image = self.detector.sky + self.detector.hot
        one = slice(row, row + 1)
        seeing = float(self.run.seeing[row])
        add_stars(
            image,
            self.detector.throughput,
            positions(self.scene, self.run, self.stars, one)[0],
            fluxes(self.scene, self.run, self.stars, one)[0],
            (
                self.scene.semimajor_sigma * seeing,
                self.scene.semiminor_sigma * seeing,
                math.radians(self.scene.orientation),
            ),
            _PROFILES[self.scene.profile],
            float(self.scene.moffat_beta),
        )
        return image

    def pixels(self, row: int) -> NDArray[np.generic]:
        """Pixels of a frame as a file holds them, shape (ny, nx), of the scene's dtype."""
        index = int(self.run.index[row])
        return expose(self.scene, self.run.camera, index, self.expected(row), bias=self.detector.bias)

    def write(self, row: int, directory: Path) -> None:
        """Write a frame's file."""
        exposure = Exposure(
            run=self.run,
            start=start_of(self.scene, self.run, row),
            name=self.name(row),
            kind="object",
            exposure_s=self.run.exposure_s,
        )
        content = fits_bytes(self.pixels(row), cards(self.scene, exposure), self.scene.compression)
        write_atomically(directory / self.name(row), content)

    def write_flat(self, number: int, path: Path, *, level: float, exposure_s: float) -> None:
        """Write a flat field of a mean level [adu] (without shadows and bias)."""
        start = start_of(self.scene, self.run, 0) + np.timedelta64(1000 * number, "ms")
        frame = CalibrationFrame("flat", number, start, exposure_s, level=level)
        self._write_special(frame, path, level * self.detector.throughput)

    def write_calibration(self, frame: CalibrationFrame, path: Path) -> None:
        """Write a bias or dark frame, or a flat field with its dark current and hot pixels."""
        image = frame.level * self.detector.throughput + self.detector.dark_counts(frame.exposure_s)
        self._write_special(frame, path, image)

    def _write_special(self, frame: CalibrationFrame, path: Path, image: Floats) -> None:
        exposure = Exposure(
            run=self.run, start=frame.start, name=path.name, kind=frame.kind, exposure_s=frame.exposure_s
        )
        pixels = expose(
            self.scene, self.run.camera, frame.number, image, bias=self.detector.bias, kind=frame.kind
        )
        write_atomically(path, fits_bytes(pixels, cards(self.scene, exposure), self.scene.compression))


def camera_frames(scene: Scene, camera: CameraSetup) -> CameraFrames:
    """Frames of one camera of a scene; nothing is drawn yet."""
    run = camera_run(scene, camera)
    return CameraFrames(scene, run, make_detector(scene, camera, run.exposure_s), make_stars(scene))
