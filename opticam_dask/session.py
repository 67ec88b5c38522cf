"""The cluster of one piece of work: started when it is needed, or while something else is done first."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from threading import Lock
from typing import TYPE_CHECKING, Any

from opticam_dask.cluster_spec import LOCAL, spec_of
from opticam_dask.workspace import announce

if TYPE_CHECKING:
    from types import TracebackType

    from distributed import Client

    from opticam_dask.cluster_spec import ClusterSpec, Place, Workers
    from opticam_dask.runner import Runner


class Session:
    """What the stages call to compute: ``session(tasks, description) -> list``; see `runner.run_tasks`.

    Parameters
    ----------
    cluster : str, ClusterSpec or distributed.Client, optional
        Where to compute, as for `opticam_dask.cluster.connect`.
    n_workers : int or (int, int), optional
        Worker processes to start. Not used with a client that exists already.
    progress : bool
        Whether to show a bar with rate and time left on stderr.
    """

    def __init__(self, cluster: Place = None, *, n_workers: Workers = None, progress: bool = True) -> None:
        self._spec = spec_of(cluster, workers=n_workers)
        self._cluster, self._n_workers, self._progress = cluster, n_workers, progress
        self._used = False
        self._lock = Lock()
        self._starting: Future[Runner] | None = None
        self._stop: Callable[[], object] = _nothing

    def begin(self) -> Future[Runner]:
        """Start the cluster in the background, once; what goes wrong is raised when it is needed."""
        from opticam_dask.cluster import resolve

        with self._lock:
            if self._starting is None:
                # Asked for here: what is active in this thread need not be so in another.
                client, spec = resolve(self._cluster, n_workers=self._n_workers)
                self._used = True
                thread, stack = ThreadPoolExecutor(1, thread_name_prefix="opticam-cluster"), ExitStack()
                self._stop = weakref.finalize(self, _stop, thread, stack)
                self._starting = thread.submit(_connect, stack, spec, client, self._progress)
            return self._starting

    def __call__(self, tasks: Any, description: str) -> list[Any]:
        """Results of the tasks, in order; starts the cluster unless that is done."""
        if not tasks.size:
            return []
        starting = self.begin()
        try:
            runner = starting.result()
        except BaseException:
            self.close()
            raise
        return runner(tasks, description)

    def close(self) -> None:
        """Stop what was started here, an active client excepted; the next tasks start it again."""
        with self._lock:
            self._stop()
            self._starting, self._stop = None, _nothing
        if self._spec.performance_report is not None and not self._used:
            announce("performance report: none, for nothing had to be computed")
            self._used = True

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _connect(stack: ExitStack, spec: ClusterSpec, client: Client | None, progress: bool) -> Runner:
    from opticam_dask.cluster import Runner, open_client

    if progress and client is None and spec.kind == LOCAL:
        _announce_compilation()
    return Runner(open_client(stack, spec, client), progress=progress)


def _announce_compilation() -> None:
    """Say why the first tasks take long, where workers will find nothing compiled."""
    from opticam_dask.kernel_cache import cache_folder, known_kernels

    if not known_kernels(cache_folder()).is_file():
        announce("first run of this version here: kernels are compiled, once, which takes about a minute")


def _stop(thread: ThreadPoolExecutor, stack: ExitStack) -> None:
    thread.shutdown(cancel_futures=True)
    stack.close()


def _nothing() -> None:
    """Stop nothing."""
