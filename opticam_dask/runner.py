"""Run the blocks of a lazy array on a cluster and bring the results back, in order."""

from __future__ import annotations

import time
from asyncio import CancelledError
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError as FutureCancelled
from contextlib import contextmanager, suppress
from typing import Any

import dask.array as da
from distributed import Client, Future, as_completed, default_client, futures_of
from distributed.scheduler import KilledWorker

from opticam_dask.cluster_spec import ClusterSpec, Place
from opticam_dask.config import retries
from opticam_dask.errors import BlockFailedError, OpticamError, SchedulerLostError, WorkerKilledError
from opticam_dask.lazy.outcomes import Failure, leniency
from opticam_dask.progress import progress_bar

# Fetching costs a round trip whatever the number of results: let short tasks gather for a moment [s].
_PAUSE = 0.05
# Blocks that fail before one succeeds, all of them alike: what the user gave is wrong, not the blocks.
_IN_VAIN = 8


class Runner:
    """What the stages call to compute: ``runner(tasks, description) -> list``.

    Parameters
    ----------
    client : distributed.Client
        Where the tasks run.
    progress : bool
        Whether to show a bar with rate and time left on stderr.
    """

    def __init__(self, client: Client, progress: bool = True) -> None:
        self.client, self.progress = client, progress

    def __call__(self, tasks: da.Array, description: str) -> list[Any]:
        """Results of the tasks, in order; see `run_tasks`."""
        return run_tasks(self.client, tasks, description, progress=self.progress)


def place_of(cluster: Place) -> str:
    """Name where a run computes, for the record: a client's scheduler, or what was asked for."""
    client = existing_client(cluster)
    if client is None:
        return str(cluster or "local")
    with _connected(client, "cluster"):
        address = client.scheduler_info().get("address")
    if address is None:  # a client that has given up tells nothing
        raise _lost("cluster")
    return str(address)


def existing_client(cluster: Place) -> Client | None:
    """Client that need not be started: the one given, or the active one where no place is named."""
    place = cluster.place if isinstance(cluster, ClusterSpec) else cluster
    if isinstance(place, Client):
        return place
    return active_client() if place is None else None


def active_client() -> Client | None:
    """Client that the user has open in this thread."""
    try:
        client: Client = default_client()
    except ValueError:
        return None
    return client


def run_tasks(client: Client, tasks: da.Array, description: str, progress: bool = True) -> list[Any]:
    """Compute every block of a one-dimensional object array on the cluster.

    The graph is optimised and sent once. Each result is fetched as soon as it is there and forgotten by the
    workers, so that the cluster never holds them all.

    Parameters
    ----------
    client : distributed.Client
        Where the tasks run.
    tasks : dask.array.Array, shape (n,), object
        One element per block.
    description : str
        What is done, for the progress bar and for errors.
    progress : bool
        Whether to show a bar with rate and time left on stderr.

    Returns
    -------
    list
        The n elements, in order; a `Failure` in place of one that failed on all its tries, where the tasks
        are such as `opticam_dask.lazy.outcomes.going_on` gives. A block whose worker died again and again is
        tried once more when all others are done, alone: it may have shared workers with one that kills them.

    Raises
    ------
    OpticamError
        If a task fails on all its tries; the message says which. The other tasks are cancelled. Of tasks that
        may fail only if all do, or eight alike before one succeeds, or one raises an OpticamError: the
        user's input, or a place that cannot be written to, would stop every block.
    SchedulerLostError
        If the connection to the scheduler is lost.
    """
    if tasks.size == 0:
        return []
    with _connected(client, description):
        futures = _submit(client, tasks)
    outcome = _Outcome(client, futures, description, *leniency(tasks))
    with progress_bar(len(futures), description, "block", shown=progress) as bar:
        try:
            for batch in _batches(client, futures, description):
                outcome.take(batch)
                bar.update(len(batch))
            outcome.try_killed_again()
        except BaseException:
            # An error or Ctrl-C: what has not run yet need not.
            _cancel(client, futures)
            raise
    return outcome.results


def _batches(client: Client, futures: list[Future[Any]], description: str) -> Iterator[list[Future[Any]]]:
    """Yield the futures as they end, those of a moment together."""
    # The client need not be the default of the process: a user's own stays that.
    waiting = as_completed(futures, loop=client.loop)
    while not waiting.is_empty():
        if waiting.has_ready():
            yield waiting.next_batch(block=False)
        elif client.status == "closed":
            # Tasks that were sent while the connection broke would be waited for for ever.
            raise _lost(description)
        time.sleep(_PAUSE)


