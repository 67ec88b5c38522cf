"""Blocks that fail for good: which tasks may, and what stands in place of their results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dask.highlevelgraph import HighLevelGraph, MaterializedLayer

from opticam_dask.lazy.objects import object_array

if TYPE_CHECKING:
    import dask.array as da

_ANNOTATION = "opticam_failures"
_STRICT, _LENIENT, _PATIENT = "strict", "lenient", "patient"


@dataclass(frozen=True)
class Failure:
    """Result of a block that failed on all its tries.

    Parameters
    ----------
    reason : str
        What happened, in one line.
    """

    reason: str


def going_on(tasks: da.Array, *, hopeful: bool = False) -> da.Array:
    """Tasks of which some may fail for good: `Failure` stands for their results, and the rest goes on.

    Parameters
    ----------
    tasks : dask.array.Array of object, shape (n,)
        One element a block.
    hopeful : bool
        Whether others of their kind have succeeded before. If not, and the first to end all fail, or every
        one does, then it is not the blocks, but settings or place: an error is raised all the same.

    Returns
    -------
    dask.array.Array
        The same tasks, with a note for `opticam_dask.runner.run_tasks`.
    """
    if not tasks.size:
        return tasks
    note = {_ANNOTATION: _PATIENT if hopeful else _LENIENT}
    layer = MaterializedLayer(dict(tasks.dask), annotations=note)
    graph = HighLevelGraph({tasks.name: layer}, {tasks.name: set()})
    return object_array(graph, tasks.name, tasks.size)


def leniency(tasks: Any) -> tuple[bool, bool]:
    """Whether tasks may fail for good, and whether even all of them may."""
    layer = getattr(tasks.dask, "layers", {}).get(tasks.name)
    note = ((layer.annotations if layer is not None else None) or {}).get(_ANNOTATION, _STRICT)
    return note != _STRICT, note == _PATIENT
