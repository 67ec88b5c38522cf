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
        return expose(self.scene, self.run.camera, int(self.run.index[row]), self.expected(row))

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
        exposure = Exposure(
            run=self.run,
            start=start_of(self.scene, self.run, 0) + np.timedelta64(1000 * number, "ms"),
            name=path.name,
            kind="flat",
            exposure_s=exposure_s,
        )
        image = expose(self.scene, self.run.camera, number, level * self.detector.throughput, flat=True)
        write_atomically(path, fits_bytes(image, cards(self.scene, exposure), self.scene.compression))


def camera_frames(scene: Scene, camera: CameraSetup) -> CameraFrames:
    """Frames of one camera of a scene; nothing is drawn yet."""
    run = camera_run(scene, camera)
    return CameraFrames(scene, run, make_detector(scene, camera, run.exposure_s), make_stars(scene))
