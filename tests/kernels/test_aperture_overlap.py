"""Areas of pixels inside an ellipse: none where they do not touch."""

import numpy as np
import pytest

from opticam_dask.kernels.aperture import fill_overlap


def test_pixels_that_do_not_touch_the_ellipse_weigh_nothing():
    rng = np.random.default_rng(6)
    for _ in range(400):
        b = rng.uniform(0.5, 5.0)
        a, angle = b * rng.uniform(1.0, 6.0), rng.uniform(0.0, np.pi)
        half = int(1.6 * a + 6)
        x, y = half + rng.uniform(-0.5, 0.5, 2)
        weights = np.empty((2 * half + 1, 2 * half + 1))
        fill_overlap(weights, x, y, a, b, angle)
        row, column = np.nonzero(weights)
        assert np.hypot(column - x, row - y).max() < a + np.sqrt(0.5)
        assert weights.sum() == pytest.approx(np.pi * a * b, rel=1e-9)
