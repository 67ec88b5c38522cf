"""The cluster of one piece of work: started when it is needed, or while something else is done first."""

from __future__ import annotations

import atexit
import weakref
from concurrent.futures import Future
from contextlib import ExitStack
from queue import SimpleQueue
from threading import Lock, Thread
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
        self._opened: _Opened | None = None

    def begin(self) -> Future[Runner]:
        """Start the cluster in the background, once; what goes wrong is raised when it is needed."""
        from opticam_dask.cluster import resolve

        with self._lock:
            if self._opened is None:
                # Asked for here: what is active in this thread need not be so in another.
                client, spec = resolve(self._cluster, n_workers=self._n_workers)
                self._used = True
                self._opened = _Opened(spec, client, self._progress)
                # If nobody closes it; at the end of the process `_Opened` itself does.
                weakref.finalize(self, self._opened.leave).atexit = False
            return self._opened.runner

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
            opened, self._opened = self._opened, None
            if opened is not None:
                opened.close()
        if self._spec.performance_report is not None and not self._used:
            announce("performance report: none, for nothing had to be computed")
            self._used = True

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Opened:
    """A cluster in the hands of a thread that starts it, and stops it when told to.

    A session that nobody closes is collected in any thread at any point, also where locks are held that
    other threads wait for, or in a cluster's own event loop: then nothing may be done but leave word.

    Parameters
    ----------
    spec, client, progress
        As for `_connect`.
    """

    def __init__(self, spec: ClusterSpec, client: Client | None, progress: bool) -> None:
        self.runner: Future[Runner] = Future()
        self._stopped: Future[None] = Future()
        self._words: SimpleQueue[None] = SimpleQueue()
        atexit.register(self.close)
        thread = Thread(target=self._live, args=(spec, client, progress), name="opticam-cluster", daemon=True)
        thread.start()

    def leave(self) -> None:
        """Have it stopped soon; this neither waits nor takes a lock."""
        self._words.put(None)

    def close(self) -> None:
        """Stop what was started, once that is done; what goes wrong is raised here."""
        self.leave()
        self._stopped.result()

    def _live(self, spec: ClusterSpec, client: Client | None, progress: bool) -> None:
        try:
            with ExitStack() as stack:
                try:
                    self.runner.set_result(_connect(stack, spec, client, progress))
                except BaseException as error:
                    self.runner.set_exception(error)
                del client
                self._words.get()
        except BaseException as error:
            self._stopped.set_exception(error)
        else:
            self._stopped.set_result(None)
        finally:
            atexit.unregister(self.close)


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
