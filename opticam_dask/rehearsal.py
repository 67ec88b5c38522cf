"""The main path on tiny frames, so that kernels are compiled: ``python -m opticam_dask.rehearsal FILE``."""

from __future__ import annotations

import sys
import tempfile
import threading
from pathlib import Path

from opticam_dask.kernel_cache import SafeCache, cache_folder, remember_kernels
from opticam_dask.leash import follow_client
from opticam_dask.photometers import DefaultLocalBackground, OptimalPhotometer
from opticam_dask.reducer import Reducer
from opticam_dask.simulate import CameraSetup, Scene, simulate_night


def rehearse(folder: Path) -> None:
    """Reduce a night of five frames in a folder."""
    scene = Scene(
        n_frames=5,
        shape=(96, 104),
        n_stars=6,
        semimajor_sigma=1.8,
        semiminor_sigma=1.4,
        orientation=30.0,
        cameras=(CameraSetup(filter="g"),),
        seed=1,
    )
    simulate_night(scene, folder / "night")
    with Reducer(
        folder / "out",
        str(folder / "night"),
        cluster="threads",
        number_of_processors=1,
        show_plots=False,
        verbose=False,
    ) as reducer:
        reducer.create_catalogs()
        background = DefaultLocalBackground()
        reducer.photometry(OptimalPhotometer(local_background_estimator=background), export_csv=False)


def main(known: Path) -> None:
    """Rehearse, and note the kernels in a file."""
    threading.Thread(target=follow_client, daemon=True).start()
    cache = SafeCache(cache_folder())
    cache.ready.set()
    cache.install()
    with tempfile.TemporaryDirectory(prefix="opticam-", ignore_cleanup_errors=True) as folder:
        rehearse(Path(folder))
    remember_kernels(known)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
