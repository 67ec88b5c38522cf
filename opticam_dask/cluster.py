"""Where the tasks run: an active client, processes of this machine, a running scheduler, or a batch queue."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import json
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import dask.config
from dask.system import CPU_COUNT
from distributed import Client, Scheduler, SpecCluster, Worker
from distributed.deploy.subprocess import SubprocessWorker
from distributed.worker_memory import parse_memory_limit

from opticam_dask.config import connect_timeout
from opticam_dask.errors import ClusterError
from opticam_dask.runner import Runner, active_client, run_tasks

__all__ = ["Runner", "connect", "run_tasks"]

logger = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
JOBQUEUES = {
    "htcondor": "HTCondorCluster",
    "lsf": "LSFCluster",
    "moab": "MoabCluster",
    "oar": "OARCluster",
    "pbs": "PBSCluster",
    "sge": "SGECluster",
    "slurm": "SLURMCluster",
}
_ACCEPTED = (
    "local, threads, a scheduler address such as tcp://host:8786, the path of a scheduler file, or one of "
    + ", ".join(JOBQUEUES)
)
# One process per core already fills the machine.
_ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "NUMEXPR_NUM_THREADS",
        "NUMBA_NUM_THREADS",
    ),
    "1",
)
# A failed task comes back as an exception; its worker need not print it as well, once for each try.
_LOG_LEVELS = {"logging": {"distributed": "error", "distributed.worker": "critical"}}


class _Worker(SubprocessWorker):
    """A worker process that never imports the user's script.

    ``multiprocessing`` would run the script again in each worker, so that one without
    ``if __name__ == "__main__"`` starts clusters without end.
    """

    async def _start(self) -> None:
        spec = json.dumps({"cls": self.worker_class, "opts": self.worker_kwargs})
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "dask", "spec", self.scheduler, "--spec", spec),
            env=_worker_environment(),
            stdin=asyncio.subprocess.DEVNULL,
            # Ctrl-C is for the client, which closes its workers.
            start_new_session=True,
        )


def _worker_environment() -> dict[str, str]:
    """Environment of a worker: one thread per library, the client's dask settings, quiet logs."""
    settings = dask.config.merge(dask.config.config, _LOG_LEVELS)
    return {**os.environ, **_ONE_THREAD, "DASK_INTERNAL_INHERIT_CONFIG": dask.config.serialize(settings)}


@contextmanager
def connect(
    cluster: str | Client | None = None,
    *,
    n_workers: int | None = None,
    threads_per_worker: int = 1,
    memory_limit: str | int = "auto",
    dashboard: bool = False,
) -> Iterator[Client]:
    """Client of the cluster asked for; what was started here is closed at the end, nothing else is.

    Parameters
    ----------
    cluster : str or distributed.Client, optional
        - None: the active ``distributed.Client`` as it is, or else ``local``
        - ``local``: processes of this machine, listening on loopback only
        - ``threads``: threads of this process, for small jobs
        - ``tcp://...``, ``tls://...``: a running scheduler; TLS settings are those of distributed
        - a path: the scheduler file of a running scheduler, such as dask-mpi writes
        - ``slurm``, ``pbs``, ...: dask-jobqueue, as its own configuration file says
    n_workers : int, optional
        Workers to start: one a core by default, needed for a batch queue. With a running scheduler, so
        many are waited for. Not used with an active client.
    threads_per_worker : int
        Threads of each worker started on this machine.
    memory_limit : str or int
        Memory of each worker started on this machine [byte], such as "1GB"; a worker beyond it is restarted.
        "auto" divides the machine's, or its control group's.
    dashboard : bool
        Whether to serve dask's dashboard on loopback; needs bokeh.

    Yields
    ------
    distributed.Client

    Raises
    ------
    ClusterError
        If the cluster cannot be reached or started, or is not one of those above.
    """
    with ExitStack() as stack:
        active = active_client() if cluster is None else cluster
        if isinstance(active, Client):
            yield active
        elif cluster in (None, "local", "threads"):
            _check_dashboard(dashboard)
            size = _size(n_workers, threads_per_worker, memory_limit)
            start = _threads if cluster == "threads" else _processes
            yield start(stack, *size, dashboard=dashboard)
        else:
            yield _remote(stack, str(cluster), n_workers)


