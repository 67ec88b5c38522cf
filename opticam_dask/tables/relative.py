"""Read relative light curves, which lie beside the light curves they were made from.

Layout: ``lcs/<label>/relative/<name>/`` holds ``settings.json``, ``nights.parquet`` (zero points),
``comparisons.parquet`` (what became of each candidate), ``nights/`` (what was found out of each night, so
that it is not found out again), and ``light_curves/night=.../camera=.../part-0.parquet``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from opticam_dask.errors import InputError
from opticam_dask.schema import RELATIVE
from opticam_dask.tables.parts import PARTITIONS, camera_folder, camera_folders
from opticam_dask.tables.store import find_dataset

if TYPE_CHECKING:
    import dask.dataframe as dd
    import pandas as pd

PART = "part-0.parquet"
STORED = pa.schema([field for field in RELATIVE if field.name not in PARTITIONS])
"""Columns inside a file; the others are in the names of its folders."""

_PARTITION_SCHEMA = pa.schema([RELATIVE.field(name).remove_metadata() for name in PARTITIONS])


def relative_folder(out: str | Path, label: str, name: str) -> Path:
    """Folder of a set of relative light curves: ``out/lcs/<label>/relative/<name>``."""
    return Path(out) / "lcs" / label / "relative" / name


def relative_names(out: str | Path, label: str | None = None) -> list[str]:
    """Names of the relative light curves made from a photometer's light curves, sorted.

    Raises
    ------
    InputError
        If there are no light curves, or several labels and none was named.
    """
    root = find_dataset(out, label).parent / "relative"
    return sorted(path.parent.name for path in root.glob("*/light_curves"))


def open_relative_light_curves(out: str | Path, name: str, label: str | None = None) -> dd.DataFrame:
    """Open relative light curves lazily, all nights and cameras.

    Parameters
    ----------
    out : path
        Output directory of the reduction.
    name : str
        Their name, see `relative_names`.
    label : str, optional
        Photometer; needed only where there are several.

    Returns
    -------
    dask.dataframe.DataFrame
        Columns of `opticam_dask.schema.RELATIVE`; a partition is a night and camera, or several.

    Raises
    ------
    InputError
        If there are none of this name.
    """
    import dask.dataframe as dd

    root = _find(out, name, label) / "light_curves"
    partitioning = {"flavor": "hive", "schema": _PARTITION_SCHEMA}
    frame = dd.read_parquet(root, dataset={"partitioning": partitioning})
    chosen: dd.DataFrame = frame[RELATIVE.names]
    return chosen


def relative_light_curve(
    out: str | Path,
    name: str,
    *,
    camera: str,
    label: str | None = None,
    columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Relative light curve of one camera over all nights, sorted by time.

    Parameters
    ----------
    out : path
        Output directory of the reduction.
    name : str
        Name of the relative light curves.
    camera : str
        ``'<arm>:<filter>'``.
    label : str, optional
        Photometer; needed only where there are several.
    columns : sequence of str, optional
        Columns to read; by default all of `opticam_dask.schema.RELATIVE`.

    Returns
    -------
    pandas.DataFrame
        One row per frame; ``rel_flux`` is NaN only with a ``reason``.

    Raises
    ------
    InputError
        If there is no such name, camera, or column.
    """
    root = _find(out, name, label) / "light_curves"
    nights = [night for night, found in camera_folders(root) if found == camera]
    paths = {night: camera_folder(root, night, camera) / PART for night in nights}
    paths = {night: path for night, path in paths.items() if path.is_file()}
    if not paths:
        cameras = ", ".join(sorted({found for _, found in camera_folders(root)}))
        raise InputError(f"{root}: no camera {camera!r}; there are: {cameras or 'none'}")
    names = list(columns) if columns is not None else RELATIVE.names
    unknown = sorted(set(names) - set(RELATIVE.names))
    if unknown:
        raise InputError(f"{root}: no column {', '.join(unknown)}; there are: {', '.join(RELATIVE.names)}")
    rows = pa.concat_tables(_read(path, night, camera, [*names, "MJD"]) for night, path in paths.items())
    order = pc.sort_indices(rows, [("MJD", "ascending")])
    table: pd.DataFrame = rows.take(order).select(names).to_pandas()
    return table


def _read(path: Path, night: str, camera: str, names: Sequence[str]) -> pa.Table:
    wanted = [name for name in dict.fromkeys(names) if name in STORED.names]
    rows = pads.dataset(path, schema=STORED).to_table(columns=wanted)
    for name, value in (("night", night), ("camera", camera)):
        rows = rows.append_column(RELATIVE.field(name), pa.repeat(pa.scalar(value), rows.num_rows))
    return rows


def comparison_stars(out: str | Path, name: str, label: str | None = None) -> pd.DataFrame:
    """Read what became of each candidate for comparison, by night and camera.

    Returns
    -------
    pandas.DataFrame
        ``night, camera, source, star`` (its name on all nights), ``used``, ``reason`` (why not), ``flux``
        and ``flux_err`` (mean, counts per second at the night's median transparency), ``weight`` (mean share
        in the transparency), ``rms, expected, typical`` (relative scatter about the other stars; what errors
        account for; what is usual for its brightness), ``excess`` (scatter beyond errors), ``drift``,
        ``fast_sigma`` and ``slow_sigma`` (excess of scatter and drift over the usual, in standard errors),
        ``n_frames``.

    Raises
    ------
    InputError
        If there are no relative light curves of this name.
    """
    return _table(_find(out, name, label) / "comparisons.parquet")


def relative_nights(out: str | Path, name: str, label: str | None = None) -> pd.DataFrame:
    """Read the nights of relative light curves.

    Returns
    -------
    pandas.DataFrame
        ``night, camera, source`` (the target's ID), ``n_frames``, ``n_measured``, ``n_comparisons``,
        ``zero_point`` and ``zero_point_err`` (how much brighter than in the typical night its stars are; an
        error that all frames of the night share, and that is not in ``rel_flux_err``), ``reason``.

    Raises
    ------
    InputError
        If there are no relative light curves of this name.
    """
    return _table(_find(out, name, label) / "nights.parquet")


def _table(path: Path) -> pd.DataFrame:
    import pandas as pd

    if not path.is_file():
        raise InputError(f"{path}: not there; make the relative light curves again")
    return pd.read_parquet(path)


def _find(out: str | Path, name: str, label: str | None) -> Path:
    available = relative_names(out, label)
    if name not in available:
        raise InputError(
            f"{out}: no relative light curves {name!r}; there are: {', '.join(available) or 'none'}"
        )
    return find_dataset(out, label).parent / "relative" / name
