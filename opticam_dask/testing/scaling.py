"""A reduction on up to hundreds of workers, simulated: a real dask scheduler and client, tasks that wait."""

from __future__ import annotations

import math
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context

import dask.config
from distributed import Client, Scheduler, SpecCluster

from opticam_dask.io.blocks import FrameBlock, split_blocks
from opticam_dask.lazy.chunks import join_tasks, map_blocks_of_frames
from opticam_dask.lazy.stack import FAN_IN, merge_tree
from opticam_dask.runner import run_tasks
from opticam_dask.testing.fakes import frame_table
from opticam_dask.testing.stub_workers import QUIET, StubMerge, Work, serve, stub

CAMERAS = ("1:g", "2:r", "3:i")
N_SCOUTS = 24
ANCHOR_STEP = 32


@dataclass(frozen=True)
class Costs:
    """Times of a reduction's steps, as measured on one worker.

    Parameters
    ----------
    shape : (ny, nx)
        Shape of a frame.
    frame_bytes : float
        Bytes of a frame on disk.
    scout, anchor, track, measure : float
        Reading one frame and looking at it, in each step [s].
    merge : float
        Merging two partial stacks [s].
    serial : float
        What the client does for the catalogue of one camera, while no task of it runs [s].
    frames_per_block : int
        Frames of one task.
    """

    shape: tuple[int, int]
    frame_bytes: float
    scout: float
    anchor: float
    track: float
    measure: float
    merge: float
    serial: float
    frames_per_block: int

    @property
    def stack_bytes(self) -> int:
        """Size of a partial stack."""
        return 20 * self.shape[0] * self.shape[1]

    def stretched(self, factor: float) -> Costs:
        """Costs in a world as much slower, in which the simulation's own processor time counts for less."""
        names = ("scout", "anchor", "track", "measure", "merge", "serial")
        return replace(self, **{name: factor * getattr(self, name) for name in names})

    def work(self, seconds: float, block: FrameBlock) -> Work:
        """Cost of a block whose frames take so long each."""
        return Work(seconds * len(block), self.frame_bytes * len(block))


@dataclass(frozen=True)
class Simulated:
    """One simulated reduction.

    Parameters
    ----------
    workers, blocks : int
        Number of workers, and of blocks of frames (of all cameras).
    seconds : float
        Wall time of the reduction [s].
    work : float
        Time of all its tasks together on one worker, and of what the client does between [s].
    scheduler : float
        CPU time of scheduler and client in that time [s].
    stubs : float
        CPU time of the process of all the workers, which a cluster has more processors for [s].
    """

    workers: int
    blocks: int
    seconds: float
    work: float
    scheduler: float
    stubs: float

    @property
    def efficiency(self) -> float:
        """Speed-up over one worker, by the number of workers."""
        return self.work / (self.workers * self.seconds)

    @property
    def seconds_per_block(self) -> float:
        """CPU time of scheduler and client for a block, of both passes [s]."""
        return self.scheduler / self.blocks


def blocks_of_night(costs: Costs, blocks_per_camera: int) -> dict[str, list[FrameBlock]]:
    """Frames of three cameras as a scan finds them, in blocks."""
    night = {}
    for camera in CAMERAS:
        count = blocks_per_camera * costs.frames_per_block
        paths = [f"/archive/2024-01-01/240101{camera[2:]}{i:09d}o.fits.gz" for i in range(count)]
        rows = frame_table(paths, costs.shape, camera=camera)
        night[camera] = split_blocks(rows, frames_per_block=costs.frames_per_block)
    return night


def simulate(costs: Costs, n_workers: int, blocks_per_camera: int, bandwidth: float = math.inf) -> Simulated:
    """Run a reduction of three cameras, catalogues and photometry, with tasks that wait as long as told.

    Graphs, scheduler, client and messages are those of a reduction; the workers share a process apart.

    Parameters
    ----------
    costs : Costs
        What the steps take.
    n_workers, blocks_per_camera : int
        Size of the cluster and of the night.
    bandwidth : float
        Of the storage that all workers share [byte/s].
    """
    night = blocks_of_night(costs, blocks_per_camera)
    with cluster_of_stubs(n_workers, bandwidth) as client:
        run = partial(run_tasks, client, description="simulated", progress=False)
        begun, used, theirs = time.perf_counter(), time.process_time(), _cpu_of_stubs(client)
        _catalogues(night, costs, run)
        measure = partial(costs.work, costs.measure)
        run(join_tasks([map_blocks_of_frames(stub, blocks, measure) for blocks in night.values()]))
        seconds, used = time.perf_counter() - begun, time.process_time() - used
        theirs = _cpu_of_stubs(client) - theirs
    n_blocks = blocks_per_camera * len(CAMERAS)
    return Simulated(n_workers, n_blocks, seconds, total_work(costs, blocks_per_camera), used, theirs)


