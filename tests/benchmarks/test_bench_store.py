"""One star's curve out of 100 million rows: 50 nights, three cameras, 30 sources, parts of 128 frames."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from math import inf
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
import pyarrow as pa
import pytest

from opticam_dask.schema import LIGHT_CURVES
from opticam_dask.tables.compact import compact_dataset
from opticam_dask.tables.parts import existing_parts, in_order, part_path, write_part, write_rows
from opticam_dask.tables.store import dataset_root, light_curve
from opticam_dask.testing.benchmark import Comparison

N_SOURCES, PER_PART = 30, 128
CAMERAS = ("1:g", "2:r", "3:i")

_FRESH = """
import json, sys
from time import perf_counter
begun = perf_counter()
import pandas, pyarrow.dataset, pyarrow.parquet
from opticam_dask.tables.store import light_curve
imported = perf_counter()
n = len(light_curve(sys.argv[1], camera="1:g", source=7))
ended = perf_counter()
json.dump([imported - begun, ended - imported, n], sys.stdout)
"""


def rows(night: str, camera: str, n_frames: int, seed: int) -> pa.Table:
    """A night of realistic numbers: noise has as many digits as a measurement, so it compresses as badly."""
    rng = np.random.default_rng(seed)
    n, frame = n_frames * N_SOURCES, np.arange(n_frames)
    source = np.repeat(np.arange(1, N_SOURCES + 1, dtype=np.int32), n_frames)
    flux, xy = 10 ** rng.uniform(3, 5, N_SOURCES), rng.uniform(20, 490, (2, N_SOURCES))
    mjd = 60310.1 + seed // len(CAMERAS) + frame * 1.1574e-5
    noise = rng.normal(size=(5, n))
    columns = {
        "source": source,
        "frame": np.tile(frame, N_SOURCES),
        "MJD": np.tile(mjd, N_SOURCES),
        "BMJD": np.tile(mjd + 3e-4, N_SOURCES) + source * 1e-8,
        "flux": flux[source - 1] + noise[0] * np.sqrt(flux[source - 1]),
        "flux_err": np.sqrt(flux[source - 1]) * (1 + 0.02 * noise[1]),
        "bkg": 100 + 0.3 * noise[2],
        "bkg_err": 10 + 0.2 * noise[2] + 0.1 * noise[3],
        "x": xy[0][source - 1] + 0.05 * noise[3],
        "y": xy[1][source - 1] + 0.05 * noise[4],
        "fwhm": np.tile(rng.normal(4, 0.1, n_frames), N_SOURCES),
        "airmass": np.tile(1.2 + 1e-6 * frame, N_SOURCES),
        "exposure": np.full(n, 1.0),
        "flags": np.zeros(n, np.int32),
    }
    texts = {"night": night, "camera": camera, "filter": camera[2:]}
    columns |= {name: pa.repeat(pa.scalar(text), n) for name, text in texts.items()}
    return pa.table([pa.array(columns[f.name], f.type) for f in LIGHT_CURVES], schema=LIGHT_CURVES)


def write_night(job: tuple[Path, int, str, int]) -> int:
    """Write parts of the first camera as a reduction does; of the others, which no one reads, merged ones."""
    root, number, camera, n_frames = job
    night = f"2024-{1 + number // 28:02d}-{1 + number % 28:02d}"
    table = rows(night, camera, n_frames, len(CAMERAS) * number + CAMERAS.index(camera))
    size = PER_PART if camera == CAMERAS[0] else n_frames
    cube = np.arange(table.num_rows).reshape(N_SOURCES, n_frames)
    for start in range(0, n_frames, size):
        stop = min(start + size, n_frames)
        some = table if size == n_frames else table.take(pa.array(cube[:, start:stop].ravel()))
        write_part(some, root, (night, camera, start, stop), {"label": "optimal"})
    return table.num_rows


def generate(out: Path, n_nights: int, n_frames: int) -> int:
    """Write the dataset; returns its rows."""
    root = dataset_root(out, "optimal")
    jobs = [(root, number, camera, n_frames) for number in range(n_nights) for camera in CAMERAS]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return sum(pool.map(write_night, jobs))


def drop_caches(out: Path, everything: bool) -> str:
    """Empty the page cache: all of it where that is wanted and allowed, or else of each file."""
    os.sync()
    try:
        if everything:
            Path("/proc/sys/vm/drop_caches").write_text("3\n")
            return "all caches dropped"
    except OSError:
        pass
    for path in out.rglob("*.parquet"):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return "files' pages dropped"


def warm(out: Path, rounds: int) -> float:
    """Median seconds of a read, once everything was read before."""
    times = []
    for _ in range(rounds + 1):
        start = perf_counter()
        light_curve(out, camera=CAMERAS[0], source=7)
        times.append(perf_counter() - start)
    return float(np.median(times[1:]))


def cold(out: Path, rounds: int, full: bool) -> tuple[float, float, str]:
    """Median seconds of a read in a fresh process with nothing in the page cache; of its imports; and how."""
    found = []
    for _ in range(rounds):
        how = drop_caches(out, full)
        done = subprocess.run(
            [sys.executable, "-c", _FRESH, str(out)], check=True, capture_output=True, text=True
        )
        found.append(json.loads(done.stdout)[:2])
    imports, reading = np.median(found, axis=0)
    return float(reading), float(imports), how


def test_one_curve_of_a_hundred_million_rows(full, record, tmp_path):
    n_nights, n_frames, rounds = (50, 22_223, 5) if full else (2, 300, 1)
    n_rows = generate(tmp_path, n_nights, n_frames)
    assert n_rows == n_nights * n_frames * N_SOURCES * len(CAMERAS)
    root, what = dataset_root(tmp_path, "optimal"), f"{n_rows / 1e6:.3g} M rows"
    before, n_parts = light_curve(tmp_path, camera=CAMERAS[0], source=7), len(existing_parts(root))
    assert len(before) == n_nights * n_frames

    small = warm(tmp_path, 1), *cold(tmp_path, 1, full)
    start = perf_counter()
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        done = compact_dataset(
            root, run=lambda f, folders, root: list(pool.map(lambda x: f(x, root), folders))
        )
    seconds = perf_counter() - start
    assert all(one.after == 1 for one in done)
    assert light_curve(tmp_path, camera=CAMERAS[0], source=7).equals(before)
    merged = warm(tmp_path, rounds), *cold(tmp_path, min(rounds, 3), full)
    size = sum(path.stat().st_size for path in root.rglob("*.parquet"))

    def line(case, figure, goal, unit="s"):
        record(Comparison(11, case, figure, 1.0, goal, unit=unit))

    # A reduction merges its parts; what they cost before is told, and no goal.
    for text, figures, goals in (("merged", merged, (0.5, 2.0)), (f"{n_parts} parts", small, (inf, inf))):
        line(f"a curve of {what}, {text}, warm", figures[0], goals[0])
        line(f"same, {text}, cold ({figures[3]}), fresh process, without imports", figures[1], goals[1])
        line(f"same, {text}, cold, imports of pandas and pyarrow included", sum(figures[1:3]), goals[1])
    line(f"merging parts, per million rows, {len(done)} nights", seconds / (n_rows / 3e6), 2.0)
    line("bytes of a row", size / n_rows, 60.0, "B")


@pytest.mark.parametrize("n_frames", [128, 256])
def test_writing_a_part(full, record, tmp_path, n_frames):
    """CPU time of a part, against the measurement of 1 ms a frame that it follows."""
    table = rows("2024-01-01", "1:g", n_frames, 1)
    shuffled = table.take(np.random.default_rng(1).permutation(table.num_rows))
    key, times = ("2024-01-01", "1:g", 0, n_frames), []
    for _ in range(30 if full else 1):
        start = process_time()
        write_part(table, tmp_path / "light_curves", key)
        times.append(process_time() - start)
    stored = part_path(tmp_path / "light_curves", key).read_bytes()
    write_part(shuffled, tmp_path / "light_curves", key)
    assert part_path(tmp_path / "light_curves", key).read_bytes() == stored
    case = f"write a part of {n_frames} frames x {N_SOURCES} sources (CPU)"
    record(Comparison(11, case, 1e3 * float(np.median(times)), 1.0, 10.0))
    write_rows(in_order(table), tmp_path / "x.parquet")
