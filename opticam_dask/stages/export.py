"""Light curves to one CSV file per source, shared among the workers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from opticam_dask.config import export_csv_group
from opticam_dask.lazy.chunks import map_blocks_of_frames
from opticam_dask.tables.export_csv import csv_path, export_camera

if TYPE_CHECKING:
    from opticam_dask.catalog.model import CameraCatalog


def export_tasks(folder: Path, catalogs: dict[str, CameraCatalog], *, everything: bool) -> Any:
    """One task for each group of sources whose CSV files are to be written; None if there is nothing to do.

    Parameters
    ----------
    folder : Path
        Folder of a label, ``out/lcs/<label>``.
    catalogs : dict of str to CameraCatalog
        Catalogues by camera.
    everything : bool
        Write files that exist, too.
    """
    folder = folder.resolve()
    jobs = []
    for camera, catalog in catalogs.items():
        sources = [int(source) for source in catalog.table["source"]]
        todo = [s for s in sources if everything or not csv_path(folder, camera, s).is_file()]
        jobs += [(camera, chunk) for chunk in _chunks(todo, export_csv_group())]
    return map_blocks_of_frames(_export, jobs, folder) if jobs else None


def _export(job: tuple[str, list[int]], folder: Path) -> list[Path]:
    camera, sources = job
    return export_camera(folder / "light_curves", folder, camera, sources)


def _chunks(values: Any, size: int) -> list[Any]:
    return [values[start : start + size] for start in range(0, len(values), size)]
