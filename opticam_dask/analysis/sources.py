"""Light curves from whatever users have them in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from opticam_dask.analysis import convert
from opticam_dask.analysis.light_curve import LightCurve
from opticam_dask.analysis.tables import from_table
from opticam_dask.errors import InputError


def as_light_curve(value: Any, camera: str = "") -> LightCurve:
    """Light curve of a table, or of an object of astropy, lightkurve, stingray or xarray.

    Parameters
    ----------
    value : DataFrame, LightCurve, stingray.Lightcurve, TimeSeries, lightkurve.LightCurve or xarray.Dataset
        What to take.
    camera : str
        Name the light curve gets.

    Raises
    ------
    InputError
        If it is none of these, or lacks what is needed.
    """
    return replace(_converted(value), camera=camera)


def _converted(value: Any) -> LightCurve:
    import pandas as pd
    import xarray as xr

    if isinstance(value, LightCurve):
        return value
    if isinstance(value, pd.DataFrame):
        return from_table(value)
    if isinstance(value, xr.Dataset):
        return convert.from_xarray(value)
    if hasattr(value, "counts_err"):
        return convert.from_stingray(value)
    if hasattr(value, "colnames") and hasattr(value, "time"):
        return convert.from_timeseries(value)
    raise InputError(
        f"a light curve cannot be a {type(value).__name__}; give a DataFrame, a LightCurve, or one of "
        "stingray, astropy, lightkurve or xarray"
    )
