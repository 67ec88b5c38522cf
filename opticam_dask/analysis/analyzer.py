"""Light curves of several cameras, analysed together."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from opticam_dask.analysis.correlation import CrossCorrelation, Method, cross_correlation
from opticam_dask.analysis.curve_set import CurveSet
from opticam_dask.analysis.folding import phase_bin, phases
from opticam_dask.analysis.light_curve import FloatArray, LightCurve
from opticam_dask.analysis.pairs import stingray_correlation
from opticam_dask.analysis.periodogram import Norm, Periodogram, lomb_scargle, lomb_scargle_multiband
from opticam_dask.analysis.power import averaged_cross_spectrum, averaged_power_spectrum, power_spectra
from opticam_dask.analysis.transits import Transit, box_least_squares
from opticam_dask.analysis.units import to_seconds
from opticam_dask.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from opticam_dask.plotting.spectra import Scale


class Analyzer(CurveSet):
    """Timing analysis of one source in several cameras.

    Parameters
    ----------
    out_directory : str or Path
        Folder for figures, which go into its ``plots/``; it is made when the first is.
    light_curves : mapping of str to light curves, optional
        By camera or filter: DataFrames with BMJD (or MJD), ``rel_flux`` and ``rel_flux_err`` (or ``flux`` and
        ``flux_err``), of one night or of many; `LightCurve`, `stingray.Lightcurve`,
        `astropy.timeseries.TimeSeries`, `lightkurve.LightCurve` or xarray Datasets. Rows of tables with bad
        flags are left out, see `opticam_dask.analysis.LEFT_OUT`.
    prefix : str, optional
        Start of the figures' names, such as the source's name.
    phot_label : str, optional
        Label of the photometry, which goes into the figures' names.
    show_plots : bool
        Draw each result, save it, and show it in Jupyter.
    normalise : bool
        Divide each light curve by its mean.

    Attributes
    ----------
    light_curves : dict of str to LightCurve
        Sorted by name.
    t_ref : float [d]
        First time of all; phases count from it unless told otherwise.
    """

    def phase_fold_light_curves(self, period: Any, t0: float | None = None) -> dict[str, FloatArray]:
        """Phase of each sample, from 0 to 1.

        Parameters
        ----------
        period : Quantity or float [s]
            Period.
        t0 : float [d], optional
            Time of phase zero, the same for all cameras; by default `t_ref`.
        """
        start = self.t_ref if t0 is None else t0
        folded = {name: phases(curve, period, start) for name, curve in self._curves().items()}
        if self.show_plots:
            self._figures().folded(self.light_curves, folded, to_seconds(period, "period"))
        return folded

    def phase_bin(
        self, period: Any, t0: float | None = None, n_bins: int = 10, *, weighted: bool = False
    ) -> dict[str, pd.DataFrame]:
        """Profile of each camera over phase, see `opticam_dask.analysis.phase_bin`."""
        start = self.t_ref if t0 is None else t0
        return {
            name: phase_bin(curve, period, n_bins=n_bins, t0=start, weighted=weighted)
            for name, curve in self._curves().items()
        }

    def phase_bin_light_curves(
        self,
        period: Any,
        t0: float | None = None,
        n_bins: int = 10,
        plot: bool = True,
        subplot: bool = True,
        sharey: bool = False,
    ) -> dict[str, dict[str, FloatArray]]:
        """Profile of each camera over phase, as `opticam` gives it.

        Parameters
        ----------
        period : Quantity or float [s]
            Period.
        t0 : float [d], optional
            Time of phase zero, the same for all cameras; by default `t_ref`.
        n_bins : int
            Bins.
        plot, subplot, sharey : bool
            Draw them; each camera in a panel of its own; panels with one scale.

        Returns
        -------
        dict of str to dict
            ``'phase'`` (middle of the bin), ``'flux'`` and ``'flux error'``; NaN in bins without samples.
        """
        profiles = self.phase_bin(period, t0, n_bins)
        if plot:
            self._figures().profiles(
                profiles, to_seconds(period, "period"), self._unit(), subplot=subplot, sharey=sharey
            )
        renamed = {"phase": "phase", "flux": "flux", "flux error": "flux_err"}
        return {
            name: {key: profile[column].to_numpy() for key, column in renamed.items()}
            for name, profile in profiles.items()
        }

    def lomb_scargle(self, **options: Any) -> dict[str, Periodogram]:
        """Lomb-Scargle periodogram of each camera, see `opticam_dask.analysis.lomb_scargle`."""
        return {name: lomb_scargle(curve, **options) for name, curve in self._curves().items()}

    def lomb_scargle_multiband(self, **options: Any) -> Periodogram:
        """One periodogram of all cameras, see `opticam_dask.analysis.lomb_scargle_multiband`."""
        return lomb_scargle_multiband(self._curves(), **options)

    def compute_lomb_scargle_periodograms(
        self, norm: Norm = "frac", scale: Scale = "linear", **options: Any
    ) -> dict[str, Periodogram]:
        """Lomb-Scargle periodogram of each camera, drawn with its false-alarm levels.

        Parameters
        ----------
        norm : {'frac', 'abs', 'standard'}
            (rms / mean)^2 per Hz, rms^2 per Hz, or the part of the variance explained.
        scale : {'linear', 'log', 'loglog'}
            Of the figure: ``log`` for the frequency, ``loglog`` for both axes.
        **options
            Of `opticam_dask.analysis.lomb_scargle`.
        """
        found = self.lomb_scargle(norm=norm, **options)
        if self.show_plots:
            self._figures().periodograms(found, scale)
        return found

    def compute_power_spectra(self, norm: str = "frac", scale: Scale = "linear") -> dict[str, Any]:
        """Power spectrum of each camera that has no gap, by stingray.

        Parameters
        ----------
        norm : {'frac', 'abs', 'leahy', 'none'}
            Of stingray.
        scale : {'linear', 'log', 'loglog'}
            Of the figure.

        Returns
        -------
        dict of str to stingray.Powerspectrum
            Frequencies in Hz.

        Raises
        ------
        InputError
            If a light curve has a gap, or uneven steps; the message says what to use instead.
        """
        found = {}
        for name, curve in self._curves().items():
            spectra = power_spectra(curve, norm, min_points=2)
            if len(spectra) > 1:
                raise InputError(
                    f"{name}: {len(spectra) - 1} gaps; use compute_averaged_power_spectra(), "
                    "compute_lomb_scargle_periodograms(), or opticam_dask.analysis.power_spectra"
                )
            found[name] = spectra[0]
        if self.show_plots:
            self._figures().power_spectra(found, scale, "periodograms")
        return found

    def compute_averaged_power_spectra(
        self,
        segment_size: Any,
        rebin_factor: float | None = None,
        norm: str = "frac",
        scale: Scale = "linear",
    ) -> dict[str, Any]:
        """Average power spectrum of segments of each camera, none of which reaches across a gap, by stingray.

        Parameters
        ----------
        segment_size : Quantity or float [s]
            Length of a segment.
        rebin_factor : float, optional
            Rebin in frequency: each bin is ``1 + rebin_factor`` times as wide as the one before.
        norm : {'frac', 'abs', 'leahy', 'none'}
            Of stingray.
        scale : {'linear', 'log', 'loglog'}
            Of the figure.

        Returns
        -------
        dict of str to stingray.AveragedPowerspectrum
            ``m`` segments averaged.

        Raises
        ------
        InputError
            If a light curve has no stretch as long as a segment, or uneven steps.
        """
        found = {k: averaged_power_spectrum(c, segment_size, norm) for k, c in self._curves().items()}
        if rebin_factor:
            found = {name: spectrum.rebin_log(rebin_factor) for name, spectrum in found.items()}
        if self.show_plots:
            self._figures().power_spectra(found, scale, "averaged_power_spectra")
        return found

    def compute_averaged_cross_spectra(self, segment_size: Any, norm: str = "frac") -> dict[str, Any]:
        """Average cross spectrum of each pair of cameras, by stingray, see `averaged_cross_spectrum`."""
        return self._pairs(lambda a, b: averaged_cross_spectrum(a, b, segment_size, norm))

    def cross_correlate(self, method: Method = "iccf", **options: Any) -> dict[str, CrossCorrelation]:
        """Cross-correlation of each pair of cameras, see `opticam_dask.analysis.cross_correlation`.

        Returns
        -------
        dict of str to CrossCorrelation
            By ``'<first> x <second>'``; lags are positive where the first comes later.
        """
        return self._pairs(lambda a, b: cross_correlation(a, b, method=method, **options))

    def compute_cross_correlations(
        self,
        mode: Literal["same", "valid", "full"] = "same",
        norm: Literal["none", "variance"] = "variance",
        force_match: bool = True,
    ) -> dict[str, Any]:
        """Cross-correlation of each pair of cameras by stingray, as `opticam` gives it, with lags in seconds.

        Parameters
        ----------
        mode, norm : str
            Of `stingray.CrossCorrelation`.
        force_match : bool
            Keep only samples at times that both cameras have. Light curves with gaps are refused: use
            `cross_correlate`.

        Returns
        -------
        dict of str to stingray.CrossCorrelation
            By ``'<first> x <second>'``; ``time_lags`` are positive where the first comes later.

        Raises
        ------
        InputError
            If cameras sample unevenly, with gaps, or at different times.
        """
        found = self._pairs(lambda a, b: stingray_correlation(a, b, mode, norm, match=force_match))
        if self.show_plots and found:
            self._figures().correlations(found)
        return found

    def box_least_squares(self, **options: Any) -> dict[str, Transit]:
        """Transits in each camera, see `opticam_dask.analysis.box_least_squares`."""
        return {name: box_least_squares(curve, **options) for name, curve in self._curves().items()}

    def _pairs(self, function: Callable[[LightCurve, LightCurve], Any]) -> dict[str, Any]:
        names = list(self._curves())
        return {
            f"{a} x {b}": function(self.light_curves[a], self.light_curves[b])
            for i, a in enumerate(names)
            for b in names[i + 1 :]
        }
