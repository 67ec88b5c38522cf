"""Timing analysis of light curves, on astropy and stingray.

`Analyzer` holds the light curves of several cameras; every method of it is a function here that takes one
`LightCurve`, or two.
"""

from __future__ import annotations

from opticam_dask.analysis.analyzer import Analyzer
from opticam_dask.analysis.binning import rebin
from opticam_dask.analysis.convert import (
    from_lightkurve,
    from_stingray,
    from_timeseries,
    from_xarray,
    to_lightkurve,
    to_pandas,
    to_stingray,
    to_timeseries,
    to_xarray,
)
from opticam_dask.analysis.correlation import CrossCorrelation, cross_correlation
from opticam_dask.analysis.detrend import Detrended, detrend
from opticam_dask.analysis.folding import SineFit, fit_sine, phase_bin, phase_lag, phases
from opticam_dask.analysis.gti import good_time_intervals, stretches
from opticam_dask.analysis.light_curve import LightCurve, joined
from opticam_dask.analysis.outliers import find_outliers
from opticam_dask.analysis.periodogram import Periodogram, lomb_scargle, lomb_scargle_multiband
from opticam_dask.analysis.power import averaged_cross_spectrum, averaged_power_spectrum, power_spectra
from opticam_dask.analysis.tables import LEFT_OUT, from_table
from opticam_dask.analysis.transits import Transit, box_least_squares
from opticam_dask.analysis.trapezoid import Trapezoid, fit_trapezoid
from opticam_dask.analysis.variability import variability

__all__ = [
    "LEFT_OUT",
    "Analyzer",
    "CrossCorrelation",
    "Detrended",
    "LightCurve",
    "Periodogram",
    "SineFit",
    "Transit",
    "Trapezoid",
    "averaged_cross_spectrum",
    "averaged_power_spectrum",
    "box_least_squares",
    "cross_correlation",
    "detrend",
    "find_outliers",
    "fit_sine",
    "fit_trapezoid",
    "from_lightkurve",
    "from_stingray",
    "from_table",
    "from_timeseries",
    "from_xarray",
    "good_time_intervals",
    "joined",
    "lomb_scargle",
    "lomb_scargle_multiband",
    "phase_bin",
    "phase_lag",
    "phases",
    "power_spectra",
    "rebin",
    "stretches",
    "to_lightkurve",
    "to_pandas",
    "to_stingray",
    "to_timeseries",
    "to_xarray",
    "variability",
]
