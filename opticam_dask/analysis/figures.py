"""Figures of an `Analyzer`: drawn, saved under ``plots/``, shown in Jupyter."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opticam_dask.analysis.convert import to_pandas
from opticam_dask.analysis.light_curve import FloatArray, LightCurve
from opticam_dask.analysis.periodogram import Periodogram
from opticam_dask.plotting.correlation import correlation_figure
from opticam_dask.plotting.folded import folded_figure, profile_figure
from opticam_dask.plotting.light_curves import light_curve_figure
from opticam_dask.plotting.spectra import Scale, periodogram_figure, spectrum_figure
from opticam_dask.plotting.style import save_figure, show_in_notebook

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


class Figures:
    """Draws the results of an `Analyzer` and keeps them.

    Parameters
    ----------
    folder : Path
        Where figures go.
    prefix, label : str, optional
        Parts of their names.
    show : bool
        Show them in Jupyter.
    """

    def __init__(self, folder: Path, prefix: str | None, label: str | None, show: bool) -> None:
        self.folder, self.prefix, self.label, self.show = folder, prefix, label, show

    def light_curves(self, curves: Mapping[str, LightCurve], title: str) -> Figure:
        """Light curves, a panel a camera."""
        unit = next(iter(curves.values())).unit
        tables = {name: to_pandas(curve) for name, curve in curves.items()}
        return self._keep(light_curve_figure(tables, title=title, unit=unit or "relative"), "light_curves")

    def folded(
        self, curves: Mapping[str, LightCurve], phases: Mapping[str, FloatArray], period: float
    ) -> Figure:
        """Draw samples against phase."""
        points = {name: (phases[name], curve.flux, curve.flux_err) for name, curve in curves.items()}
        unit = next(iter(curves.values())).unit
        return self._keep(folded_figure(points, period, unit), f"P={period:.4f}s_phase_fold")

    def profiles(
        self, profiles: Mapping[str, pd.DataFrame], period: float, unit: str, *, subplot: bool, sharey: bool
    ) -> Figure:
        """Profiles over phase."""
        figure = profile_figure(profiles, period, unit, subplot=subplot, sharey=sharey)
        return self._keep(figure, f"P={period:.4f}s_phase_bin")

    def periodograms(self, found: Mapping[str, Periodogram], scale: Scale) -> Figure:
        """Periodograms with their false-alarm levels."""
        return self._keep(periodogram_figure(found, scale), "L-S_periodograms")

    def power_spectra(self, found: Mapping[str, Any], scale: Scale, name: str) -> Figure:
        """Power spectra of stingray."""
        return self._keep(spectrum_figure(found, scale), name)

    def correlations(self, found: Mapping[str, Any]) -> Figure:
        """Cross-correlations against lag."""
        return self._keep(correlation_figure(found), "cross_correlations")

    def _keep(self, figure: Figure, name: str) -> Figure:
        self.folder.mkdir(parents=True, exist_ok=True)
        stem = "_".join(part for part in (self.prefix, self.label, name) if part)
        save_figure(figure, self.folder / f"{stem}.png")
        if self.show:
            show_in_notebook(figure)
        return figure
