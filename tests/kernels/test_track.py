"""Peaks near predicted places, against a search of all places."""

import numpy as np
import pytest
from scipy.ndimage import uniform_filter

from opticam_dask.kernels.sky import Sky
from opticam_dask.kernels.track import find_peaks, track_stars
from opticam_dask.simulate.render import add_gaussian


@pytest.mark.parametrize(("sigma", "half"), [(0.8, 1), (1.5, 2), (3.2, 3)])
def test_peaks_are_the_brightest_boxes(sigma, half):
    image = np.random.default_rng(1).normal(100.0, 10.0, (83, 97))
    smoothed = uniform_filter(image, 2 * half + 1)
    xy, radius = np.array([[30.2, 40.9], [60.7, 20.1], [47.0, 55.5]]), 9.3
    y, x = np.mgrid[:83, :97]
    for place, peak in zip(xy, find_peaks(image, xy, radius, sigma), strict=True):
        near = np.hypot(x - place[0], y - place[1]) <= radius
        if max(1, int(sigma / 2)) == 1:
            assert smoothed[peak[1], peak[0]] == pytest.approx(smoothed[near].max(), abs=1e-9)
        assert near[peak[1], peak[0]]


def test_bad_pixels_and_edges_have_no_part():
    image = np.full((40, 52), 100.0, np.float32)
    image[10:13, 20:23], image[11, 21] = 150.0, np.nan
    image[:, 30:] = np.nan
    image[0, 0] = 400.0
    peaks = find_peaks(image, np.array([[20.0, 12.0], [45.0, 20.0], [1.0, 1.0], [90.0, 90.0]]), 4.0, 1.0)
    np.testing.assert_array_equal(peaks, [[21, 11], [-1, -1], [0, 0], [-1, -1]])


def test_the_whole_pattern_may_be_off_and_a_neighbour_is_not_taken_for_a_star():
    image = np.random.default_rng(2).normal(100.0, 5.0, (150, 170))
    xy, flux = np.array([[40.0, 40.0], [52.0, 40.0], [120.0, 60.0], [60.0, 110.0]]), [2e4, 5e4, 2e4, 1e4]
    places = xy + np.array([4.3, -3.6])
    for (x, y), total in zip(places, flux, strict=True):
        add_gaussian(image, np.ones_like(image), x, y, total, (1.5, 1.5, 0.0))
    stars = track_stars(image, xy, Sky(100.0, 5.0), 1.5, 10.0)
    assert stars["converged"].all()
    np.testing.assert_allclose(np.column_stack([stars["x"], stars["y"]]), places, atol=0.15)
