"""Run the blocks of a lazy array on a cluster and bring the results back, in order."""

from __future__ import annotations

import time
from asyncio import CancelledError
from concurrent.futures import CancelledError as FutureCancelled
from contextlib import closing
from typing import Any

import dask.array as da
from distributed import Client, Future, as_completed, default_client, futures_of
from distributed.scheduler import KilledWorker
from tqdm import tqdm

from opticam_dask.config import retries
from opticam_dask.errors import ClusterError, OpticamError

# Fetching costs a round trip whatever the number of results: let short tasks gather for a moment [s].
_PAUSE = 0.05


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


def place_of(cluster: str | None) -> str:
    """Name where a run computes, for the record: an active client's scheduler, or what was asked for."""
    active = active_client()
    return cluster or "local" if active is None else str(active.scheduler_info()["address"])


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
        The n elements, in order.

    Raises
    ------
    OpticamError
        If a task fails on all its tries; the message says which. The other tasks are cancelled.
    ClusterError
        If the connection to the scheduler is lost.
    """
    if tasks.size == 0:
        return []
    futures = _submit(client, tasks)
    place = {future.key: i for i, future in enumerate(futures)}
    results: list[Any] = [None] * len(futures)
    bar = tqdm(total=len(futures), desc=description, unit="block", disable=not progress, leave=False)
    with closing(bar):
        try:
            for batch in as_completed(futures).batches():
                for future, value in zip(batch, _fetch(client, batch, place, description), strict=True):
                    results[place[future.key]] = value.item()
                    future.release()
                bar.update(len(batch))
                time.sleep(_PAUSE)
        except BaseException:
            # An error or Ctrl-C: what has not run yet need not.
            _cancel(client, futures)
            raise
    return results


def _submit(client: Client, tasks: da.Array) -> list[Future[Any]]:
    """Futures of the blocks, in order."""
    persisted = client.persist(tasks, retries=retries())
    by_key = {future.key: future for future in futures_of(persisted)}
    return [by_key[key] for key in persisted.__dask_keys__()]


def _fetch(client: Client, batch: list[Future[Any]], place: dict[Any, int], description: str) -> list[Any]:
    for future in batch:
        if future.status == "error":
            where = f"{description}: block {place[future.key] + 1} of {len(place)}"
            raise _failure(where, future.exception()) from future.exception()
    try:
        return list(client.gather(batch))
    except (CancelledError, FutureCancelled) as error:
        raise ClusterError(
            f"{description}: the connection to the dask scheduler was lost; run again"
        ) from error


def _failure(where: str, error: BaseException | None) -> OpticamError:
    if isinstance(error, KilledWorker):
        return ClusterError(
            f"{where}: its worker died again and again, most often for want of memory; "
            "give workers more, or set DASK_OPTICAM__BLOCK_BYTES to less"
        )
    text = str(error) or type(error).__name__
    return OpticamError(f"{where}: {text}" if isinstance(error, OpticamError) else f"{where}: {error!r}")


def _cancel(client: Client, futures: list[Future[Any]]) -> None:
    if client.status == "running":
        client.cancel([future for future in futures if not future.done()], force=True)