def _size(n_workers: int | None, threads: int, memory_limit: str | int) -> tuple[int, int, int]:
    """Workers, threads of each, and memory of each [byte]; cores and memory as the control group allows."""
    n_workers = n_workers if n_workers is not None else max(1, CPU_COUNT // max(1, threads))
    if n_workers < 1 or threads < 1:
        raise ClusterError(f"a cluster needs at least one worker and thread, not {n_workers} and {threads}")
    try:
        limit = parse_memory_limit(memory_limit, threads, max(CPU_COUNT, n_workers * threads), logger=logger)
    except (ValueError, TypeError) as error:
        raise ClusterError(f"memory limit {memory_limit!r}: give bytes, such as '2GB', or 'auto'") from error
    return n_workers, threads, int(limit or 0)


def _check_dashboard(wanted: bool) -> None:
    if wanted and importlib.util.find_spec("bokeh") is None:
        raise ClusterError("the dashboard needs bokeh: pip install 'opticam-dask[dashboard]'")


def _processes(stack: ExitStack, n_workers: int, threads: int, memory: int, *, dashboard: bool) -> Client:
    """Worker processes under nannies, which restart one that dies or outgrows its memory."""
    options = {
        "host": LOOPBACK,
        "death_timeout": connect_timeout(),
        "nthreads": threads,
        "memory_limit": memory,
    }
    worker = {"cls": _Worker, "options": {"worker_class": "distributed.Nanny", "worker_kwargs": options}}
    return _start(stack, [worker] * n_workers, dashboard)


def _threads(stack: ExitStack, n_workers: int, threads: int, memory: int, *, dashboard: bool) -> Client:
    """One worker with threads in this process."""
    options = {"nthreads": n_workers * threads, "memory_limit": memory * n_workers, "host": LOOPBACK}
    worker = {"cls": Worker, "options": options}
    return _start(stack, [worker], dashboard)


def _start(stack: ExitStack, workers: list[dict[str, Any]], dashboard: bool) -> Client:
    """Scheduler in this process, workers as told, scratch space that is removed at the end."""
    scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="opticam-", ignore_cleanup_errors=True))
    # Status pages are served even with the dashboard off: on loopback, at any port.
    http = {"dashboard": dashboard, "dashboard_address": f"{LOOPBACK}:0"}
    for worker in workers:
        options = worker["options"].get("worker_kwargs") or worker["options"]
        options |= {"local_directory": scratch, **http}
    cluster = stack.enter_context(
        SpecCluster(
            workers=dict(enumerate(workers)),
            scheduler={"cls": Scheduler, "options": {"host": LOOPBACK, "port": 0, **http}},
            worker=workers[0],
            name="opticam",
            silence_logs=logging.ERROR,
        )
    )
    client: Client = stack.enter_context(closing(Client(cluster)))
    _wait(client, len(workers))
    if dashboard:
        logger.info("dashboard: %s", client.dashboard_link)
    return client


def _remote(stack: ExitStack, name: str, n_workers: int | None) -> Client:
    if name in JOBQUEUES:
        return _jobqueue(stack, name, n_workers)
    address = name if "://" in name else _address_in(Path(name))
    try:
        client: Client = stack.enter_context(closing(Client(address, timeout=connect_timeout())))
    except (OSError, ValueError, TypeError, KeyError, ImportError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ClusterError(f"cluster {name}: no scheduler could be reached ({reason})") from error
    if n_workers is not None:
        _wait(client, n_workers)
    return client


def _address_in(path: Path) -> str:
    """Address of the scheduler that wrote a scheduler file."""
    if not path.is_file():
        raise ClusterError(f"cluster '{path}' is not known, and no such file exists; give {_ACCEPTED}")
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["address"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ClusterError(f"{path}: is not a scheduler file, which names its address") from error


def _jobqueue(stack: ExitStack, name: str, n_workers: int | None) -> Client:
    """Cluster of a batch queue; cores, memory, queue and network interface come from jobqueue.yaml."""
    try:
        module = importlib.import_module("dask_jobqueue")
    except ImportError as error:
        raise ClusterError(
            f"cluster {name!r} needs dask-jobqueue: pip install 'opticam-dask[hpc]'"
        ) from error
    if n_workers is None:
        raise ClusterError(
            f"cluster {name!r}: say how many workers to ask the queue for (n_workers, --workers)"
        )
    try:
        cluster = stack.enter_context(getattr(module, JOBQUEUES[name])())
    except (ValueError, TypeError, OSError, RuntimeError) as error:
        raise ClusterError(f"cluster {name!r}: {error}; see ~/.config/dask/jobqueue.yaml") from error
    client: Client = stack.enter_context(closing(Client(cluster)))
    # Tasks start with the first worker; a queue may take hours to give the last.
    cluster.scale(n_workers)
    return client


def _wait(client: Client, n_workers: int) -> None:
    timeout = connect_timeout()
    try:
        client.wait_for_workers(n_workers, timeout=timeout)
    except TimeoutError as error:
        here = len(client.scheduler_info()["workers"])
        raise ClusterError(f"only {here} of {n_workers} workers came within {timeout:g} s") from error
