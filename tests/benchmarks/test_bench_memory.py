"""A night larger than memory: workers of 1 GB, of which none is restarted, and what each process takes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from opticam_dask.simulate import CameraSetup
from opticam_dask.testing.benchmark import Comparison
from opticam_dask.testing.large_night import large_scene, simulate_large_night

SCRIPT = Path(__file__).with_name("memory_run.py")
MIB = 2**20
LIMIT = 1000.0  # of a worker [MiB]; it is restarted at 95 % of 1 GB


def reduction(data, out, limit, **environment):
    """What a reduction of its own process tells of itself."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(data), str(out), limit],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert "Restarting" not in done.stderr, done.stderr[-3000:]
    return told


def check(told, n_frames, n_stars):
    assert told["frames"] == n_frames
    assert told["rows"] == told["fluxes"] == n_frames * n_stars
    assert told["same_workers"]


def test_a_night_larger_than_memory(full, record, tmp_path):
    each, shape, margin = (1200, (2048, 2048), 180.0) if full else (3, (300, 340), 60.0)
    scene = large_scene(each, shape=shape, n_stars=12 if full else 4, margin_px=margin, seed=4)
    data = simulate_large_night(scene, tmp_path / "data")
    told = reduction(data.directory, tmp_path / "out", "1GB")
    check(told, len(data), scene.n_stars)
    size = 2 * shape[0] * shape[1] * len(data) / 1e9
    what = f"{len(data)} frames, {size:.3g} GB of pixels, workers of 1 GB: peak"
    record(Comparison(11, f"{what} of a worker", max(told["workers"]) / MIB, 1.0, LIMIT, "MiB"))
    record(Comparison(11, f"{what} of the client", told["client"] / MIB, 1.0, float("inf"), "MiB"))
    record(Comparison(11, f"{what}: wall time", told["seconds"]["photometry"], 1.0, float("inf"), "s"))


@pytest.mark.benchmark
@pytest.mark.timeout(900)
def test_a_night_of_three_times_a_workers_memory(tmp_path):
    cameras = (CameraSetup(filter="g"), CameraSetup(filter="r"), CameraSetup(filter="i"))
    scene = large_scene(120, cameras=cameras, n_stars=8, seed=5)
    data = simulate_large_night(scene, tmp_path / "data")
    on_disk = sum(path.stat().st_size for path in data.paths)
    assert on_disk < 0.05 * 2 * 2048 * 2048 * len(data)
    told = reduction(data.directory, tmp_path / "out", "1GB")
    check(told, len(data), scene.n_stars)
    assert max(told["workers"]) < LIMIT * MIB
