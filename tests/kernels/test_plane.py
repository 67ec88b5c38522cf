"""Planes through annuli against exact planes and numpy's least squares."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opticam_dask.errors import InputError
from opticam_dask.kernels.clipping import NO_CLIP
from opticam_dask.kernels.plane import annulus_planes
from opticam_dask.kernels.stamps import Ellipse

ELLIPSE = Ellipse(4.0, 2.5, np.radians(37.0))
SHAPE = (83, 121)
Y, X = np.indices(SHAPE)


def in_annulus(place, ellipse=ELLIPSE, r_in=5.0, r_out=7.5):
    a, b, theta = ellipse
    dx, dy = X - place[0], Y - place[1]
    u, v = dx * np.cos(theta) + dy * np.sin(theta), dy * np.cos(theta) - dx * np.sin(theta)
    r = np.hypot(u / a, v / b)
    return (r < r_out) & (r >= r_in)


@settings(max_examples=30, deadline=None)
@given(
    level=st.integers(-10_000, 10_000), slope_x=st.integers(-200, 200), slope_y=st.integers(-200, 200),
    x=st.floats(0, 120), y=st.floats(0, 82),
)  # fmt: skip
def test_a_tilted_plane_is_found_exactly_even_at_the_edge(level, slope_x, slope_y, x, y):
    slope_x, slope_y = slope_x / 10, slope_y / 10
    image = level + slope_x * X + slope_y * Y
    sky = annulus_planes(image, np.array([[x, y]]), ELLIPSE, rule=NO_CLIP)
    assert sky.level[0] == pytest.approx(level + slope_x * x + slope_y * y, abs=1e-7)
    assert sky.scatter[0] == pytest.approx(0.0, abs=1e-7)


def test_level_scatter_and_leverage_are_those_of_least_squares():
    image = np.random.default_rng(1).normal(100.0, 10.0, SHAPE) + 0.7 * X - 0.3 * Y
    image[20:30, 50:70] = np.nan
    xy = np.array([[60.3, 40.8], [2.0, 3.0], [118.6, 41.0]])
    sky = annulus_planes(image, xy, ELLIPSE, rule=NO_CLIP)
    for k, place in enumerate(xy):
        use = in_annulus(place) & np.isfinite(image)
        design = np.column_stack([np.ones(use.sum()), X[use] - place[0], Y[use] - place[1]])
        plane, squares, *_ = np.linalg.lstsq(design, image[use], rcond=None)
        assert sky.level[k] == pytest.approx(plane[0], abs=1e-9)
        assert sky.scatter[k] == pytest.approx(np.sqrt(squares[0] / use.sum()), abs=1e-10)
        assert sky.leverage[k] == pytest.approx(np.linalg.inv(design.T @ design)[0, 0], rel=1e-9)
        assert sky.n_pixels[k] == use.sum()


def test_stars_in_the_annulus_are_clipped_though_the_sky_is_steep():
    image = np.random.default_rng(2).normal(0.0, 1.0, SHAPE) + 3.0 * X
    image[38:43, 78:83] += 60.0  # less than the gradient's own range
    sky = annulus_planes(image, np.array([[60.0, 40.0]]), ELLIPSE)
    assert sky.level[0] == pytest.approx(180.0, abs=5 * np.sqrt(sky.leverage[0]))
    assert sky.scatter[0] < 1.1


def test_pixels_on_a_line_or_too_few_are_no_plane():
    image = np.full(SHAPE, np.nan)
    image[40, :] = 5.0
    sky = annulus_planes(image, np.array([[60.0, 40.0]]), ELLIPSE)
    assert sky.n_pixels[0] > 10
    assert np.isnan([sky.level[0], sky.scatter[0], sky.leverage[0]]).all()
    image[40, :] = np.nan
    image[41, 35:40] = 1.0
    assert np.isnan(annulus_planes(image, np.array([[60.0, 40.0]]), ELLIPSE).level[0])


def test_what_neighbours_cover_is_left_out():
    image = np.random.default_rng(3).normal(100.0, 10.0, SHAPE)
    xy = np.array([[50.0, 40.0], [75.0, 45.0]])
    alone, beside = (annulus_planes(image, xy, ELLIPSE, sources=s) for s in (None, xy))
    assert (alone.n_masked == 0).all()
    assert (beside.n_masked > 0).all()
    np.testing.assert_array_equal(alone.n_good, beside.n_masked + beside.n_good)
    with pytest.raises(InputError, match="r_in < r_out"):
        annulus_planes(image, xy, ELLIPSE, r_in=3, r_out=2)
