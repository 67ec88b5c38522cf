"""Workers of this machine: processes, or threads of this process; on loopback only."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import tempfile
from contextlib import ExitStack, closing
from typing import Any

import dask.config
from dask.system import CPU_COUNT
from distributed import Client, Scheduler, Security, SpecCluster, Worker
from distributed.deploy.subprocess import SubprocessWorker
from distributed.worker_memory import parse_memory_limit

from opticam_dask.cluster.running import wait_for
from opticam_dask.cluster.tuning import SAMPLING, SATURATION, tuned
from opticam_dask.cluster_spec import THREADS, ClusterSpec

logger = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
# Processes of a busy machine, or on a cold disk, take long to import what they need.
_START_S = 120.0
PRELOAD = "opticam_dask.preload"
# A failed task comes back as an exception; its worker need not print it as well, once for each try.
_LOG_LEVELS = {"logging": {"distributed": "error", "distributed.worker": "critical"}}
# What a worker needs beside results that wait: imports and kernels, and the frames in hand [byte].
_IN_USE = 5e8
# Above this share of its limit a worker's results are better on disk: sudden needs have the rest.
_FILLED = 0.7
# One process per core already fills the machine.
ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "NUMEXPR_NUM_THREADS",
        "NUMBA_NUM_THREADS",
    ),
    "1",
)


class _Worker(SubprocessWorker):
    """A worker process that never imports the user's script, and ends with this one.

    ``multiprocessing`` would run the script again in each worker, so that one without
    ``if __name__ == "__main__"`` starts clusters without end.
    """

    async def _start(self) -> None:
        # By its name the cluster knows a worker that is lost, or not needed any more.
        options = {**self.worker_kwargs, "name": self.name}
        spec = json.dumps({"cls": self.worker_class, "opts": options})
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "dask", "spec", self.scheduler, "--spec", spec),
            env=_worker_environment(self.worker_kwargs["memory_limit"]),
            # Nothing is ever written: its end is how a worker learns of ours, see `leash`.
            stdin=asyncio.subprocess.PIPE,
            # Ctrl-C is for the client, which closes its workers.
            start_new_session=True,
        )


def _worker_environment(memory: int) -> dict[str, str]:
    """Environment of a worker: one thread per library, the client's dask settings, quiet logs."""
    target = {"distributed": {"worker": {"memory": {"target": kept_in_memory(memory)}}}}
    settings = dask.config.merge(dask.config.config, _LOG_LEVELS, target)
    dask.config.set(tuned(SAMPLING), config=settings)
    return {**os.environ, **ONE_THREAD, "DASK_INTERNAL_INHERIT_CONFIG": dask.config.serialize(settings)}


def kept_in_memory(limit: int) -> float | bool:
    """Share of a worker's memory [byte] that results may take before they wait on disk; False is no limit.

    By dask's settings alone a worker of 1 GB keeps 600 MB of results, for which it has no room beside itself:
    it would be over its limit before the next look at its memory.
    """
    asked: float | bool = dask.config.get("distributed.worker.memory.target")
    return limit > 0 and asked and min(asked, max(0.1, _FILLED - _IN_USE / limit))


def start(stack: ExitStack, spec: ClusterSpec) -> Client:
    """Start a scheduler in this process and workers beside it, with scratch space that is removed again.

    Parameters
    ----------
    stack : ExitStack
        Closes what is started here.
    spec : ClusterSpec
        What is asked for: ``local`` or ``threads``.

    Returns
    -------
    distributed.Client

    Raises
    ------
    ClusterError
        If the workers do not come.
    """
    low, high = spec.limits or _one_a_core(spec.threads or 1)
    scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="opticam-", ignore_cleanup_errors=True))
    security = security_of_config()
    # Status pages are served even with the dashboard off: on loopback, at any port.
    listens = {"host": LOOPBACK, "dashboard": spec.dashboard, "dashboard_address": f"{LOOPBACK}:0"}
    common = {**listens, "local_directory": scratch}
    worker = _threads(spec, high, common) if spec.kind == THREADS else _process(spec, high, common)
    protocol = None if security is None else "tls://"
    scheduler = {**listens, "port": 0, "security": security, "protocol": protocol}
    with dask.config.set(tuned(SATURATION, SAMPLING)):
        cluster = SpecCluster(
            workers=dict.fromkeys(range(1 if spec.kind == THREADS else low), worker),
            scheduler={"cls": Scheduler, "options": scheduler},
            worker=worker,
            security=security,
            name="opticam",
            silence_logs=logging.ERROR,
        )
    stack.enter_context(cluster)
    _say_nothing_of_the_end()
    client: Client = stack.enter_context(closing(Client(cluster, set_as_default=False)))
    if spec.kind == THREADS:
        return client
    wait_for(client, ClusterSpec(workers=(low, high)), _START_S)
    # With equal limits too: a worker whose guardian is killed with it is replaced.
    cluster.adapt(minimum=low, maximum=high)
    return client


def _say_nothing_of_the_end() -> None:
    """Have dask not tell, with a traceback, that a connection ends with its cluster.

    It may come after the cluster has closed, which is when it stops to silence what dask has to say.
    """
    of_connections = logging.getLogger("distributed.batched")
    if of_connections.level == logging.NOTSET:
        of_connections.setLevel(logging.ERROR)


def _one_a_core(threads: int) -> tuple[int, int]:
    cores = max(1, CPU_COUNT // threads)
    return cores, cores


def security_of_config() -> Security | None:
    """TLS as dask's configuration asks for (``distributed.comm``); None if it does not."""
    security = Security()
    wanted = security.require_encryption or dask.config.get("distributed.comm.default-scheme") == "tls"
    return security if wanted else None


def _memory(spec: ClusterSpec, n_workers: int) -> int:
    """Memory of each worker [byte]; by default a share of what the machine or control group has."""
    threads = spec.threads or 1
    cores = max(CPU_COUNT, n_workers * threads)
    limit = "auto" if spec.memory is None else spec.memory
    return int(parse_memory_limit(limit, threads, cores, logger=logger) or 0)


def _process(spec: ClusterSpec, n_workers: int, common: dict[str, Any]) -> dict[str, Any]:
    """Worker under a nanny, which restarts one that dies or outgrows its memory."""
    options = {
        **common,
        "death_timeout": _START_S,
        "nthreads": spec.threads or 1,
        "memory_limit": _memory(spec, n_workers),
        "preload": [*dask.config.get("distributed.worker.preload"), PRELOAD],
        "preload_nanny": [*dask.config.get("distributed.nanny.preload"), "opticam_dask.leash"],
    }
    return {"cls": _Worker, "options": {"worker_class": "distributed.Nanny", "worker_kwargs": options}}


def _threads(spec: ClusterSpec, n_workers: int, common: dict[str, Any]) -> dict[str, Any]:
    """One worker with threads in this process."""
    sizes = {
        "nthreads": n_workers * (spec.threads or 1),
        "memory_limit": n_workers * _memory(spec, n_workers),
    }
    return {"cls": Worker, "options": {**common, **sizes}}
