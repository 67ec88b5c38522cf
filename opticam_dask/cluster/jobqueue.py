"""Workers from a batch queue, by dask-jobqueue and the configuration its users already have."""

from __future__ import annotations

import importlib
import math
import shutil
import signal
from contextlib import ExitStack, closing
from types import ModuleType
from typing import Any
from unittest.mock import patch

import dask.config
from dask.utils import parse_bytes
from distributed import Client, Status
from distributed.deploy.utils import nprocesses_nthreads

from opticam_dask.cluster.local import LOOPBACK, ONE_THREAD, PRELOAD, security_of_config
from opticam_dask.cluster.tuning import SAMPLING, tuned
from opticam_dask.cluster_spec import JOBQUEUES, ClusterSpec
from opticam_dask.errors import ClusterError
from opticam_dask.workspace import announce


def start(stack: ExitStack, spec: ClusterSpec) -> Client:
    """Start a scheduler here and ask the queue for jobs; tasks start with the first worker that comes.

    What ``jobqueue.yaml`` says holds; what `spec` says about size and job options comes before it. Preload
    and thread counts of ours are added to the user's own lists.

    Parameters
    ----------
    stack : ExitStack
        Cancels the jobs and closes the rest.
    spec : ClusterSpec
        What is asked for.

    Returns
    -------
    distributed.Client

    Raises
    ------
    ClusterError
        If dask-jobqueue is missing or not configured, or the queue refuses the jobs.
    """
    name = str(spec)
    kind = getattr(_package(name), JOBQUEUES[name])
    command = str(kind.job_cls.submit_command).split()[0]
    if shutil.which(command) is None:
        raise ClusterError(f"cluster {name!r}: there is no {command} on this machine to submit jobs with")
    options = _options(spec)
    if options["cores"] is None or options["memory"] is None:
        raise ClusterError(
            f"cluster {name!r}: cores and memory of a job are not known; give --threads and --memory, or "
            f"jobqueue.{name}.cores and .memory in ~/.config/dask/jobqueue.yaml"
        )
    try:
        cluster = stack.enter_context(kind(**options))
    except (ValueError, TypeError, OSError, RuntimeError) as error:
        raise ClusterError(
            f"cluster {name!r}: {_one_line(error)}; see ~/.config/dask/jobqueue.yaml"
        ) from error
    client: Client = stack.enter_context(closing(Client(cluster, set_as_default=False)))
    _submit(cluster, spec, options["processes"])
    return client


def _package(name: str) -> ModuleType:
    try:
        # As it is imported, dask-jobqueue 0.9 has Ctrl-C end the process with exit code 0, and fails outside
        # the main thread, where none may say so.
        with patch.object(signal, "signal"):
            return importlib.import_module("dask_jobqueue")
    except ImportError as error:
        raise ClusterError(
            f"cluster {name!r} needs dask-jobqueue: pip install 'opticam-dask[hpc]'"
        ) from error


def _submit(cluster: Any, spec: ClusterSpec, processes: int) -> None:
    """Ask for the jobs, and say at once what the queue refuses."""
    # A job is all its processes or none.
    low, high = (processes * math.ceil(limit / processes) for limit in spec.limits or (1, 1))
    try:
        cluster.sync(_first_jobs, cluster, max(low // processes, 1))
    except (RuntimeError, OSError, ValueError) as error:
        raise ClusterError(f"cluster {str(spec)!r}: the job was refused: {_one_line(error)}") from error
    # With equal limits too: a job that is cancelled or runs out of time is replaced.
    cluster.adapt(minimum=low, maximum=high)
    jobs = " to ".join(str(limit // processes) for limit in sorted({low, high}))
    announce(f"{spec}: jobs: {jobs}, worker processes in each: {processes}; they start when the queue says")


async def _first_jobs(cluster: Any, number: int) -> None:
    """Submit jobs; other than with ``cluster.scale``, an error comes back instead of being logged."""
    for _ in range(number):
        cluster.worker_spec.update(cluster.new_worker_spec())
    try:
        await cluster
    except BaseException:
        for job in cluster.workers.values():
            if job.status == Status.created:
                # Never submitted: there is nothing to close.
                job.status = Status.failed
        raise


def _options(spec: ClusterSpec) -> dict[str, Any]:
    """Keywords of the dask-jobqueue class."""
    given = dict(spec.job_options)
    section = {**dask.config.get(f"jobqueue.{given.get('config_name', spec)}", {})}

    def theirs(*names: str) -> Any:
        """Read what the user says: by keyword, or in the file under a newer or an older name."""
        found = [given.get(name.replace("-", "_")) or section.get(name) for name in names]
        return next((value for value in found if value), None)

    cores = theirs("cores")
    processes = int(
        theirs("processes") or (1 if spec.threads or not cores else nprocesses_nthreads(cores)[0])
    )
    security = security_of_config()
    return {
        **given,
        "cores": spec.threads * processes if spec.threads else cores,
        "memory": _job_memory(spec, processes) or theirs("memory"),
        # Said even where the file says it: only so does dask-jobqueue know the workers of a job by name.
        "processes": processes,
        "security": security,
        "protocol": given.get("protocol") or (None if security is None else "tls://"),
        "scheduler_options": {
            # Workers must reach the scheduler, so it listens where jobqueue.yaml says; its pages need not.
            "dashboard": spec.dashboard,
            "dashboard_address": f"{LOOPBACK}:0",
            **(theirs("scheduler-options") or {}),
        },
        "job_script_prologue": [
            *(f"export {name}={value}" for name, value in ONE_THREAD.items()),
            *(f"export {_variable(name)}={value}" for name, value in tuned(SAMPLING).items()),
            *(theirs("job-script-prologue", "env-extra") or ()),
        ],
        "worker_extra_args": _worker_arguments(list(theirs("worker-extra-args", "extra") or ())),
    }


def _variable(setting: str) -> str:
    """Environment variable that dask reads a setting from."""
    return "DASK_" + setting.upper().replace("-", "_").replace(".", "__")


def _job_memory(spec: ClusterSpec, processes: int) -> str | None:
    """Memory of a job that gives each of its processes what was asked for."""
    if spec.memory is None:
        return None
    return f"{parse_bytes(spec.memory) * processes} B"


def _worker_arguments(theirs: list[str]) -> list[str]:
    preloads = [*dask.config.get("distributed.worker.preload"), PRELOAD]
    ours = [part for name in preloads for part in ("--preload", name)]
    if not any("dashboard" in argument for argument in theirs):
        ours += ["--dashboard-address", f"{LOOPBACK}:0"]
    return [*theirs, *ours]


def _one_line(error: BaseException) -> str:
    """Last line of a message, where commands say what was wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
