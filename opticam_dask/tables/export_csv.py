"""CSV export of light curves, one file per source, with the columns `opticam` users read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from opticam_dask.tables.atomic import replacing
from opticam_dask.tables.store import read_rows

if TYPE_CHECKING:
    import pandas as pd

VALUES = ("flux", "flux_err", "bkg", "bkg_err")


def csv_path(out_dir: str | Path, camera: str, source: int) -> Path:
    """Name of the CSV of one source: ``<camera>_source_<id>.csv``."""
    return Path(out_dir) / f"{camera}_source_{source}.csv"


def export_camera(root: str | Path, out_dir: str | Path, camera: str, sources: Sequence[int]) -> list[Path]:
    """Write the light curves of some sources of a camera as CSV, over all nights.

    Columns are BMJD [d], flux, flux_err [adu], bkg, bkg_err [adu / pixel]; MJD stands in place of BMJD where
    there were no coordinates to barycentre with. Rows without a flux are left out; the dataset keeps them.
    Numbers read back to the same bits. Only the rows of the given sources are held in memory.

    Parameters
    ----------
    root : path
        The dataset, ``out/lcs/<label>/light_curves``.
    out_dir : path
        Folder of the CSV files.
    camera : str
        ``'<arm>:<filter>'``.
    sources : sequence of int
        Source IDs; one that has no row gets a file with the header alone.

    Returns
    -------
    list of Path
        The files, in the order of ``sources``. Each appears whole or not at all.
    """
    rows = read_rows(root, camera, sources, ["source", "BMJD", "MJD", *VALUES]).to_pandas()
    curves = dict(iter(rows.groupby("source")))
    return [
        _write(curves.get(source, rows.iloc[:0]), csv_path(out_dir, camera, source)) for source in sources
    ]


def _write(curve: pd.DataFrame, path: Path) -> Path:
    time = "MJD" if len(curve) and curve["BMJD"].isna().all() else "BMJD"
    kept = curve.dropna(subset=["flux"])
    with replacing(path) as temporary:
        kept.to_csv(temporary, columns=[time, *VALUES], index=False, lineterminator="\n")
    return path
