"""Simulations that show how far they are."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

from tqdm import tqdm

from opticam_dask.progress import progress_bar
from opticam_dask.simulate.observations import Progress, SimulatedNight, simulate_night
from opticam_dask.simulate.scene import Scene
from opticam_dask.simulate.sky import camera_run


def simulate_with_bar(
    scene: Scene,
    out_directory: str | Path,
    *,
    overwrite: bool = False,
    workers: int | None = None,
    title: str = "simulating",
    delay_s: float = 0.0,
) -> SimulatedNight:
    """Run `simulate_night` under a bar with rate and time left, on stderr.

    Parameters
    ----------
    scene, out_directory, overwrite, workers
        As for `simulate_night`.
    title : str
        What stands before the bar.
    delay_s : float
        The bar appears after this time [s], so that an early error stands alone.

    Returns
    -------
    SimulatedNight

    Raises
    ------
    InputError
        As `simulate_night` does.
    """
    total = sum(len(camera_run(scene, camera)) for camera in scene.cameras)
    with progress_bar(total, title, "image", leave=True, delay_s=delay_s) as bar:
        return simulate_night(
            scene, out_directory, overwrite=overwrite, workers=workers, progress=updater(bar)
        )


def updater(bar: tqdm[NoReturn]) -> Progress:
    """Make the function a simulation calls with the number of images just finished."""
    return lambda done: bar.update(done)
