"""Which rows of a table make a light curve."""

from __future__ import annotations

import numpy as np
import pytest
from analysis_curves import EPOCH, table

from opticam_dask.analysis import from_table, joined
from opticam_dask.errors import InputError
from opticam_dask.schema import Flag


def test_bad_rows_are_left_out_and_the_rest_sorted() -> None:
    rows = table(10)
    rows.loc[1, "flux"] = np.nan
    rows.loc[2, "flux_err"] = np.nan
    rows.loc[3, "flux_err"] = 0.0
    rows.loc[4, "BMJD"] = np.nan
    rows.loc[5, "flags"] = int(Flag.CLOUD)
    rows.loc[6, "flags"] = int(Flag.FORCED | Flag.BLENDED)
    curve = from_table(rows.iloc[::-1])
    assert curve.columns["airmass"] == pytest.approx(rows["airmass"].iloc[[0, 6, 7, 8, 9]])
    assert (curve.time == rows["BMJD"].iloc[[0, 6, 7, 8, 9]]).all()
    assert (curve.camera, curve.source, curve.unit, curve.scale) == ("1:g", "2", "adu", "tdb")
    assert len(from_table(rows, leave_out=Flag(0))) == 6


@pytest.mark.parametrize("name", ["CLOUD", "SATURATED", "COSMIC_RAY", "BAD_TIME", "NOT_ALIGNED", "EDGE"])
def test_flags_left_out_by_default(name: str) -> None:
    rows = table(10)
    rows.loc[3, "flags"] = int(Flag[name])
    assert len(from_table(rows)) == 9


def test_times_keep_every_bit() -> None:
    rows = table(1000, seed=4)
    rows["BMJD"] = np.sort(EPOCH + np.random.default_rng(1).uniform(0.2, 0.9, 1000))
    curve = from_table(rows)
    assert curve.epoch == EPOCH
    assert (curve.time == rows["BMJD"]).all()
    assert (curve.since(EPOCH - 300).since(EPOCH).time == rows["BMJD"]).all()


def test_mjd_serves_where_there_is_no_bmjd() -> None:
    rows = table(5).assign(BMJD=np.nan)
    curve = from_table(rows)
    assert (curve.time_column, curve.scale) == ("MJD", "utc")
    assert (curve.time == rows["MJD"]).all()


def test_relative_fluxes_go_first() -> None:
    rows = table(5).assign(rel_flux=0.5, rel_flux_err=0.01)
    assert (from_table(rows).flux == 0.5).all()
    assert from_table(rows).unit == ""
    assert from_table(rows, flux="flux").unit == "adu"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.drop(columns="flux_err"), "no columns rel_flux"),
        (lambda t: t.assign(flux=np.nan), "none of the 5 rows"),
        (lambda t: t.assign(camera=["a", "a", "b", "b", "b"]), "several cameras"),
        (lambda t: t.drop(columns=["MJD", "BMJD"]), "no column MJD"),
    ],
)
def test_a_table_that_cannot_be_used_is_said_to_be(change, said: str) -> None:
    with pytest.raises(InputError, match=said):
        from_table(change(table(5)))


def test_joined_nights_are_one_light_curve() -> None:
    first, second = from_table(table(5)), from_table(table(5).assign(BMJD=lambda t: t["BMJD"] + 1))
    both = joined(second, first)
    assert both.time.tolist() == [*first.time, *second.time]
    assert both.columns["airmass"].tolist() == [*first.columns["airmass"], *second.columns["airmass"]]
    with pytest.raises(InputError, match="cannot join"):
        joined(first, second.normalised())
