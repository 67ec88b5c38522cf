"""A scheduler that runs already, at an address or named by a scheduler file."""

from __future__ import annotations

import json
from contextlib import ExitStack, closing
from pathlib import Path

from distributed import Client

from opticam_dask.cluster_spec import ACCEPTED, ClusterSpec
from opticam_dask.config import connect_timeout
from opticam_dask.errors import ClusterError


def reach(stack: ExitStack, spec: ClusterSpec) -> Client:
    """Client of a running scheduler, and as many workers as are waited for.

    Raises
    ------
    ClusterError
        If no scheduler answers, or workers do not come in time.
    """
    name = str(spec)
    address = name if "://" in name else _address_in(Path(name))
    try:
        client: Client = stack.enter_context(
            closing(Client(address, timeout=connect_timeout(), set_as_default=False))
        )
    except (OSError, ValueError, TypeError, KeyError, ImportError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ClusterError(f"cluster {name}: no scheduler could be reached ({reason})") from error
    wait_for(client, spec)
    return client


def wait_for(client: Client, spec: ClusterSpec, timeout: float | None = None) -> None:
    """Wait for the smallest number of workers asked for.

    Raises
    ------
    ClusterError
        If they do not come within the timeout [s], by default ``opticam.connect-timeout``.
    """
    n_workers = (spec.limits or (0, 0))[0]
    if not n_workers:
        return
    timeout = connect_timeout() if timeout is None else timeout
    try:
        client.wait_for_workers(n_workers, timeout=timeout)
    except TimeoutError as error:
        here = len(client.scheduler_info(n_workers=-1)["workers"])
        raise ClusterError(f"only {here} of {n_workers} workers came within {timeout:g} s") from error


def _address_in(path: Path) -> str:
    """Address of the scheduler that wrote a scheduler file."""
    if not path.is_file():
        raise ClusterError(f"cluster '{path}' is not known, and no such file exists; give {ACCEPTED}")
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["address"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ClusterError(f"{path}: is not a scheduler file, which names its address") from error
