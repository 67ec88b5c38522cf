"""From 1 to 256 workers: costs measured here, a real scheduler, tasks that wait, and the same on paper."""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path

import dask
import numpy as np
import pytest
from dask.callbacks import Callback

import opticam_dask as opticam
from opticam_dask.testing.benchmark import Comparison
from opticam_dask.testing.scaling import CAMERAS, N_SCOUTS, Costs, paper, simulate, total_work

NIGHT = 1125  # blocks a camera of 864 000 frames of 512 x 512, three cameras: eight hours at 10 Hz
SERVER = 2e9  # what one file server gives [byte/s]


class Steps:
    """Stands for the cluster of a reducer: computes here, one task at a time, and keeps their CPU times."""

    def __init__(self):
        self.times, self.total, self._begun = {}, 0.0, {}

    def __call__(self, tasks, description):
        before = time.process_time()
        with dask.config.set(scheduler="sync"), Callback(pretask=self._start, posttask=self._end):
            results = list(tasks.compute())
        self.total += time.process_time() - before
        return results

    def _start(self, key, *_):
        self._begun[key] = time.process_time()

    def _end(self, key, *_):
        name = key[0] if isinstance(key, tuple) else key
        self.times.setdefault(name, []).append(time.process_time() - self._begun[key])

    def seconds(self, step):
        """CPU time of all the tasks of a step [s]."""
        return sum(t for name, times in self.times.items() if name.startswith(step) for t in times)

    def typical(self, step):
        """Median CPU time of one of its tasks [s]; 0 if there was none."""
        return float(
            np.median([t for n, times in self.times.items() if n.startswith(step) for t in times] or 0.0)
        )

    def close(self):
        """Nothing is to be stopped."""


def measured_costs(paths: list[str], out: Path, shape: tuple[int, int], per_block: int) -> Costs:
    """Costs of every step, of blocks of frames that are read, decoded, aligned, stacked and measured here."""
    annulus = opticam.DefaultLocalBackground()
    with dask.config.set({"opticam.frames-per-block": per_block}):
        reducer = opticam.Reducer(out, paths, verbose=False, show_plots=False, cluster="threads")
        reducer.close()
        reducer._run = Steps()
        reducer.create_catalogs(max_catalog_sources=30)  # compiles
        steps = reducer._run = Steps()
        begun = time.process_time()
        reducer.create_catalogs(max_catalog_sources=30, rotation_limit=90.0, overwrite=True)
        serial = time.process_time() - begun - steps.total
        for forced in (True, False):
            reducer.photometry(
                opticam.OptimalPhotometer(forced=forced, local_background_estimator=annulus), export_csv=False
            )

    full_detection = steps.seconds("scout_") / min(N_SCOUTS, len(paths))
    return Costs(
        shape=shape,
        frame_bytes=float(np.mean([Path(path).stat().st_size for path in paths])),
        scout=full_detection,
        anchor=full_detection,
        track=steps.seconds("track_") / len(paths),
        measure=steps.seconds("measure_") / (2 * len(paths)),
        merge=steps.typical("merge-tree"),
        serial=max(serial, 0.0),
        frames_per_block=per_block,
    )


CASES = [
    pytest.param((512, 512), "gz", 256, NIGHT, id="512"),
    pytest.param((2048, 2048), "none", 16, 5400, id="2048"),
]


@pytest.mark.parametrize(("shape", "compression", "per_block", "blocks"), CASES)
def test_many_workers(full, record, night, tmp_path, shape, compression, per_block, blocks):
    if not full:
        shape, per_block, blocks = (96, 128), 4, 6
    paths = night(2 * per_block if full else 8, shape, compression, **({} if full else {"n_stars": 6}))
    costs = measured_costs(paths, tmp_path / "out", shape, per_block)
    n_workers, rounds, stretch = (128, 6, 4.0) if full else (3, 1, 1.0)
    few = rounds * n_workers // len(CAMERAS)
    slow = costs.stretched(stretch)
    ran = simulate(slow, n_workers, few)
    assert ran.work == total_work(slow, few)
    assert ran.efficiency > 0
    name = f"{shape[0]} x {shape[1]} {compression}"
    foreseen, _ = paper(slow, n_workers, few, math.inf, ran.seconds_per_block)
    case = f"{name}: efficiency of {n_workers} workers, {rounds} blocks each, simulated / on paper"
    record(Comparison(13, case, ran.efficiency, foreseen, 0.85, unit="", at_least=True))
    lines = [
        f"\n{name}: one block {per_block} frames, tracked in {costs.track * per_block:.3g} s, measured in "
        f"{costs.measure * per_block:.3g} s; a merge {costs.merge:.3g} s, serial {costs.serial:.3g} s; "
        f"scheduler and client {1e3 * ran.seconds_per_block:.2g} ms a block (of two passes), workers' own "
        f"{1e3 * ran.stubs / ran.blocks:.2g} ms"
    ]
    for bandwidth, place in ((math.inf, "unlimited storage"), (SERVER, "2 GB/s for all")):
        for workers in (1, 8, 32, 64, 128, 256):
            share, limit = paper(costs, workers, blocks, bandwidth, ran.seconds_per_block)
            lines.append(f"{place:18s} {workers:4d} workers: efficiency {share:.3f}, limited by {limit}")
            if workers == 128 and bandwidth == math.inf:
                case = f"{name}: a night on {workers} workers, efficiency on paper, limit: {limit}"
                record(Comparison(13, case, share, 1.0, 0.9, unit="", at_least=True))
    if full:
        sys.stdout.write("\n".join(lines) + "\n")


def test_a_shared_server_is_what_limits_many_readers(full, record):
    costs = Costs((512, 512), 3e5, 0.02, 0.01, 0.004, 0.004, 0.004, 0.2, 32)
    n_workers, blocks = (64, 128) if full else (4, 8)
    bandwidth = 0.5 * n_workers * costs.frame_bytes / costs.track
    ran = simulate(costs, n_workers, blocks, bandwidth)
    foreseen, limit = paper(costs, n_workers, blocks, bandwidth, 0.0)
    assert limit == "storage"
    assert foreseen < 0.6
    assert ran.efficiency < 0.65
    case = f"{n_workers} workers that could read twice what the server gives, simulated / on paper"
    record(Comparison(13, case, ran.efficiency, foreseen, 0.85, unit="", at_least=True))
