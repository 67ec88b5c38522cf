"""Files that users of `opticam` know: a CSV file and figures of each relative light curve."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from opticam_dask.differential.make import Made, Request
from opticam_dask.plotting.differential import comparisons_figure, relative_figure
from opticam_dask.plotting.style import save_figure, show_in_notebook
from opticam_dask.tables.atomic import replacing
from opticam_dask.tables.store import find_dataset, flux_unit

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

_MOST_CSV_ROWS = 2_000_000


def export(
    request: Request, made: Made, tables: Mapping[str, pd.DataFrame], *, diagnostics: bool, show: bool
) -> str:
    """Write CSV files and figures into ``relative_light_curves/<label>``, and say so.

    Parameters
    ----------
    request : Request
        What was asked for.
    made : Made
        Comparison stars.
    tables : mapping of str to DataFrame
        Relative light curves by camera.
    diagnostics : bool
        Whether to draw the comparison stars, too, into its folder ``diag``.
    show : bool
        Whether to show the figures in Jupyter.
    """
    folder = request.out / "relative_light_curves" / request.label
    unit = flux_unit(find_dataset(request.out, request.label))
    for camera, table in tables.items():
        stem = f"{request.name}_{camera}"
        title = request.name
        _write_csv(table, folder / f"{stem}_light_curve.csv")
        figure = relative_figure(table, title=title)
        save_figure(figure, folder / f"{stem}_light_curve.png")
        if show:
            show_in_notebook(figure)
        stars = made.comparisons[made.comparisons["camera"] == camera]
        if diagnostics and len(stars):
            _draw_stars(
                stars, folder / "diag" / f"{stem}_comparisons.png", f"{title}, {camera}", unit, show=show
            )
    return f"relative light curves and figures in {folder}; all columns in {request.folder}"


def _draw_stars(stars: pd.DataFrame, path: Path, title: str, unit: str, *, show: bool) -> None:
    """Draw the comparison stars of the first night."""
    night = stars["night"].min()
    figure = comparisons_figure(stars[stars["night"] == night], title=f"{title}, {night}", unit=unit)
    save_figure(figure, path)
    if show:
        show_in_notebook(figure)


def _write_csv(table: pd.DataFrame, path: Path) -> None:
    """Time, relative flux and error of the frames that have them; tables too long for CSV are left alone."""
    time = "BMJD" if np.isfinite(table["BMJD"]).any() else "MJD"
    good = table[np.isfinite(table["rel_flux"]) & np.isfinite(table["rel_flux_err"])]
    if len(good) > _MOST_CSV_ROWS:
        return
    with replacing(path) as temporary:
        good[[time, "rel_flux", "rel_flux_err"]].to_csv(temporary, index=False)
