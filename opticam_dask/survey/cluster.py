"""The one cluster of a run, started when something has to be computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distributed import Client

    from opticam_dask.cluster_spec import Place
    from opticam_dask.session import Session


class SurveyCluster:
    """Cluster of all nights: ``cluster(tasks, description) -> list``.

    Parameters
    ----------
    place : str, ClusterSpec or distributed.Client, optional
        Where to compute, as for `opticam_dask.cluster.connect`.
    progress : bool
        Whether to show bars on stderr.
    """

    def __init__(self, place: Place, *, progress: bool) -> None:
        self._place, self._progress = place, progress
        self._session: Session | None = None

    @property
    def session(self) -> Session:
        """What starts the cluster."""
        if self._session is None:
            from opticam_dask.session import Session

            self._session = Session(self._place, progress=self._progress)
        return self._session

    def __call__(self, tasks: Any, description: str) -> list[Any]:
        """Results of the tasks, in order."""
        return self.session(tasks, description)

    def map_headers(self, func: Callable[..., Any], batches: Sequence[Any]) -> list[Any]:
        """Read headers: here if they are few, else on the cluster."""
        from opticam_dask.observation import header_mapper

        return header_mapper(self)(func, batches)

    def start(self) -> Client:
        """Start the cluster, unless that is done: every night is reduced with its client."""
        return self.session.begin().result().client

    def __enter__(self) -> SurveyCluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            self._session.close()
