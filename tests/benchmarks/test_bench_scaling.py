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
from opticam_dask.testing.scaling import ANCHOR_STEP, CAMERAS, Costs, paper, simulate, total_work

NIGHT = 2250  # blocks a camera of 864 000 frames of 512 x 512, three cameras: eight hours at 10 Hz
SERVER = 2e9  # what one file server gives [byte/s]


class Timed(opticam.Reducer):
    """Reducer that computes here, one task after the other, and keeps the CPU time of each."""

    def _run(self, tasks, description):
        steps, begun = self.__dict__.setdefault("steps", {}), {}

        def start(key, *_):
            begun[key] = time.process_time()

        def end(key, *_):
            name = (key[0] if isinstance(key, tuple) else key).rpartition("-")[0]
            steps.setdefault(name, []).append(time.process_time() - begun[key])

        before = time.process_time()
        with dask.config.set(scheduler="sync"), Callback(pretask=start, posttask=end):
            results = list(tasks.compute())
        self.in_tasks = getattr(self, "in_tasks", 0.0) + time.process_time() - before
        return results


def measured_costs(paths: list[str], out: Path, shape: tuple[int, int], per_block: int) -> Costs:
    """Costs of every step, of blocks of frames that are read, decoded, aligned, stacked and measured here."""
    annulus = opticam.DefaultLocalBackground()
    with dask.config.set({"opticam.frames-per-block": per_block}):
        reducer = Timed(out, paths, verbose=False, show_plots=False)
        reducer.in_tasks = 0.0
        reducer.create_catalogs(max_catalog_sources=30)  # compiles
        reducer.steps, reducer.in_tasks, begun = {}, 0.0, time.process_time()
        reducer.create_catalogs(max_catalog_sources=30, rotation_limit=90.0, overwrite=True)
        serial = time.process_time() - begun - reducer.in_tasks
        for forced in (True, False):
            reducer.photometry(
                opticam.OptimalPhotometer(forced=forced, local_background_estimator=annulus), export_csv=False
            )
        reducer.close()

    def typical(name: str) -> float:
        return float(np.median(next(times for step, times in reducer.steps.items() if name in step)))

    n_anchors = math.ceil(per_block / ANCHOR_STEP)
    return Costs(
        shape=shape,
        frame_bytes=float(np.mean([Path(path).stat().st_size for path in paths])),
        scout=typical("scout_block"),
        anchor=typical("anchor_block") / n_anchors,
        track=typical("track_block") / per_block,
        measure=typical("measure_block") / per_block,
        merge=typical("merge-tree"),
        serial=max(serial, 0.0),
        frames_per_block=per_block,
    )


CASES = [
    pytest.param((512, 512), "gz", 128, NIGHT, id="512"),
    pytest.param((2048, 2048), "none", 8, 10_800, id="2048"),
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
