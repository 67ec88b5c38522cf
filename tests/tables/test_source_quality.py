"""Summaries of light curves: medians and scatter of what is not spoilt."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from opticam_dask.schema import LIGHT_CURVES, Flag
from opticam_dask.tables.parts import write_part
from opticam_dask.tables.source_quality import COLUMNS, source_quality


def part(flux: np.ndarray, flags: np.ndarray, start: int) -> pa.Table:
    """Rows of sources 1..n, shape (n_source, n_frame)."""
    n_source, n_frame = flux.shape
    table = pd.DataFrame(np.zeros((flux.size, 17)), columns=LIGHT_CURVES.names)
    table["night"], table["camera"], table["filter"] = "2024-01-01", "1:g", "g"
    table["source"] = np.repeat(np.arange(1, n_source + 1), n_frame)
    table["frame"] = np.tile(np.arange(start, start + n_frame), n_source)
    table["MJD"] = 60000.0 + table["frame"] * 1e-5
    table["flux"], table["flux_err"], table["flags"] = flux.ravel(), 2.0, flags.ravel()
    return pa.Table.from_pandas(table, schema=LIGHT_CURVES, preserve_index=False)


def test_spoilt_and_missing_measurements_do_not_count(tmp_path) -> None:
    rng = np.random.default_rng(4)
    flux = rng.normal(1000.0, 7.0, (3, 41))
    flags = np.zeros((3, 41), np.int32)
    flux[0, 3], flags[0, 3] = 9e9, int(Flag.COSMIC_RAY)
    flux[1], flags[1] = np.nan, int(Flag.EDGE)
    flux[2, 1:], flags[2, 1:] = np.nan, int(Flag.NOT_MATCHED)
    for start, stop in ((0, 20), (20, 41)):
        rows = part(flux[:, start:stop], flags[:, start:stop], start)
        write_part(rows, tmp_path, ("2024-01-01", "1:g", start, stop))
    found = source_quality(tmp_path, "1:g", [3, 1, 2, 9])
    assert tuple(found.columns) == COLUMNS
    assert found["source"].tolist() == [3, 1, 2, 9]
    assert found["rows"].tolist() == [41, 41, 41, 0]
    assert found["measured"].tolist() == [1, 40, 0, 0]
    good = np.delete(flux[0], 3)
    bright = found.iloc[1]
    assert bright["flux"] == np.median(good)
    assert bright["rms"] == pytest.approx(np.sqrt(np.mean((good - np.median(good)) ** 2)))
    assert bright["snr"] == pytest.approx(np.median(good / 2.0))
    assert np.isnan(found["rms"].iloc[[0, 2, 3]]).all()
    assert found["flux"].iloc[0] == flux[2, 0]
