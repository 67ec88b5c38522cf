"""Light curves to and from the objects of astropy, lightkurve, stingray, xarray and pandas.

Times stay in two parts, a whole day and seconds since, where the other side can hold both; units, the time
scale (BMJD is TDB, MJD is UTC) and all columns go along. What comes back equals what went.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from opticam_dask.analysis.light_curve import TIME_NAMES, TIME_SCALES, FloatArray, LightCurve, TimeColumn
from opticam_dask.analysis.power import to_stingray
from opticam_dask.analysis.units import SECONDS_PER_DAY, optional_package
from opticam_dask.errors import InputError
from opticam_dask.schema import LIGHT_CURVE_COLUMNS

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from astropy.time import Time
    from astropy.timeseries import TimeSeries

__all__ = [
    "from_lightkurve",
    "from_stingray",
    "from_timeseries",
    "from_xarray",
    "to_lightkurve",
    "to_pandas",
    "to_stingray",
    "to_timeseries",
    "to_xarray",
]

_UNITS = {column.name: column.unit for column in LIGHT_CURVE_COLUMNS} | {"n_samples": ""}


def to_timeseries(curve: LightCurve) -> TimeSeries:
    """Light curve as `astropy.timeseries.TimeSeries` with its columns and units."""
    from astropy.timeseries import TimeSeries

    return TimeSeries(time=curve.astropy_time, data=_quantities(curve), meta=_meta(curve))


def from_timeseries(series: TimeSeries) -> LightCurve:
    """Light curve of a `TimeSeries` with columns ``flux`` and ``flux_err``.

    A time scale other than TDB is turned into UTC. What is not finite is left out.

    Raises
    ------
    InputError
        If a column is missing.
    """
    return _from_astropy(series)


def to_lightkurve(curve: LightCurve) -> Any:
    """Light curve as `lightkurve.LightCurve`.

    Raises
    ------
    MissingPackageError
        If lightkurve is not installed.
    """
    lightkurve = optional_package("lightkurve", "a lightkurve light curve")
    quantities = _quantities(curve)
    flux, error = quantities.pop("flux"), quantities.pop("flux_err")
    made = lightkurve.LightCurve(time=curve.astropy_time, flux=flux, flux_err=error, meta=_meta(curve))
    for name, values in quantities.items():
        made[name] = values
    return made


def from_lightkurve(light_curve: Any) -> LightCurve:
    """Light curve of a `lightkurve.LightCurve`, as `from_timeseries` takes it."""
    return _from_astropy(light_curve)


def from_stingray(
    light_curve: Any, *, time_column: TimeColumn | None = None, unit: str | None = None
) -> LightCurve:
    """Light curve of a `stingray.Lightcurve` in seconds since its ``mjdref``, inside its good-time intervals.

    Parameters
    ----------
    light_curve : stingray.Lightcurve
        With errors.
    time_column : {'BMJD', 'MJD'}, optional
        Time system; by default what ``timesys`` says, else BMJD.
    unit : str, optional
        Unit of the flux; by default what ``unit`` says, else none.

    Raises
    ------
    InputError
        If it has no errors.
    """
    if light_curve.counts_err is None:
        raise InputError("the stingray light curve has no errors (err=)")
    named = "MJD" if str(getattr(light_curve, "timesys", None)).lower() == "utc" else "BMJD"
    rows = np.asarray(light_curve.mask, dtype=bool)
    return LightCurve(
        seconds=np.asarray(light_curve.time, dtype=np.float64)[rows],
        flux=np.asarray(light_curve.counts, dtype=np.float64)[rows],
        flux_err=np.asarray(light_curve.counts_err, dtype=np.float64)[rows],
        epoch=float(light_curve.mjdref),
        time_column=time_column or cast(TimeColumn, named),
        unit=str(getattr(light_curve, "unit", "") or "") if unit is None else unit,
        camera=str(getattr(light_curve, "camera", "") or ""),
        source=str(getattr(light_curve, "source", "") or ""),
    )


def to_xarray(curve: LightCurve) -> xr.Dataset:
    """Light curve as Dataset over ``time``, seconds since the epoch; units and meanings are attributes."""
    import xarray as xr

    data = {"flux": curve.flux, "flux_err": curve.flux_err, **curve.columns}
    days = {"units": "d", "long_name": TIME_NAMES[curve.time_column], "time_scale": curve.scale}
    return xr.Dataset(
        {name: ("time", values, {"units": _unit(curve, name)}) for name, values in data.items()},
        coords={
            "time": ("time", curve.seconds, {"units": "s", "epoch": curve.epoch, "time_scale": curve.scale}),
            curve.time_column: ("time", curve.time, days),
        },
        attrs=_meta(curve),
    )


def from_xarray(dataset: xr.Dataset) -> LightCurve:
    """Light curve of a Dataset as `to_xarray` makes it.

    Raises
    ------
    InputError
        If a variable, or the epoch, is missing.
    """
    if not {"flux", "flux_err", "time"} <= set(dataset.variables) or "epoch" not in dataset["time"].attrs:
        raise InputError(
            "the Dataset needs flux, flux_err, and time in seconds with an attribute 'epoch' [d]"
        )
    own = {"time", "flux", "flux_err", *TIME_SCALES}
    return LightCurve(
        seconds=dataset["time"].to_numpy(),
        flux=dataset["flux"].to_numpy(),
        flux_err=dataset["flux_err"].to_numpy(),
        epoch=float(dataset["time"].attrs["epoch"]),
        time_column=_time_column(dataset["time"].attrs.get("time_scale", "tdb")),
        unit=str(dataset["flux"].attrs.get("units", "")),
        columns={str(name): dataset[name].to_numpy() for name in dataset.variables if name not in own},
        **_names(dataset.attrs),
    )


def to_pandas(curve: LightCurve) -> pd.DataFrame:
    """Light curve as a table: BMJD or MJD [d], ``flux``, ``flux_err`` and its columns.

    `opticam_dask.analysis.from_table` reads it back.
    """
    import pandas as pd

    return pd.DataFrame(
        {curve.time_column: curve.time, "flux": curve.flux, "flux_err": curve.flux_err, **curve.columns}
    )


def _quantities(curve: LightCurve) -> dict[str, Any]:
    from astropy import units

    data = {"flux": curve.flux, "flux_err": curve.flux_err, **curve.columns}
    return {name: units.Quantity(values, _unit(curve, name)) for name, values in data.items()}


def _unit(curve: LightCurve, name: str) -> str:
    if name in ("flux", "flux_err"):
        return curve.unit
    unit = _UNITS.get(name, "")
    return unit.replace("adu", curve.unit) if curve.unit == "electron" else unit


def _meta(curve: LightCurve) -> dict[str, str]:
    return {"camera": curve.camera, "source": curve.source}


def _names(meta: Mapping[Any, Any]) -> dict[str, Any]:
    return {name: str(meta.get(name, "")) for name in ("camera", "source")}


def _time_column(scale: str) -> TimeColumn:
    return "BMJD" if scale == "tdb" else "MJD"


def _from_astropy(series: Any) -> LightCurve:
    if not {"flux", "flux_err"} <= set(series.colnames):
        raise InputError(f"no columns flux and flux_err; there are: {', '.join(series.colnames)}")
    column = _time_column(series.time.scale)
    time = series.time if column == "BMJD" else series.time.utc
    epoch = float(math.floor(time.mjd.min()))
    names = [name for name in series.colnames if name not in ("time", "flux", "flux_err")]
    data = {name: _plain(series[name]) for name in ("flux", "flux_err", *names) if _numeric(series[name])}
    good = np.isfinite(data["flux"]) & np.isfinite(data["flux_err"])
    seconds = _seconds_since(time, epoch)
    order = np.flatnonzero(good)[np.argsort(seconds[good], kind="stable")]
    return LightCurve(
        seconds=seconds[order],
        flux=data.pop("flux")[order],
        flux_err=data.pop("flux_err")[order],
        epoch=epoch,
        time_column=column,
        unit=str(getattr(series["flux"], "unit", None) or ""),
        columns={name: values[order] for name, values in data.items()},
        **_names(series.meta),
    )


def _seconds_since(time: Time, epoch: float) -> FloatArray:
    """Days since the epoch as seconds: of 86 400 s each, as MJD counts them."""
    return np.asarray(((time.jd1 - 2_400_000.5 - epoch) + time.jd2) * SECONDS_PER_DAY, dtype=np.float64)


def _numeric(column: Any) -> bool:
    return column.dtype is not None and column.dtype.kind in "iuf"


def _plain(column: Any) -> FloatArray:
    values = np.ma.filled(
        np.ma.masked_array(getattr(column, "unmasked", column), getattr(column, "mask", False)), np.nan
    )
    return np.asarray(getattr(values, "value", values), dtype=np.float64)
