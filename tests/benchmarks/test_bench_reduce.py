"""A whole reduction as a user starts it, in fresh processes, against reading and decoding its files once."""

import json
import os
import subprocess
import sys
import time
from statistics import median

import psutil

from opticam_dask.simulate import Scene, simulate_night
from opticam_dask.testing.benchmark import Comparison

READ = """
import sys, time
from pathlib import Path
from opticam_dask.io.readers import read_image
paths = sorted(map(str, Path(sys.argv[1]).glob("*.fit.gz")))
read_image(paths[0])  # what is imported at the first frame is not reading
start = time.perf_counter()
for path in paths:
    read_image(path)
print(time.perf_counter() - start)
"""
ORIGINAL_CPU_MS = 367.0


def test_a_whole_reduction_from_a_cold_start(full, record, tmp_path):
    n_frames, shape, cameras, rounds = (1000, (512, 512), "gri", 3) if full else (12, (96, 128), "gr", 1)
    place = ["--workers", "2"] if full else ["--cluster", "threads", "--workers", "1"]
    folder = simulated(tmp_path, n_frames, shape, cameras)
    total = n_frames * len(cameras)
    if full:
        reduction(folder, tmp_path / "warm-up", place)  # kernels are compiled once per machine
    walls, cpu = [], []
    for number in range(rounds):
        out = tmp_path / f"out{number}"
        wall, used = reduction(folder, out, place)
        walls.append((wall, reading(folder)))
        cpu.append(1e3 * used / total)
        assert rows_of(out) == total
    ours, plain = (median(column) for column in zip(*walls, strict=True))
    what = f"reduce, {total} frames 512x512 .gz, 2 workers"
    record(
        Comparison(6, f"{what} / reading once", ours, plain, 5.0, "s", rounds=tuple(walls)),
    )
    record(Comparison(6, "CPU per frame of it, all processes", median(cpu), 1.0, 7.0))
    record(
        Comparison(6, "CPU per frame / the original's", median(cpu), ORIGINAL_CPU_MS, 7.0 / ORIGINAL_CPU_MS)
    )
    if full:
        first, _ = reduction(folder, tmp_path / "first", place, NUMBA_CACHE_DIR=str(tmp_path / "kernels"))
        record(Comparison(6, "the same, first on a machine: kernels compiled", first, plain, 5.0, "s"))


def simulated(tmp_path, n_frames, shape, cameras):
    scene = {"n_frames": n_frames, "shape": shape, "cameras": list(cameras), "margin_px": 8.0, "n_stars": 20}
    return simulate_night(
        Scene.from_mapping(scene | {"drift_px_per_hour": (30.0, -20.0)}), tmp_path / "night"
    ).directory


def reduction(folder, out, place, **environment):
    """Wall time and CPU time [s] of ``opticam-dask reduce``, with all the processes it starts."""
    main = "from opticam_dask.cli import main; main()"
    command = [sys.executable, "-c", main, "reduce", str(folder), str(out), *place]
    start, used = time.perf_counter(), {}
    out.mkdir()
    with (out / "messages").open("w+") as messages:
        process = psutil.Popen(
            command, env=os.environ | environment, stdout=messages, stderr=subprocess.STDOUT
        )
        while process.poll() is None:
            note_cpu(process, used)
            time.sleep(0.02)
        wall = time.perf_counter() - start
        messages.seek(0)
        assert process.returncode == 0, messages.read()
    return wall, sum(used.values())


def note_cpu(process, used):
    """CPU times of a process and its descendants; each counts as it was last seen."""
    try:
        everyone = [process, *process.children(recursive=True)]
    except psutil.Error:
        return
    for one in everyone:
        try:
            times = one.cpu_times()
        except psutil.Error:
            continue
        used[one.pid] = times.user + times.system


def reading(folder):
    """Seconds that a plain process takes to read and decode the files."""
    done = subprocess.run(
        [sys.executable, "-c", READ, str(folder)], check=True, capture_output=True, text=True
    )
    return float(json.loads(done.stdout))


def rows_of(out):
    """Frames that have rows."""
    import opticam_dask

    curves = opticam_dask.open_light_curves(out)
    return int(curves[curves["source"] == 1]["frame"].count().compute())
