"""Variability of many stars, on pandas and on dask."""

from __future__ import annotations

import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from analysis_curves import PERIOD, table

from opticam_dask.analysis import variability
from opticam_dask.schema import Flag


def survey(n: int = 400) -> pd.DataFrame:
    parts = []
    for source in range(1, 5):
        rows = table(n, seed=source).assign(source=source)
        if source == 2:
            rows["flux"] += 30 * np.sin(2 * np.pi * np.arange(n) / PERIOD)
        parts.append(rows)
    return pd.concat(parts, ignore_index=True)


def test_the_variable_star_stands_out() -> None:
    rows = survey()
    found = variability(rows).loc["1:g"]
    assert found["excess"].idxmax() == 2
    assert found.loc[2, "excess"] == pytest.approx(0.03**2 / 2, abs=4 * found.loc[2, "excess_err"])
    quiet = found.drop(index=2)
    assert (np.abs(quiet["excess"] / quiet["excess_err"]) < 4).all()
    assert quiet["reduced_chi2"].to_numpy() == pytest.approx(1, abs=0.25)
    assert quiet["von_neumann"].to_numpy() == pytest.approx(2, abs=0.35)
    assert quiet["rms"].to_numpy() == pytest.approx(quiet["expected_rms"].to_numpy(), rel=0.15)


def test_bad_rows_do_not_count() -> None:
    rows = survey()
    clean = variability(rows)
    bad = rows.iloc[::37].assign(flux=1e6, flags=int(Flag.SATURATED))
    missing = rows.iloc[::41].assign(flux=np.nan)
    pd.testing.assert_frame_equal(variability(pd.concat([bad, rows, missing])), clean)
    assert np.isnan(variability(rows.iloc[:1])["rms"]).all()


@pytest.mark.parametrize("n_parts", [1, 3, 7])
def test_dask_gives_the_same_bits_however_it_is_cut(n_parts: int) -> None:
    rows = survey(60).sample(frac=1, random_state=1)
    lazy = variability(dd.from_pandas(rows, npartitions=n_parts, sort=False))
    assert hasattr(lazy, "dask")
    found = lazy.compute(scheduler="synchronous").sort_index()
    assert found.index.tolist() == variability(rows).index.tolist()
    there = variability(rows).reset_index(drop=True)
    pd.testing.assert_frame_equal(found.reset_index(drop=True), there, check_exact=True)