@contextmanager
def _connected(client: Client, description: str) -> Iterator[None]:
    """Tell in one line that the scheduler is out of reach, however dask notices it.

    A closed client cancels its futures; a request under way fails as its connection does, which may be
    long before the client's own is given up.
    """
    try:
        yield
    except (CancelledError, FutureCancelled, OSError) as error:
        raise _lost(description) from error
    except Exception as error:
        if client.status == "closed":
            raise _lost(description) from error
        raise


def _lost(description: str) -> SchedulerLostError:
    return SchedulerLostError(f"{description}: the connection to the dask scheduler was lost; run again")


def _submit(client: Client, tasks: da.Array) -> list[Future[Any]]:
    """Futures of the blocks, in order."""
    # First come, first served: cameras that took turns would each have partial stacks waiting to be merged.
    persisted = client.persist(tasks, retries=retries(), fifo_timeout="0 s")
    by_key = {future.key: future for future in futures_of(persisted)}
    return [by_key[key] for key in persisted.__dask_keys__()]


class _Outcome:
    """Results as they come, and what is made of failures."""

    def __init__(
        self, client: Client, futures: Sequence[Future[Any]], description: str, lenient: bool, patient: bool
    ) -> None:
        self.client, self.description, self.lenient, self.patient = client, description, lenient, patient
        self.place = {future.key: i for i, future in enumerate(futures)}
        self.results: list[Any] = [None] * len(futures)
        self.errors: dict[int, BaseException | None] = {}
        self.killed: list[Future[Any]] = []
        self.succeeded = 0

    def take(self, batch: Sequence[Future[Any]]) -> None:
        """Take what some futures gave."""
        good = []
        for future in batch:
            if future.status == "error":
                self._fail(future)
            else:
                good.append(future)
        for future, value in zip(good, self._fetch(good), strict=True):
            self.results[self.place[future.key]] = value.item()
            future.release()
        self.succeeded += len(good)
        self._check()

    def try_killed_again(self) -> None:
        """Give blocks whose workers died another try, one after the other."""
        for future in self.killed.copy():
            del self.errors[self.place[future.key]]
            with _connected(self.client, self.description):
                self.client.retry([future])
                future.exception()  # waits for the end
            self.take([future])

    def _fetch(self, good: list[Future[Any]]) -> list[Any]:
        with _connected(self.client, self.description):
            return list(self.client.gather(good))

    def _fail(self, future: Future[Any]) -> None:
        number, error = self.place[future.key], future.exception()
        if not self.lenient or isinstance(error, OpticamError):
            raise _failure(self._where(number), error) from error
        self.errors[number] = error
        self.results[number] = Failure(_reason(error))
        if isinstance(error, KilledWorker):
            self.killed.append(future)

    def _check(self) -> None:
        """Raise if nothing succeeds."""
        failed = len(self.errors)
        alike = len({type(error) for error in self.errors.values()}) == 1
        if (
            self.patient
            or self.succeeded
            or not (failed == len(self.results) or (alike and failed >= _IN_VAIN))
        ):
            return
        number = min(self.errors)
        more = f" (and {failed - 1} more, none succeeded)" if failed > 1 else ""
        raise _failure(self._where(number) + more, self.errors[number]) from self.errors[number]

    def _where(self, number: int) -> str:
        return f"{self.description}: block {number + 1} of {len(self.results)}"


def _failure(where: str, error: BaseException | None) -> OpticamError:
    if isinstance(error, KilledWorker):
        return WorkerKilledError(f"{where}: {_reason(error)}")
    if isinstance(error, OpticamError):
        return OpticamError(f"{where}: {str(error) or type(error).__name__}")
    return BlockFailedError(f"{where}: {error!r}")


def _reason(error: BaseException | None) -> str:
    """Say what happened to a block, in one line."""
    if isinstance(error, KilledWorker):
        return (
            "its worker died again and again, most often for want of memory; "
            "give workers more, or set DASK_OPTICAM__BLOCK_BYTES to less"
        )
    lines = str(error).splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}".rstrip(": ")


def _cancel(client: Client, futures: list[Future[Any]]) -> None:
    """Have the scheduler drop tasks, those that failed too: it would know them to fail for ever."""
    if client.status == "running":
        with suppress(OSError):
            client.cancel(futures, force=True)
