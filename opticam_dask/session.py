"""The cluster of one piece of work: started when it is needed, or while something else is done first."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from threading import Lock
from typing import TYPE_CHECKING, Any

from opticam_dask.runner import active_client

if TYPE_CHECKING:
    from types import TracebackType

    from distributed import Client

    from opticam_dask.runner import Runner


class Session:
    """What the stages call to compute: ``session(tasks, description) -> list``; see `runner.run_tasks`.

    Parameters
    ----------
    cluster : str, optional
        Where to compute, as for `opticam_dask.cluster.connect`.
    n_workers : int, optional
        Workers to start.
    progress : bool
        Whether to show a bar with rate and time left on stderr.
    """

    def __init__(
        self, cluster: str | None = None, *, n_workers: int | None = None, progress: bool = True
    ) -> None:
        self._cluster, self._n_workers, self._progress = cluster, n_workers, progress
        self._lock = Lock()
        self._starting: Future[Runner] | None = None
        self._stop: Callable[[], object] = _nothing

    def begin(self) -> Future[Runner]:
        """Start the cluster in the background, once; what goes wrong is raised when it is needed."""
        with self._lock:
            if self._starting is None:
                # Asked for here: what is active in this thread need not be so in another.
                active = active_client() if self._cluster is None else None
                thread, stack = ThreadPoolExecutor(1, thread_name_prefix="opticam-cluster"), ExitStack()
                self._stop = weakref.finalize(self, _stop, thread, stack)
                place = active or self._cluster
                self._starting = thread.submit(_connect, stack, place, self._n_workers, self._progress)
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

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _connect(stack: ExitStack, cluster: str | Client | None, n_workers: int | None, progress: bool) -> Runner:
    from opticam_dask.cluster import Runner, connect

    return Runner(stack.enter_context(connect(cluster, n_workers=n_workers)), progress=progress)


def _stop(thread: ThreadPoolExecutor, stack: ExitStack) -> None:
    thread.shutdown(cancel_futures=True)
    stack.close()


def _nothing() -> None:
    """Stop nothing."""
