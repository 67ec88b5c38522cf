"""What users get: relative light curves to be analysed, with their tables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from opticam_dask.analysis.analyzer import Analyzer
from opticam_dask.differential.make import Made

if TYPE_CHECKING:
    import pandas as pd


class RelativeLightCurves(Analyzer):
    """Relative light curves, to be analysed; see `opticam_dask.Analyzer`.

    Parameters
    ----------
    out_directory : path
        Output directory of the reduction.
    label, name : str
        Photometer, and name of the relative light curves.
    made : Made
        Comparison stars and nights.
    tables : mapping of str to DataFrame
        Camera -> columns of `opticam_dask.schema.RELATIVE`.
    show_plots : bool
        Whether to show what is drawn.

    Attributes
    ----------
    tables : dict of str to DataFrame
        The light curves with all their columns and rows, those without a flux included.
    comparisons, nights : DataFrame
        See `opticam_dask.comparison_stars` and `opticam_dask.relative_nights`.
    """

    def __init__(
        self,
        out_directory: Path,
        label: str,
        name: str,
        made: Made,
        tables: Mapping[str, pd.DataFrame],
        *,
        show_plots: bool = True,
    ) -> None:
        self.tables = dict(tables)
        self.comparisons, self.nights, self.name = made.comparisons, made.nights, name
        super().__init__(out_directory, self.tables, prefix=name, phot_label=label, show_plots=show_plots)


def summary(name: str, made: Made) -> str:
    """Say what was made, and which stars vary."""
    nights, stars = made.nights, made.comparisons
    lines = [
        f"{name}: {nights['n_measured'].sum()} of {nights['n_frames'].sum()} frames compared, "
        f"{len(nights)} nights and cameras"
    ]
    failed = nights[nights["reason"] != ""]
    columns = zip(failed["night"], failed["camera"], failed["reason"], strict=True)
    lines += [f"{night} {camera}: {reason}" for night, camera, reason in columns]
    variable = stars[stars["reason"].str.startswith("variable")].drop_duplicates(["camera", "star"])
    columns = zip(variable["camera"], variable["star"], variable["reason"], strict=True)
    lines += [f"{camera} source {star} not used: {reason}" for camera, star, reason in columns]
    return "\n".join(lines)
