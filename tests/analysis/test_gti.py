"""Good-time intervals."""

from __future__ import annotations

import numpy as np
import pytest
from analysis_curves import curve
from hypothesis import given
from hypothesis import strategies as st

from opticam_dask.analysis import good_time_intervals, stretches
from opticam_dask.analysis.gti import inside, overlap, unevenness
from opticam_dask.errors import InputError


def test_nights_of_different_cadence_each_make_an_interval() -> None:
    seconds = np.concatenate([np.arange(100) * 0.5, 1000 + np.arange(60) * 7.0, 2000 + np.arange(50) * 0.1])
    one = curve(seconds, np.ones(210))
    assert [(s.start, s.stop) for s in stretches(one)] == [(0, 100), (100, 160), (160, 210)]
    assert good_time_intervals(one) == pytest.approx(
        np.array([[-0.25, 49.75], [996.5, 1416.5], [1999.95, 2004.95]])
    )


def test_one_missing_frame_is_a_gap_unless_told_otherwise() -> None:
    one = curve(np.delete(np.arange(20.0), 7), np.ones(19))
    assert len(stretches(one)) == 2
    assert len(stretches(one, max_gap=2.5)) == 1
    with pytest.raises(InputError, match="above 1"):
        stretches(one, max_gap=1.0)


def test_unevenness_is_the_largest_distance_from_a_grid() -> None:
    assert unevenness(3.0 + 0.7 * np.arange(50)) < 1e-12
    times = np.arange(101.0)
    times[50] += 0.3
    assert unevenness(times) == pytest.approx(0.3, abs=0.01)


intervals = st.lists(st.integers(0, 60), min_size=2, max_size=8, unique=True).map(
    lambda v: np.array(sorted(v)[: len(v) // 2 * 2], float).reshape(-1, 2)
)


@given(intervals, intervals)
def test_the_overlap_is_where_both_are(first: np.ndarray, second: np.ndarray) -> None:
    at = np.arange(-1, 62) + 0.5
    both = overlap(first, second)
    wanted = inside(at, first) & inside(at, second)
    assert ((inside(at, both) if len(both) else np.zeros(len(at), bool)) == wanted).all()
    assert (overlap(second, first) == both).all()


@pytest.mark.parametrize("bad", [[[1, 0]], [[0, 2], [1, 3]], [1, 2]])
def test_intervals_that_make_no_sense(bad) -> None:
    with pytest.raises(InputError, match="good-time intervals"):
        inside(np.zeros(1), bad)
