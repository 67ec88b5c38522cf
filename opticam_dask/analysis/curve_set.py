"""Light curves of several cameras: joined, rebinned, cleaned, detrended together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any, Self

from opticam_dask.analysis.binning import BinMethod, rebin
from opticam_dask.analysis.detrend import Detrended, detrend
from opticam_dask.analysis.figures import Figures
from opticam_dask.analysis.light_curve import LightCurve, joined
from opticam_dask.analysis.outliers import find_outliers
from opticam_dask.analysis.sources import as_light_curve
from opticam_dask.errors import InputError


class CurveSet:
    """Light curves of several cameras that belong together; its parameters are those of `Analyzer`."""

    def __init__(
        self,
        out_directory: str | Path,
        light_curves: Mapping[str, Any] | None = None,
        prefix: str | None = None,
        phot_label: str | None = None,
        show_plots: bool = True,
        *,
        normalise: bool = True,
    ) -> None:
        curves = {name: as_light_curve(value, name) for name, value in sorted((light_curves or {}).items())}
        if len({curve.time_column for curve in curves.values()}) > 1:
            raise InputError(
                "some light curves are in BMJD (TDB), others in MJD (UTC); they do not go together"
            )
        self.light_curves = {k: c.normalised() if normalise else c for k, c in curves.items()}
        self.out_directory = Path(out_directory)
        self.prefix, self.phot_label, self.show_plots = prefix, phot_label, show_plots

    @property
    def t_ref(self) -> float:
        """First time of all light curves [d].

        Raises
        ------
        InputError
            If there are no light curves.
        """
        return min(float(curve.time[0]) for curve in self._curves().values())

    def join(self, analyzer: CurveSet) -> Self:
        """Return an Analyzer with the light curves of both; those of the same camera are merged in time.

        Raises
        ------
        InputError
            If the other has none, or units or time systems differ.
        """
        merged = dict(self.light_curves)
        for name, curve in analyzer._curves().items():
            merged[name] = joined(merged[name], curve) if name in merged else curve
        return self._with(merged)

    def normalised(self) -> Self:
        """Return an Analyzer with every light curve divided by its mean."""
        return self._each(LightCurve.normalised)

    def rebin(self, dt: Any, method: BinMethod = "mean", **options: Any) -> Self:
        """Return an Analyzer with rebinned light curves, see `opticam_dask.analysis.rebin`."""
        return self._each(lambda curve: rebin(curve, dt, method, **options))

    def rebin_light_curves(self, dt: Any, method: BinMethod = "mean") -> None:
        """Rebin the light curves in place, see `rebin`.

        Parameters
        ----------
        dt : Quantity or float [s]
            Width of a bin.
        method : {'mean', 'weighted', 'sum'}
            What to put in a bin.
        """
        self.light_curves = self.rebin(dt, method).light_curves

    def without_outliers(self, **options: Any) -> Self:
        """Return an Analyzer without outliers, see `opticam_dask.analysis.find_outliers`."""
        return self._each(lambda curve: curve.select(~find_outliers(curve, **options)))

    def detrend(self, on: Sequence[str] = ("airmass",), **options: Any) -> dict[str, Detrended]:
        """Find the trend of each light curve, see `opticam_dask.analysis.detrend`."""
        return {name: detrend(curve, on, **options) for name, curve in self._curves().items()}

    def detrended(self, on: Sequence[str] = ("airmass",), **options: Any) -> Self:
        """Return an Analyzer with light curves whose trends are taken out, see `detrend`."""
        return self._with({name: found.curve for name, found in self.detrend(on, **options).items()})

    def plot_light_curves(self, title: str | None = None) -> Any:
        """Draw the light curves, a panel a camera, and return the Figure."""
        return self._figures().light_curves(self._curves(), title or "")

    def _curves(self) -> dict[str, LightCurve]:
        if not self.light_curves:
            raise InputError("the Analyzer has no light curves; give some, or join() one that has")
        return self.light_curves

    def _each(self, function: Callable[[LightCurve], LightCurve]) -> Self:
        return self._with({name: function(curve) for name, curve in self._curves().items()})

    def _with(self, curves: dict[str, LightCurve]) -> Self:
        other = copy(self)
        other.light_curves = _one_time_system(curves)
        return other

    def _unit(self) -> str:
        return next(iter(self.light_curves.values())).unit

    def _figures(self) -> Figures:
        return Figures(self.out_directory / "plots", self.prefix, self.phot_label, self.show_plots)


def _one_time_system(curves: dict[str, LightCurve]) -> dict[str, LightCurve]:
    if len({curve.time_column for curve in curves.values()}) > 1:
        raise InputError("some light curves are in BMJD (TDB), others in MJD (UTC); they do not go together")
    return curves
