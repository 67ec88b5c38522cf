"""A night of tens of gigabytes of pixels that takes a hundredth of that on disk, for tests of memory.

Every frame is a file of its own with its own time, pointing and noise, as in any other simulated night. Only
the sky far from stars is cheap: it is the noise of a few rows, drawn for this frame and repeated down the
frame, which gzip keeps in next to nothing. Around stars every pixel has noise of its own.
"""

from __future__ import annotations

import math
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opticam_dask.simulate.frames import CameraFrames, camera_frames
from opticam_dask.simulate.observations import Job, Progress, SimulatedNight, make_directory, run_jobs
from opticam_dask.simulate.parts import CameraSetup
from opticam_dask.simulate.render import add_stars
from opticam_dask.simulate.scene import Scene
from opticam_dask.simulate.sky import Floats, fluxes, positions
from opticam_dask.simulate.streams import Purpose, generator
from opticam_dask.simulate.truth import TRUTH_NAME, write_truth

ROWS_OF_NOISE = 4
"""Rows of sky drawn for a frame: 2048 columns of them are half of what gzip looks back over."""

HALF_WIDTH = 34
"""Half width of the squares around stars [pixel]: more than an annulus of 7.5 sigmas of 3.5 pixels needs."""


class _CheapFrames(CameraFrames):
    """Frames of one camera whose sky repeats itself far from the stars."""

    def pixels(self, row: int) -> NDArray[np.generic]:
        """Pixels of a frame, shape (ny, nx), uint16."""
        scene, one = self.scene, slice(row, row + 1)
        rng = generator(scene.seed, Purpose.NOISE, self.run.camera.filter, int(self.run.index[row]))
        ny, nx = scene.shape
        strip = _digitised(np.full((ROWS_OF_NOISE, nx), scene.sky), scene, rng)
        image = np.tile(strip, (math.ceil(ny / ROWS_OF_NOISE), 1))[:ny]
        xy = positions(scene, self.run, self.stars, one)[0]
        counts = fluxes(scene, self.run, self.stars, one)[0]
        for x, y in np.rint(xy).astype(np.int64):
            rows = slice(max(0, y - HALF_WIDTH), max(0, y + HALF_WIDTH + 1))
            columns = slice(max(0, x - HALF_WIDTH), max(0, x + HALF_WIDTH + 1))
            square = np.full(image[rows, columns].shape, scene.sky)
            if square.size:
                self._add_stars(square, xy - (columns.start, rows.start), counts)
                image[rows, columns] = _digitised(square, scene, rng)
        return image

    def _add_stars(self, image: Floats, xy: Floats, counts: Floats) -> None:
        scene = self.scene
        shape = (scene.semimajor_sigma, scene.semiminor_sigma, math.radians(scene.orientation))
        add_stars(image, np.ones_like(image), xy, counts, shape, 0, scene.moffat_beta)


def _digitised(expected: Floats, scene: Scene, rng: np.random.Generator) -> NDArray[np.uint16]:
    """Add the noise of photons and of the read-out, for a gain of one."""
    noisy = rng.poisson(expected) + scene.read_noise * rng.standard_normal(expected.shape)
    return np.clip(np.rint(noisy + scene.bias), 0, 65535).astype(np.uint16)


def large_scene(n_frames: int, **options: Any) -> Scene:
    """Scene of a large night: stars inclined and not round, a drifting field, and whatever ``options`` say.

    Parameters
    ----------
    n_frames : int
        Exposures of each camera.
    **options
        Parameters of `opticam_dask.simulate.Scene`, such as ``shape`` and ``cameras``.
    """
    drawn = {
        "n_frames": n_frames,
        "shape": (2048, 2048),
        "binning": 1,
        "cameras": tuple(CameraSetup(filter=name) for name in "gri"),
        "n_stars": 24,
        "flux_range": (5e3, 3e5),
        "margin_px": 180.0,
        "min_separation_px": 60.0,
        "semimajor_sigma": 3.0,
        "semiminor_sigma": 2.3,
        "orientation": 37.0,
        "drift_px_per_hour": (40.0, -25.0),
        "jitter_px": 0.4,
        "pointing": (83.6, 22.0),
    }
    return Scene(**{**drawn, **options})


def simulate_large_night(
    scene: Scene, out_directory: str | Path, *, workers: int | None = None, progress: Progress | None = None
) -> SimulatedNight:
    """Write the frames of a scene with a sky that compresses, and their truth table.

    Parameters
    ----------
    scene : Scene
        From `large_scene`: an even sky, a gain of one, uint16, steady seeing, and a clean detector.
    out_directory : path
        An empty folder; made if need be.
    workers, progress
        As for `opticam_dask.simulate.simulate_night`.

    Returns
    -------
    SimulatedNight

    Raises
    ------
    InputError
        If the folder cannot be used.
    """
    directory = make_directory(out_directory)
    cameras = [_cheap(camera_frames(scene, camera)) for camera in scene.cameras]
    plans = [(frames.run, frames.detector) for frames in cameras]
    write_truth(directory / TRUTH_NAME, scene, cameras[0].stars, plans)
    jobs: list[Job] = [
        partial(frames.write, row, directory) for frames in cameras for row in range(len(frames))
    ]
    run_jobs(jobs, workers, progress)
    paths = tuple(directory / frames.name(row) for frames in cameras for row in range(len(frames)))
    return SimulatedNight(directory, directory / TRUTH_NAME, paths, len(paths))


def _cheap(frames: CameraFrames) -> _CheapFrames:
    return _CheapFrames(**{field.name: getattr(frames, field.name) for field in fields(frames)})
