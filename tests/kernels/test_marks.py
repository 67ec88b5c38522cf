"""Flags of marked pixels near sources, against a mask of the whole frame."""

import numpy as np
import pytest

from opticam_dask.kernels.marks import marked_near
from opticam_dask.kernels.stamps import Ellipse
from opticam_dask.schema import Flag

SHAPE = (67, 91)
NOTHING = np.empty(0, np.int64)


@pytest.mark.parametrize("ellipse", [Ellipse(6.0, 2.5, np.radians(37.0)), Ellipse(3.0, 3.0, 0.0)])
def test_every_pixel_in_the_ellipse_and_no_other(ellipse):
    rng = np.random.default_rng(5)
    xy = np.vstack([rng.uniform(0, 1, (12, 2)) * (90, 66), [[np.nan, 3.0], [-2.0, 5.0]]])
    marked = rng.permutation(SHAPE[0] * SHAPE[1])[:400]
    marks = rng.choice([int(Flag.SATURATED), int(Flag.COSMIC_RAY), int(Flag.NON_FINITE)], 400).astype(
        np.int32
    )
    got = marked_near(marked, marks, SHAPE, xy, ellipse)
    row, column = np.divmod(marked, SHAPE[1])
    cos, sin = np.cos(ellipse.orientation_rad), np.sin(ellipse.orientation_rad)
    for (x, y), flags in zip(xy, got, strict=True):
        u, v = (column - x) * cos + (row - y) * sin, (row - y) * cos - (column - x) * sin
        a, b = ellipse.semimajor + 0.5, ellipse.semiminor + 0.5
        inside = (u / a) ** 2 + (v / b) ** 2 <= 1
        assert flags == np.bitwise_or.reduce(marks[inside], initial=0)
    assert len(set(got)) > 3
    assert got[12] == 0


def test_nothing_marked_nothing_flagged():
    xy, ellipse = np.array([[3.0, 4.0]]), Ellipse(3.0, 2.0, 0.0)
    assert marked_near(NOTHING, NOTHING.astype(np.int32), SHAPE, xy, ellipse).tolist() == [0]
    assert marked_near(np.array([5]), np.array([2], np.int32), SHAPE, np.empty((0, 2)), ellipse).size == 0
