"""Converters: what comes back is what went, with units and time scales."""

from __future__ import annotations

import sys
from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
from analysis_curves import table
from astropy.time import Time
from astropy.timeseries import TimeSeries

from opticam_dask.analysis import (
    LightCurve,
    from_lightkurve,
    from_stingray,
    from_table,
    from_timeseries,
    from_xarray,
    to_lightkurve,
    to_pandas,
    to_stingray,
    to_timeseries,
    to_xarray,
)
from opticam_dask.analysis.sources import as_light_curve
from opticam_dask.errors import InputError, MissingPackageError


def observed(time_column="BMJD", unit: str = "adu") -> LightCurve:
    """Light curve with all that has to survive, a NaN in a column included."""
    one = from_table(table(30), time=time_column, unit=unit)
    fwhm = one.columns["fwhm"].copy()
    fwhm[3] = np.nan
    return replace(one, columns={**one.columns, "fwhm": fwhm})


def same(one: LightCurve, other: LightCurve, *, columns: bool = True) -> None:
    names = ("epoch", "time_column", "unit", "camera", "source")
    assert [getattr(one, k) for k in names] == [getattr(other, k) for k in names]
    assert np.abs(one.seconds - other.seconds).max() < 2e-11
    assert (one.time == other.time).all()
    assert (one.flux == other.flux).all()
    assert (one.flux_err == other.flux_err).all()
    if columns:
        assert list(one.columns) == list(other.columns)
        for name, values in one.columns.items():
            np.testing.assert_array_equal(values, other.columns[name])


@pytest.mark.parametrize("time_column", ["BMJD", "MJD"])
@pytest.mark.parametrize("unit", ["adu", "electron", ""])
def test_timeseries(time_column, unit: str) -> None:
    one = observed(time_column, unit)
    series = to_timeseries(one)
    assert isinstance(series, TimeSeries)
    assert series.time.scale == {"BMJD": "tdb", "MJD": "utc"}[time_column]
    assert series["flux"].unit == u.Unit(unit)
    assert series["x"].unit == u.pix
    assert series["bkg"].unit == (u.Unit(unit or "adu") / u.pix)
    assert (series.time.mjd == one.time).all()
    same(one, from_timeseries(series))


def test_times_in_two_doubles_lose_nothing() -> None:
    time = Time(60310, np.linspace(0.1, 0.2, 9) + 1e-13, format="mjd", scale="tdb")
    series = TimeSeries(time=time, data={"flux": np.ones(9), "flux_err": np.ones(9)})
    again = to_timeseries(from_timeseries(series)).time
    assert np.abs((again - time).to_value(u.ns)).max() < 0.05


def test_other_time_scales_become_utc() -> None:
    time = Time(60310 + np.arange(4) / 86_400, format="mjd", scale="tai")
    series = TimeSeries(time=time, data={"flux": np.ones(4), "flux_err": np.ones(4)})
    one = from_timeseries(series)
    assert one.time_column == "MJD"
    assert one.time == pytest.approx(time.utc.mjd, abs=1e-12)
    with pytest.raises(InputError, match="no columns flux and flux_err"):
        from_timeseries(TimeSeries(time=time, data={"counts": np.ones(4)}))


@pytest.mark.parametrize("time_column", ["BMJD", "MJD"])
def test_stingray(time_column) -> None:
    one = observed(time_column)
    light_curve = to_stingray(one)
    assert (light_curve.mjdref, light_curve.timesys) == (one.epoch, one.scale)
    assert light_curve.dt == pytest.approx(1.0, abs=1e-6)
    assert light_curve.gti == pytest.approx(np.array([[one.seconds[0] - 0.5, one.seconds[-1] + 0.5]]))
    same(one, from_stingray(light_curve), columns=False)


def test_stingray_from_elsewhere() -> None:
    from stingray import Lightcurve

    light_curve = Lightcurve(
        np.arange(10.0), np.arange(10.0) + 5, err=np.ones(10), gti=[[-0.5, 4.5]], mjdref=60000, dt=1.0
    )
    one = from_stingray(light_curve, unit="electron")
    assert (one.flux == np.arange(5) + 5).all()
    assert (one.epoch, one.unit, one.time_column) == (60000, "electron", "BMJD")


@pytest.mark.parametrize("time_column", ["BMJD", "MJD"])
def test_xarray(time_column) -> None:
    one = observed(time_column)
    dataset = to_xarray(one)
    assert dataset["flux"].attrs["units"] == "adu"
    assert dataset[time_column].attrs["time_scale"] == one.scale
    assert dataset["flux"].dims == ("time",)
    same(one, from_xarray(dataset))
    with pytest.raises(InputError, match="the Dataset needs"):
        from_xarray(dataset.drop_vars("flux_err"))


def test_pandas() -> None:
    one = observed()
    same(one, from_table(to_pandas(one), camera=one.camera, source=one.source))


@pytest.mark.parametrize("time_column", ["BMJD", "MJD"])
def test_lightkurve(time_column) -> None:
    pytest.importorskip("lightkurve", reason="lightkurve is not installed")
    one = observed(time_column)
    light_curve = to_lightkurve(one)
    assert light_curve.flux.unit == u.adu
    assert light_curve.time.scale == one.scale
    same(one, from_lightkurve(light_curve))
    assert len(light_curve.normalize(unit="unscaled").remove_nans()) == len(one)


def test_without_lightkurve_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightkurve", None)
    with pytest.raises(MissingPackageError, match="pip install lightkurve"):
        to_lightkurve(observed())


def test_whatever_users_have_is_taken() -> None:
    one = observed()
    for made in (one, to_pandas(one), to_timeseries(one), to_xarray(one), to_stingray(one)):
        assert (as_light_curve(made, "r").flux == one.flux).all()
        assert as_light_curve(made, "r").camera == "r"
    with pytest.raises(InputError, match="cannot be a list"):
        as_light_curve([1, 2])
