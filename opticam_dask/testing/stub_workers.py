"""Workers for a simulated cluster: real to the scheduler, but their tasks wait instead of computing.

Many of them share one process, apart from the scheduler's, so that their CPU time on one machine is not taken
for the scheduler's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any

import dask.config
from distributed import Worker

# what every worker does of its own accord, and a cluster has a processor for, is not to burden this one
QUIET = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.interval": "1h",
    "distributed.admin.tick.interval": "10s",
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
}


_LEAST = 1e-4  # duration of a task that only hands on [s]


@dataclass(frozen=True)
class Work:
    """What a task costs.

    Parameters
    ----------
    seconds : float
        Time on an idle machine, from the start to the end of a task [s].
    read : float
        Bytes it reads from the storage that all workers share.
    result : int
        Bytes of what it returns, as far as the scheduler knows; nothing of that size is made or sent.
    """

    seconds: float
    read: float = 0.0
    result: int = 0


class Result:
    """Stands for a result of some bytes."""

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes

    def __sizeof__(self) -> int:
        return self.nbytes


class Storage:
    """File server that gives so many bytes a second to all together, in the order of the requests."""

    def __init__(self, bandwidth: float) -> None:
        self.bandwidth = bandwidth
        self._free_at = 0.0

    def seconds(self, work: Work, now: float) -> float:
        """Time from now to the end of a task that begins now [s].

        With n tasks of b bytes and t seconds each under way, a task takes max(t, n b / bandwidth) on average.
        """
        self._free_at = max(self._free_at, now) + work.read / self.bandwidth
        return max(work.seconds, self._free_at - now)


class WaitingExecutor(Executor):
    """Runs a task at once, in no time, and gives its result when the work asked for would be done."""

    asked: Work | None = None

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call a function that runs a task."""
        future: Future[Any] = Future()
        WaitingExecutor.asked = None
        result = fn(*args, **kwargs)
        work = WaitingExecutor.asked or Work(_LEAST)
        delay = self.storage.seconds(work, time.monotonic())
        # the scheduler judges by what a task says of its time
        result["stop"] = result["start"] + delay
        asyncio.get_running_loop().call_later(delay, future.set_result, result)
        return future


def stub(block: Any, cost: Callable[[Any], Work]) -> Result:
    """Task that costs what ``cost(block)`` says."""
    return _asking(cost(block))


@dataclass(frozen=True)
class StubMerge:
    """Merges results of stubs, a tree of them."""

    work: Work

    def __call__(self, parts: list[Result]) -> Result:
        """One result of the same size."""
        return _asking(Work(self.work.seconds * (len(parts) - 1), 0.0, self.work.result))


def _asking(work: Work) -> Result:
    WaitingExecutor.asked = work
    return Result(work.result)


def serve(address: str, count: int, bandwidth: float, folder: str) -> None:
    """Run workers until the scheduler goes, in a process of their own.

    Parameters
    ----------
    address : str
        The scheduler.
    count : int
        Number of workers, of one thread each.
    bandwidth : float
        Of the storage they share [byte/s].
    folder : str
        Scratch space.
    """
    logging.disable(logging.CRITICAL)
    asyncio.run(_serve(address, count, bandwidth, folder))


async def _serve(address: str, count: int, bandwidth: float, folder: str) -> None:
    storage = Storage(bandwidth)
    with dask.config.set(QUIET):
        async with contextlib.AsyncExitStack() as stack:
            workers = [_worker(address, number, storage, folder) for number in range(count)]
            for first in range(0, count, 32):  # not all knock at once
                await asyncio.gather(*map(stack.enter_async_context, workers[first : first + 32]))
            await asyncio.gather(*(worker.finished() for worker in workers))


def _worker(address: str, number: int, storage: Storage, folder: str) -> Worker:
    return Worker(
        address,
        nthreads=1,
        name=f"stub-{number}",
        executor=WaitingExecutor(storage),
        memory_limit=0,
        host="127.0.0.1",
        dashboard=False,
        death_timeout=60,
        local_directory=folder,
    )
