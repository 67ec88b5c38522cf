"""Verify what a reduction has left on disk: tables, and the light curves of every label."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from opticam_dask.errors import InputError
from opticam_dask.io.frame_index import accepted, read_frames
from opticam_dask.tables.digest import digest, read_settings
from opticam_dask.tables.failures import not_aligned
from opticam_dask.tables.store import dataset_root, labels
from opticam_dask.tables.verify import AGAIN, Expected, Finding, Run, verify_dataset

if TYPE_CHECKING:
    import pandas as pd


def verify(out: str | Path, *, label: str | None = None, run: Run | None = None) -> list[Finding]:
    """Recompute checksums and row counts of a reduction, against its frame index and its catalogues.

    Parameters
    ----------
    out : path
        Output directory of a reduction.
    label : str, optional
        Set of light curves, such as ``optimal_annulus``; by default all.
    run : callable, optional
        As for `opticam_dask.tables.verify.verify_dataset`.

    Returns
    -------
    list of Finding
        One for each missing, doubled, torn or foreign part and each failed block; empty if all is well.

    Raises
    ------
    InputError
        If there is no frame index, or no such set of light curves.
    """
    root = Path(out)
    available = labels(root)
    if label is not None and label not in available:
        raise InputError(f"{root}: no label {label!r}; there are: {', '.join(available) or 'none'}")
    frames = accepted(read_frames(_frame_index(root)))
    findings = [Finding("failed", str(root), str(block), AGAIN) for block in not_aligned(root)]
    findings += _alignment(root, frames)
    expected, unreadable = _expected(root, frames)
    findings += unreadable
    for each in available if label is None else [label]:
        settings = read_settings(root / "lcs" / each / "settings.json")
        made_of = None if settings is None else digest(settings)
        findings += verify_dataset(dataset_root(root, each), expected, made_of=made_of, run=run)
    return findings


def _frame_index(root: Path) -> Path:
    path = root / "frames.parquet"
    if not path.is_file():
        raise InputError(f"{path}: no such file; give the output directory of a reduction")
    return path


def _alignment(root: Path, frames: pd.DataFrame) -> list[Finding]:
    """Whether every accepted frame has its row of the alignment table."""
    path = root / "alignment.parquet"
    if not path.is_file():
        return []
    try:
        rows = pq.read_table(path, columns=["night", "camera", "frame"]).to_pandas()
    except (OSError, pa.ArrowException) as error:
        detail = f"cannot be read ({str(error).splitlines()[0]})"
        return [Finding("unreadable", str(path), detail, "make the catalogues again with --overwrite")]
    columns = ["night", "camera", "frame"]
    known = set(rows[columns].itertuples(index=False, name=None))
    without = len(set(frames[columns].itertuples(index=False, name=None)) - known)
    if len(rows) != len(known):
        return [Finding("doubled", str(path), f"{len(rows) - len(known)} rows are there twice", AGAIN)]
    detail = f"no row of {without} of {len(frames)} accepted frames"
    return [Finding("missing", str(path), detail, AGAIN)] if without else []


def _expected(root: Path, frames: pd.DataFrame) -> tuple[dict[tuple[str, str], Expected], list[Finding]]:
    """Rows of each night and camera that has a catalogue; catalogues that cannot be read."""
    sources, findings = dict[str, int](), list[Finding]()
    for path in sorted((root / "cat").glob("*_catalog.ecsv")):
        try:
            camera, number = _sources_in(path)
            sources[camera] = number
        except (OSError, ValueError, KeyError) as error:
            detail = f"cannot be read ({str(error).splitlines()[0]})"
            remedy = "make the catalogues again with --overwrite"
            findings.append(Finding("unreadable", str(path), detail, remedy))
    expected = {
        (str(night), str(camera)): Expected(rows["frame"].to_numpy(), sources[str(camera)])
        for (night, camera), rows in frames.groupby(["night", "camera"], sort=True)
        if str(camera) in sources
    }
    return expected, findings


def _sources_in(path: Path) -> tuple[str, int]:
    """Camera of a catalogue, and its number of sources."""
    from astropy.table import Table

    table = Table.read(path, format="ascii.ecsv")
    return str(table.meta["camera"]), len(table)
