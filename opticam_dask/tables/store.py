"""Read the light-curve dataset."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from opticam_dask.errors import InputError
from opticam_dask.schema import LIGHT_CURVES, OBJECT_ID
from opticam_dask.tables.outdated import warn_of_outdated
from opticam_dask.tables.parts import PARTITIONS, camera_folders, parts_in
from opticam_dask.tables.reading import ORDER, camera_dataset, columns_in, first_part, read_sought
from opticam_dask.tables.records import METADATA

if TYPE_CHECKING:
    import dask.dataframe as dd
    import pandas as pd

_PARTITION_SCHEMA = pa.schema([LIGHT_CURVES.field(name).remove_metadata() for name in PARTITIONS])


def dataset_root(out: str | Path, label: str) -> Path:
    """Folder of the dataset of one photometer: ``out/lcs/<label>/light_curves``."""
    return Path(out) / "lcs" / label / "light_curves"


def labels(out: str | Path) -> list[str]:
    """Labels of the photometers whose light curves are in an output directory, sorted.

    Raises
    ------
    InputError
        If the directory does not exist.
    """
    if not Path(out).is_dir():
        raise InputError(f"{out}: no such directory; give the output directory of a reduction")
    return sorted(path.parent.name for path in Path(out).glob("lcs/*/light_curves") if path.is_dir())


def open_light_curves(out: str | Path, label: str | None = None) -> dd.DataFrame:
    """Open the light curves of a reduction or a survey lazily, all nights and cameras.

    Other programs read the dataset, ``root = "out/lcs/<label>/light_curves"``, as it is. These lines give
    equal values and equal types (``night`` and ``camera`` strings)::

        pandas    pd.read_parquet(root).astype({"night": "str", "camera": "str"})
        pyarrow   pyarrow.dataset.dataset(root, partitioning="hive").to_table()
        dask      dd.read_parquet(root).astype({"night": "str", "camera": "str"})
        duckdb    duckdb.sql(f"FROM read_parquet('{root}/**/*.parquet', hive_types_autocast=false)")
        polars    pl.read_parquet(root, try_parse_hive_dates=False)

    Without the option each still reads every row and column, but pandas and dask call ``night`` and
    ``camera`` categories, DuckDB and polars call ``night`` a date; pyarrow leaves the two out unless told
    ``"hive"``.

    Parameters
    ----------
    out : path
        Output directory of the reduction.
    label : str, optional
        Photometer, such as ``optimal_annulus``; needed only where there are several.

    Returns
    -------
    dask.dataframe.DataFrame
        Columns of `opticam_dask.schema.LIGHT_CURVES`, and ``object_id`` for a survey; a partition is one part
        or several. Flux is NaN only with a flag that says why.

    Raises
    ------
    InputError
        If there are no light curves, none of this label, or several labels and none was named.

    Warns
    -----
    OutdatedRowsWarning
        If rows of a survey were made of frames or catalogues that are no more.
    """
    import dask.dataframe as dd

    root = find_dataset(out, label)
    warn_of_outdated(root)
    partitioning = {"flavor": "hive", "schema": _PARTITION_SCHEMA}
    frame = dd.read_parquet(root, dataset={"partitioning": partitioning})
    chosen: dd.DataFrame = frame[columns_in(root).names]
    return chosen


def light_curve(
    out: str | Path,
    *,
    camera: str | None = None,
    source: int | None = None,
    object_id: str | None = None,
    night: str | None = None,
    label: str | None = None,
    columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Light curve of one source over all nights, sorted by time; or, of a survey, of one object.

    Source 3 of one night need not be that of the next: in a survey an ``object_id`` names the star.

    Parameters
    ----------
    out : path
        Output directory of the reduction, or of the survey.
    camera : str, optional
        ``'<arm>:<filter>'``, such as ``1:g``; needed with `source`, by default all for an object.
    source : int, optional
        ID in the camera's catalogue, from 1.
    object_id : str, optional
        Star of a survey, such as ``F001-0042``; give this or `source`.
    night : str, optional
        Local date of the evening, such as ``2024-01-01``; by default all.
    label : str, optional
        Photometer; needed only where there are several.
    columns : sequence of str, optional
        Columns to read; by default all of `opticam_dask.schema.LIGHT_CURVES`, and ``object_id``.

    Returns
    -------
    pandas.DataFrame
        One row per frame, of an object sorted by camera and time. Flux is NaN only with a flag that says why.

    Raises
    ------
    InputError
        If the camera, the source, the object or a column does not exist; the message lists those that do.

    Warns
    -----
    OutdatedRowsWarning
        If rows of a survey were made of frames or catalogues that are no more.
    """
    root = find_dataset(out, label)
    warn_of_outdated(root, night)
    there = columns_in(root).names
    names = list(columns) if columns is not None else there
    for name in names:
        _check_choice("column", name, there, root)
    if camera is not None:
        _check_choice("camera", camera, cameras(root), root)
    if object_id is not None and source is None:
        curve = _object_rows(root, object_id, camera, names, night)
    elif object_id is None and source is not None and camera is not None:
        curve = read_rows(root, camera, [source], names, night=night)
        if curve.num_rows == 0:
            known = ranges(sources(root, camera))
            raise InputError(f"{root}: no source {source} in camera {camera}; sources: {known}")
    else:
        raise InputError("a light curve needs camera= and source=, or the object_id= of a survey")
    table: pd.DataFrame = curve.to_pandas()
    return table


