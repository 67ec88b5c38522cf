"""The main job in one call: simulate a night, reduce it, draw a variable star."""

from __future__ import annotations

import math
from pathlib import Path

from opticam_dask.cluster_spec import Place
from opticam_dask.photometers import DefaultLocalBackground, OptimalPhotometer
from opticam_dask.plotting.light_curves import light_curve_figure
from opticam_dask.plotting.style import save_figure
from opticam_dask.reducer import Reducer
from opticam_dask.simulate import CameraSetup, Scene, Variable
from opticam_dask.simulate.progress import simulate_with_bar
from opticam_dask.tables.store import light_curve

VARIABLE = 2
LABEL = "optimal_annulus"


def demo_scene(frames: int, seed: int) -> Scene:
    """Three cameras of uneven cadence; an elongated, rotated PSF; drift; hot pixels; one pulsating star."""
    return Scene(
        seed=seed,
        n_frames=frames,
        cameras=(
            CameraSetup(filter="g", cadence_s=1.5),
            CameraSetup(filter="r", cadence_s=1.2, flux_scale=1.3),
            CameraSetup(filter="i", cadence_s=1.2, start_offset_s=0.4, dropped_fraction=0.02),
        ),
        start="2024-01-01T04:00:00",
        n_stars=12,
        flux_range=(2e3, 6e4),
        min_separation_px=20.0,
        semimajor_sigma=2.0,
        semiminor_sigma=1.5,
        orientation=37.0,
        drift_px_per_hour=(120.0, -80.0),
        jitter_px=0.5,
        hot_pixels=20,
        pointing=(83.63, 22.01),
        variables=(
            Variable(
                star=VARIABLE,
                amplitude=0.05,
                frequency_hz=0.02,
                phase_rad=(0.0, math.pi / 2, math.pi),
            ),
        ),
    )


def run_demo(
    out: Path | str,
    *,
    frames: int = 120,
    seed: int = 7,
    cluster: Place = None,
    workers: int | None = None,
) -> Path:
    """Simulate a night into ``out/data``, reduce it into ``out/reduced``, draw ``out/light_curve.png``.

    Parameters
    ----------
    out : path
        Folder for everything.
    frames : int
        Frames per camera.
    seed : int
        Seed of the simulation.
    cluster, workers
        As for `Reducer`.

    Returns
    -------
    Path
        The picture.
    """
    out = Path(out)
    simulate_with_bar(demo_scene(frames, seed), out / "data", overwrite=True)
    with Reducer(
        out / "reduced", out / "data", cluster=cluster, number_of_processors=workers, show_plots=False
    ) as reducer:
        reducer.create_catalogs(overwrite=True)
        photometer = OptimalPhotometer(local_background_estimator=DefaultLocalBackground())
        reducer.photometry(photometer, overwrite=True)
        cameras = list(reducer.catalogs)
    curves = {
        camera: light_curve(out / "reduced", camera=camera, source=VARIABLE, label=LABEL)
        for camera in cameras
    }
    figure = light_curve_figure(
        curves, title="A star of 5 % amplitude and 50 s period, seen by three cameras"
    )
    return save_figure(figure, out / "light_curve.png")
