"""Numbers that a page carries come back as they were, or rounded as little as is said."""

from __future__ import annotations

import base64
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from opticam_dask.report.curves import Folder, averaged, frames_to_average
from opticam_dask.report.packing import packed, rounded, rounded_to_errors
from opticam_dask.report.write import _curves

FLOATS = st.floats(allow_nan=True, allow_infinity=True, width=32)


def unpacked(text: str, dtype: str) -> np.ndarray:
    """What the page's script does."""
    size = np.dtype(dtype).itemsize
    planes = np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8).reshape(size, -1)
    return np.ascontiguousarray(planes.T).view(dtype).ravel()


@given(hnp.arrays(np.float64, st.integers(0, 40), elements=st.floats(width=64)))
def test_numbers_come_back_to_the_bit(values: np.ndarray) -> None:
    assert unpacked(packed(values), "<f8").tobytes() == values.astype("<f8").tobytes()


@given(hnp.arrays(np.float32, st.integers(1, 40), elements=FLOATS), st.integers(3, 20))
def test_rounding_keeps_what_it_says(values: np.ndarray, bits: int) -> None:
    found = rounded(values, bits)
    finite = np.isfinite(values)
    assert np.array_equal(np.isnan(found), np.isnan(values))
    assert np.array_equal(found[~finite], values[~finite], equal_nan=True)
    normal = finite & (np.abs(values) > 1e-30)
    relative = np.abs(found[normal].astype(float) / values[normal].astype(float) - 1.0)
    assert (relative <= 2.0 ** -(bits + 1) * 1.0001).all()


def test_fluxes_are_rounded_to_a_part_of_their_errors_and_shrink() -> None:
    rng = np.random.default_rng(1)
    flux, error = rng.normal(5e4, 200.0, 4000), np.full(4000, 190.0)
    flux[7], error[9] = np.nan, np.nan
    found = rounded_to_errors(flux, error, 1 / 32)
    assert np.isnan(found[7])
    assert np.nanmax(np.abs(found - flux)) <= 190.0 / 64
    assert len(packed(found)) < 0.6 * len(packed(flux.astype(np.float32)))
    assert np.array_equal(
        rounded_to_errors(flux, np.full(4000, np.nan), 1 / 32), flux.astype(np.float32), True
    )


def test_averages_leave_out_what_is_spoilt() -> None:
    time = np.arange(7.0)
    flux = np.array([[1.0, 2, 3, 4, 5, 6, 7], [1.0, np.nan, 3, 4, 5, 6, 70]])
    error = np.full((2, 7), 2.0)
    spoilt = np.zeros((2, 7), bool)
    spoilt[1, 6] = True
    when, mean, scatter, left = averaged(time, flux, error, spoilt, 3)
    assert when.tolist() == [1.0, 4.0, 6.0]
    assert mean[0].tolist() == [2.0, 5.0, 7.0]
    assert mean[1, :2].tolist() == [2.0, 5.0]
    assert np.isnan(mean[1, 2])
    assert scatter[0] == pytest.approx([2 / 3**0.5, 2 / 3**0.5, 2.0])
    assert scatter[1, 0] == pytest.approx(2 / 2**0.5)
    assert not left.any()


def test_a_frame_without_a_time_does_not_take_its_neighbours_along() -> None:
    time, flux = np.array([0.0, np.nan, 2.0, np.nan]), np.ones((1, 4))
    when, *_ = averaged(time, flux, flux, np.zeros((1, 4), bool), 3)
    assert when[0] == 1.0
    assert np.isnan(when[1])


def test_one_night_without_barycentric_times_puts_all_on_utc(tmp_path) -> None:
    def told(folder: Folder, average: int) -> dict[str, object]:
        return {"night": folder.night, "barycentric": folder.barycentric and folder.night == "a"}

    def run(_function, items, constant):
        return [told(item, constant) for item in items]

    folders = [Folder(tmp_path, "x", night, "1:g", "source") for night in "ab"]
    assert [block["barycentric"] for block in _curves(folders, 1, run)] == [False, False]
    assert [block["barycentric"] for block in _curves(folders[:1], 1, run)] == [True]


def test_pages_hold_a_million_points_at_most() -> None:
    assert frames_to_average(10) == frames_to_average(1_000_000) == 1
    assert frames_to_average(1_000_001) == 2
    assert frames_to_average(13_500_000) == 14
