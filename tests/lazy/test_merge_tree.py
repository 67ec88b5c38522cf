import dask
import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opticam_dask.lazy.stack import FAN_IN, merge_tree


def parts(n):
    cells = np.empty(n, object)
    cells[:] = [[i] for i in range(n)]
    return da.from_array(cells, chunks=1)


def join(lists):
    return [item for part in lists for item in part]


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 70), fan_in=st.integers(2, 9))
def test_all_parts_are_merged_in_order(n, fan_in):
    merged = merge_tree(parts(n), join, fan_in=fan_in)
    assert merged.shape == (1,)
    assert merged.compute(scheduler="sync")[0] == list(range(n))


def test_the_tree_is_lazy_and_small():
    def refuse(*args, **kwargs):
        raise AssertionError("computed while building")

    with dask.config.set(scheduler=refuse):
        leaves = parts(1000)
        merged = merge_tree(leaves, join)
    added = len(dict(merged.dask)) - len(dict(leaves.dask))
    assert added <= 1000 / (FAN_IN - 1) + 10


def test_no_merge_holds_more_than_its_fan_in():
    sizes = []

    def count(lists):
        sizes.append(len(lists))
        return join(lists)

    merge_tree(parts(40), count, fan_in=3).compute(scheduler="sync")
    assert max(sizes) == 3


def test_fan_in_of_one_is_refused():
    with pytest.raises(ValueError, match="fan_in"):
        merge_tree(parts(3), join, fan_in=1)
