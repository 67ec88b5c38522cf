"""What is asked of a cluster: where, how many workers, how large; checked before anything is started."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from dask.utils import parse_bytes

from opticam_dask.errors import ClusterError

if TYPE_CHECKING:
    from distributed import Client

JOBQUEUES = {
    "htcondor": "HTCondorCluster",
    "lsf": "LSFCluster",
    "moab": "MoabCluster",
    "oar": "OARCluster",
    "pbs": "PBSCluster",
    "sge": "SGECluster",
    "slurm": "SLURMCluster",
}
ACCEPTED = (
    "local, threads, a scheduler address such as tcp://host:8786, the path of a scheduler file, or one of "
    + ", ".join(JOBQUEUES)
)
LOCAL, THREADS, RUNNING, JOBQUEUE = "local", "threads", "running", "jobqueue"

Workers: TypeAlias = "int | tuple[int, int] | None"
Place: TypeAlias = "str | ClusterSpec | Client | None"


@dataclass(frozen=True, kw_only=True)
class ClusterSpec:
    """Where to compute, and with what.

    Parameters
    ----------
    place : str, optional
        - None: the active ``distributed.Client`` as it is, or else ``local``
        - ``local``: processes of this machine, listening on loopback only
        - ``threads``: threads of this process, for small jobs
        - ``tcp://...``, ``tls://...``: a running scheduler; TLS settings are those of distributed
        - a path: the scheduler file of a running scheduler, such as dask-mpi writes
        - ``slurm``, ``pbs``, ...: dask-jobqueue, as its own configuration file says
    workers : int or (int, int), optional
        Worker processes (for ``threads``, workers' worth of threads). A pair lets their number follow the
        work between two limits, on this machine or a batch queue. By default one a core of this machine;
        needed for a batch queue. With a running scheduler, so many are waited for.
    threads : int, optional
        Threads of each worker: one by default, or what ``jobqueue.yaml`` says.
    memory : str or int, optional
        Memory of each worker [byte], such as "2GB"; a process beyond it is restarted. By default an even
        share of this machine's or its control group's, or what ``jobqueue.yaml`` says.
    dashboard : bool
        Whether to serve dask's dashboard on loopback, and print its address; needs bokeh.
    performance_report : path, optional
        HTML file for dask's report on the run, written at its end even if it fails; needs bokeh.
    job_options : mapping
        More keywords of the dask-jobqueue class, such as ``{"queue": "long", "walltime": "2:00:00"}``.

    Raises
    ------
    ClusterError
        If a value makes no sense, or is none that this kind of cluster knows.
    """

    place: str | None = None
    workers: Workers = None
    threads: int | None = None
    memory: str | int | None = None
    dashboard: bool = False
    performance_report: Path | str | None = None
    job_options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_sizes(self.limits, self.threads)
        _check_memory(self.memory)
        refuse(self, self.kind)

    def __str__(self) -> str:
        return self.place or LOCAL

    @property
    def kind(self) -> str:
        """Kind of cluster: local, threads, running or jobqueue."""
        if self.place in (None, LOCAL):
            return LOCAL
        if self.place == THREADS:
            return THREADS
        return JOBQUEUE if self.place in JOBQUEUES else RUNNING

    @property
    def adaptive(self) -> bool:
        """Whether the number of workers follows the work."""
        return isinstance(self.workers, tuple)

    @property
    def limits(self) -> tuple[int, int] | None:
        """Smallest and largest number of workers; None if none is asked for."""
        return (self.workers, self.workers) if isinstance(self.workers, int) else self.workers


def spec_of(cluster: Place, **given: Any) -> ClusterSpec:
    """Complete what was asked for by keywords; None is a keyword that was not given.

    Raises
    ------
    ClusterError
        If a value makes no sense, or is asked for twice.
    """
    given = {name: value for name, value in given.items() if value is not None}
    if not isinstance(cluster, ClusterSpec):
        return ClusterSpec(place=cluster if isinstance(cluster, str) else None, **given)
    for name, value in given.items():
        if getattr(cluster, name) not in (None, value):
            raise ClusterError(f"cluster: {name} is asked for twice: {getattr(cluster, name)} and {value}")
    return replace(cluster, **given)


def parse_workers(text: str) -> int | tuple[int, int]:
    """Read ``N`` or ``MIN:MAX``.

    Raises
    ------
    ValueError
        If it is neither.
    """
    low, colon, high = text.partition(":")
    return (int(low), int(high)) if colon else int(low)


def refuse(spec: ClusterSpec, kind: str) -> None:
    """Refuse what this kind of cluster cannot do.

    Raises
    ------
    ClusterError
        For the first such wish, with what to do instead.
    """
    where = f"cluster {spec.place!r}" if spec.place else "the active client"
    fixed = {
        "workers as MIN:MAX": (spec.adaptive, "its own configuration decides how it grows"),
        "threads": (spec.threads is not None, "give --nthreads to dask worker"),
        "memory": (spec.memory is not None, "give --memory-limit to dask worker"),
    }
    if kind == RUNNING:
        for name, (asked, remedy) in fixed.items():
            if asked:
                raise ClusterError(f"{where} runs already, so {name} cannot be chosen here; {remedy}")
    if kind == THREADS and spec.adaptive:
        raise ClusterError("cluster 'threads' has a fixed size: give workers as one number, or use local")
    if kind != JOBQUEUE and spec.job_options:
        raise ClusterError(f"job_options are for batch queues ({', '.join(JOBQUEUES)}), not for {spec}")
    if kind == JOBQUEUE:
        _check_jobqueue(spec)


def _check_jobqueue(spec: ClusterSpec) -> None:
    if spec.workers is None:
        raise ClusterError(
            f"cluster {spec.place!r}: say how many workers to ask the queue for (n_workers, --workers)"
        )
    if spec.memory == "auto":
        raise ClusterError(f"cluster {spec.place!r}: memory 'auto' is for this machine; give bytes")


def _check_sizes(limits: tuple[int, int] | None, threads: int | None) -> None:
    low, high = limits or (1, 1)
    least = 1 if threads is None else threads
    if high < 1 or least < 1:
        raise ClusterError(f"a cluster needs at least one worker and thread, not {high} and {least}")
    if not 0 <= low <= high:
        raise ClusterError(f"workers {low}:{high}: give MIN:MAX with 0 <= MIN <= MAX")


def _check_memory(memory: str | int | None) -> None:
    if memory in (None, "auto"):
        return
    try:
        fits = parse_bytes(memory) >= 0
    except (ValueError, TypeError):
        fits = False
    if not fits:
        raise ClusterError(f"memory limit {memory!r}: give bytes, such as '2GB', or 'auto'")
