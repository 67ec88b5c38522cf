"""A client of the cluster asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from distributed import Client

from opticam_dask.cluster import jobqueue, local, running
from opticam_dask.cluster.pages import check_bokeh, dashboard, performance_report
from opticam_dask.cluster_spec import JOBQUEUE, RUNNING, ClusterSpec, Place, Workers, refuse, spec_of
from opticam_dask.runner import existing_client


@contextmanager
def connect(
    cluster: Place = None,
    *,
    n_workers: Workers = None,
    threads_per_worker: int | None = None,
    memory_limit: str | int | None = None,
    dashboard: bool | None = None,
) -> Iterator[Client]:
    """Client of the cluster asked for; what was started here is closed at the end, nothing else is.

    Parameters
    ----------
    cluster : str, ClusterSpec or distributed.Client, optional
        Where to compute: `ClusterSpec` says all that may be asked for, a string its ``place``. None is the
        active client, or else ``local``.
    n_workers : int or (int, int), optional
        Worker processes, as `ClusterSpec.workers`. Not used with a client that exists already.
    threads_per_worker, memory_limit, dashboard : optional
        As `threads`, `memory` and `dashboard` of `ClusterSpec`.

    Yields
    ------
    distributed.Client

    Raises
    ------
    ClusterError
        If the cluster cannot be reached or started, or cannot do what is asked of it.
    """
    client, spec = resolve(
        cluster,
        n_workers=n_workers,
        threads=threads_per_worker,
        memory=memory_limit,
        dashboard=dashboard or None,
    )
    with ExitStack() as stack:
        yield open_client(stack, spec, client)


def resolve(cluster: Place, *, n_workers: Workers = None, **sizes: Any) -> tuple[Client | None, ClusterSpec]:
    """Find the client that exists already, if there is one to use, and all that is asked for.

    Raises
    ------
    ClusterError
        If what is asked for makes no sense.
    """
    exists = existing_client(cluster)
    # The number of processors of a script for one machine says nothing about a cluster that is there.
    workers = n_workers if exists is None else None
    return exists, spec_of(cluster, workers=workers, **sizes)


def open_client(stack: ExitStack, spec: ClusterSpec, client: Client | None = None) -> Client:
    """Client of a cluster, with its dashboard and report; what is started is left to `stack`.

    Parameters
    ----------
    stack : ExitStack
        Closes what is started here.
    spec : ClusterSpec
        What is asked for.
    client : distributed.Client, optional
        The client to use instead of starting anything.

    Returns
    -------
    distributed.Client

    Raises
    ------
    ClusterError
        If the cluster cannot be reached or started, or cannot do what is asked of it.
    """
    check_bokeh(spec)
    if client is not None:
        refuse(spec, RUNNING)
        running.wait_for(client, spec)
    elif spec.kind == JOBQUEUE:
        client = jobqueue.start(stack, spec)
    elif spec.kind == RUNNING:
        client = running.reach(stack, spec)
    else:
        client = local.start(stack, spec)
    if spec.dashboard:
        dashboard(client)
    if spec.performance_report is not None:
        performance_report(stack, client, spec.performance_report)
    return client