def _cpu_of_stubs(client: Client) -> float:
    one = next(iter(client.scheduler_info()["workers"]))
    return float(client.run(time.process_time, workers=[one])[one])


def _catalogues(night: dict[str, list[FrameBlock]], costs: Costs, run: Callable[..., list[object]]) -> None:
    """Catalogues of all cameras at once, a thread each; what the client does itself, it does in turns."""
    client_at_work = threading.Lock()

    def catalogue(blocks: list[FrameBlock]) -> None:
        scouts = [block.select(0) for block in _spread(blocks, N_SCOUTS)]
        run(map_blocks_of_frames(stub, scouts, partial(costs.work, costs.scout)))
        anchors = [block.select(slice(None, None, ANCHOR_STEP)) for block in blocks]
        run(map_blocks_of_frames(stub, anchors, partial(costs.work, costs.anchor)))
        tracked = map_blocks_of_frames(stub, blocks, partial(costs.work, costs.track))
        run(merge_tree(tracked, StubMerge(Work(costs.merge, 0.0, costs.stack_bytes))))
        with client_at_work:
            time.sleep(costs.serial)

    with ThreadPoolExecutor(len(night)) as pool:
        list(pool.map(catalogue, night.values()))


def _spread(blocks: list[FrameBlock], number: int) -> list[FrameBlock]:
    step = max(1, len(blocks) // number)
    return blocks[::step][:number]


def total_work(costs: Costs, blocks_per_camera: int) -> float:
    """Time of a reduction on one worker with its own storage [s]."""
    frames = blocks_per_camera * costs.frames_per_block
    anchors = blocks_per_camera * math.ceil(costs.frames_per_block / ANCHOR_STEP)
    tasks = frames * (costs.track + costs.measure) + anchors * costs.anchor
    tasks += min(N_SCOUTS, blocks_per_camera) * costs.scout + (blocks_per_camera - 1) * costs.merge
    return len(CAMERAS) * (tasks + costs.serial)


def total_read(costs: Costs, n_blocks: int) -> float:
    """Bytes that a reduction reads, but for the few frames read to begin with."""
    return 2.0 * n_blocks * costs.frames_per_block * costs.frame_bytes


def paper(
    costs: Costs, n_workers: int, blocks_per_camera: int, bandwidth: float, per_block: float
) -> tuple[float, str]:
    """Efficiency on paper, and what limits it.

    Tasks are shared evenly but for the last round of each pass; the client's own part, the levels of the
    tree of merges and one look at a few frames are serial; storage and scheduler set limits of their own.

    Parameters
    ----------
    costs, n_workers, blocks_per_camera, bandwidth
        As in `simulate`.
    per_block : float
        CPU time of scheduler and client for one block [s], of both passes.
    """
    n_blocks = len(CAMERAS) * blocks_per_camera
    work = total_work(costs, blocks_per_camera)
    serial = len(CAMERAS) * costs.serial + costs.scout
    serial += costs.merge * (FAN_IN - 1) * math.ceil(math.log(max(2, blocks_per_camera), FAN_IN))
    last_round = 0.5 * costs.frames_per_block * (costs.track + costs.measure)
    shared = (work - len(CAMERAS) * costs.serial) / n_workers + last_round * (n_workers > 1)
    limits = {
        "workers": shared,
        "storage": total_read(costs, n_blocks) / bandwidth,
        "scheduler": n_blocks * per_block,
    }
    what = max(limits, key=lambda name: limits[name])
    return work / (n_workers * (limits[what] + serial)), what


@contextmanager
def cluster_of_stubs(n_workers: int, bandwidth: float) -> Iterator[Client]:
    """Scheduler and client in this process, as a reduction has them, and waiting workers in another."""
    options = {"host": "127.0.0.1", "port": 0, "dashboard": False, "dashboard_address": "127.0.0.1:0"}
    with (
        dask.config.set(QUIET),
        tempfile.TemporaryDirectory() as scratch,
        SpecCluster(scheduler={"cls": Scheduler, "options": options}, silence_logs=50) as cluster,
        closing(Client(cluster)) as client,
    ):
        address = cluster.scheduler_address
        child = get_context("spawn").Process(
            target=serve, args=(address, n_workers, bandwidth, scratch), daemon=True
        )
        child.start()
        try:
            client.wait_for_workers(n_workers, timeout=120)
            yield client
        finally:
            child.terminate()
            child.join(timeout=30)
