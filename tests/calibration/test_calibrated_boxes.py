"""Pixels near sources calibrated alone are those of frames calibrated whole, to the bit."""

import numpy as np
import pytest

from opticam_dask.calibration import frame as module
from opticam_dask.kernels.calibrate import NOTHING, Response, calibrated

SHAPE, START = (61, 83), (5, 3)
RNG = np.random.default_rng(11)


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize("masters", [True, False])
def test_boxes_hold_what_the_whole_frame_has(dtype, masters):
    raw = RNG.integers(900, 1100, (SHAPE[0] + 9, SHAPE[1] + 8)).astype(dtype)
    raw[20, 30] = raw[40, 50] = 60000
    maps = [RNG.uniform(0.5, 1.5, SHAPE).astype("f4") if masters else NOTHING for _ in range(3)]
    maps[2][2:3, 5:6] = np.nan
    response = Response(maps[0], maps[1], 3.0, 2.5, 1.7, saturation=5e4)
    whole, some = np.empty(SHAPE, "f4"), np.full(SHAPE, -1.0, "f4")
    boxes = np.array([[0, 9, 1, 7], [10, 25, 20, 40], [12, 27, 25, 45], [60, 61, 80, 83]])
    marked = calibrated(raw, response, maps[2], START, whole)
    near = calibrated(raw, response, maps[2], START, some, boxes)
    inside = np.zeros(SHAPE, bool)
    for y0, y1, x0, x1 in boxes:
        inside[y0:y1, x0:x1] = True
    np.testing.assert_array_equal(some[inside], whole[inside])
    assert (some[~inside] == -1.0).all()
    assert np.unique(near).tolist() == [m for m in marked if inside.ravel()[m]] == [15 * SHAPE[1] + 27]
    assert marked.tolist() == [15 * SHAPE[1] + 27, 35 * SHAPE[1] + 47]


def test_boxes_are_cut_to_the_region_of_interest():
    layout = module.Layout((70, 90), ((10, 50), (20, 80)))
    boxes = np.array([[0, 12, 0, 30], [0, 5, 25, 30], [30, 40, 40, 50], [45, 70, 79, 90]])
    np.testing.assert_array_equal(
        layout.crop_boxes(boxes), [[0, 2, 0, 10], [20, 30, 20, 30], [35, 40, 59, 60]]
    )
