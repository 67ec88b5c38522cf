"""What dask shows of a run: its dashboard while it lasts, a report when it ends."""

from __future__ import annotations

import importlib.util
import os
from contextlib import ExitStack
from pathlib import Path

import distributed
from distributed import Client

from opticam_dask.cluster_spec import ClusterSpec
from opticam_dask.errors import ClusterError, InputError
from opticam_dask.tables.atomic import replacing
from opticam_dask.workspace import announce

_INSTALL = "needs bokeh{}: pip install 'opticam-dask[dashboard]'"


def check_bokeh(spec: ClusterSpec) -> None:
    """Refuse what cannot be shown, before anything is started.

    Raises
    ------
    ClusterError
        If bokeh is not installed, or the report could not be written.
    """
    if importlib.util.find_spec("bokeh") is None:
        if spec.dashboard:
            raise ClusterError(f"the dashboard {_INSTALL.format('')}")
        if spec.performance_report is not None:
            raise ClusterError(f"the performance report {_INSTALL.format('')}")
    if spec.performance_report is not None:
        _check_writable(Path(spec.performance_report))


def _check_writable(path: Path) -> None:
    if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise ClusterError(f"performance report {path}: give a file in a folder that can be written to")


def dashboard(client: Client) -> None:
    """Print the address of the dashboard.

    Raises
    ------
    ClusterError
        If the scheduler serves none.
    """
    if not client.run_on_scheduler(_serves_dashboard):
        raise ClusterError(
            f"the scheduler at {client.scheduler_info()['address']} serves no dashboard; "
            "start it with bokeh, and without --no-dashboard"
        )
    announce(f"dashboard: {client.dashboard_link}")


def _serves_dashboard(dask_scheduler: distributed.Scheduler) -> bool:
    # The port answers either way: what is served there besides metrics is the dashboard.
    return bool(dask_scheduler.http_application.applications)


def performance_report(stack: ExitStack, client: Client, path: Path | str) -> None:
    """Write dask's report on all that runs from now on, when `stack` ends, whether well or not.

    Raises
    ------
    ClusterError
        If the scheduler has no bokeh.
    """
    if client.run_on_scheduler(importlib.util.find_spec, "bokeh") is None:
        raise ClusterError(f"the performance report {_INSTALL.format(' where the scheduler runs')}")
    report = distributed.performance_report()
    with client.as_current():
        report.__enter__()
    stack.callback(_finish, client, report, Path(path))


def _finish(client: Client, report: distributed.performance_report, path: Path) -> None:
    """Write the report; a run that went well does not fail for want of it, nor does one lose its error."""
    try:
        with replacing(path) as temporary, client.as_current():
            report.filename = str(temporary)
            report.__exit__(None, None, None)
    except (OSError, RuntimeError, ValueError, ImportError, InputError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        announce(f"performance report {path} could not be written: {reason}")
    else:
        announce(f"performance report: {path}")