def _object_rows(
    root: Path, object_id: str, camera: str | None, columns: Sequence[str], night: str | None
) -> pa.Table:
    if OBJECT_ID.name not in columns_in(root).names:
        raise InputError(f"{root}: has no object IDs, a survey gives them; choose by camera= and source=")
    sought = pc.field(OBJECT_ID.name) == object_id
    chosen = cameras(root) if camera is None else [camera]
    # the number of its source is another one every night
    order = [name for name in ORDER if name != "source"]
    rows = pa.concat_tables(read_sought(root, each, sought, columns, night, order) for each in chosen)
    if rows.num_rows == 0:
        raise InputError(f"{root}: no object {object_id!r} there; objects.parquet beside 'lcs' lists them")
    return rows


def read_rows(
    root: str | Path, camera: str, wanted: Iterable[int], columns: Sequence[str], *, night: str | None = None
) -> pa.Table:
    """Rows of some sources of a camera over all nights, or one, sorted by source and time."""
    numbers = list(wanted)
    # bounds are what readers compare with the statistics of row groups
    lowest, highest = min(numbers, default=0), max(numbers, default=-1)
    sought = (pc.field("source") >= lowest) & (pc.field("source") <= highest)
    if len(numbers) > 1:
        sought &= pc.field("source").isin(numbers)
    return read_sought(root, camera, sought, columns, night)


def cameras(root: str | Path) -> list[str]:
    """Cameras with at least one part, sorted."""
    found: set[str] = set()
    for night, camera in camera_folders(root):
        if camera not in found and parts_in(root, night, camera):
            found.add(camera)
    return sorted(found)


def sources(root: str | Path, camera: str) -> list[int]:
    """IDs of the sources of a camera, sorted."""
    found: set[int] = set()
    for batch in camera_dataset(root, camera).scanner(columns=["source"]).to_batches():
        found.update(pc.unique(batch.column("source")).to_pylist())
    return sorted(found)


def flux_unit(root: str | Path) -> str:
    """Tell the unit of the fluxes of a dataset, 'adu' or 'electron'."""
    part = first_part(root)
    metadata = None if part is None else pq.read_schema(part).field("flux").metadata
    return str((metadata or {}).get(b"unit", b"adu"), "utf-8")


def provenance(root: str | Path) -> dict[str, str]:
    """Provenance stored in the first part; empty if the dataset has no part."""
    part = first_part(root)
    metadata = {} if part is None else pq.read_schema(part).metadata or {}
    return {name.decode(): text.decode() for name, text in metadata.items() if name != METADATA}


def ranges(numbers: Sequence[int]) -> str:
    """Sorted numbers as text: ``1-4, 7``."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in runs) or "none"


def find_dataset(out: str | Path, label: str | None) -> Path:
    """Folder of the light curves of a label, or of the only one there is.

    Raises
    ------
    InputError
        If there is none, or several and no label.
    """
    available = labels(out)
    if not available:
        raise InputError(f"{out}: no light curves; run the photometry first")
    if label is None and len(available) > 1:
        raise InputError(f"{out}: several sets of light curves; choose label= from: {', '.join(available)}")
    chosen = label or available[0]
    _check_choice("label", chosen, available, out)
    root = dataset_root(out, chosen)
    if not cameras(root):
        raise InputError(f"{root}: holds no light curves yet; run the photometry again to finish it")
    return root


def _check_choice(what: str, value: Any, available: Sequence[str], where: str | Path) -> None:
    if value not in available:
        raise InputError(f"{where}: no {what} {value!r}; there are: {', '.join(available)}")
