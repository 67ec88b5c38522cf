"""Gaussians by recurrence against exponentials, and sums against exact ones."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opticam_dask.kernels.gaussian import fill_gaussian, quadratic_form
from opticam_dask.kernels.sums import dot, moments_about


@settings(max_examples=60, deadline=None)
@given(
    a=st.floats(0.3, 15.0), ratio=st.floats(0.05, 1.0), angle=st.floats(-180, 180), x=st.floats(-3, 25),
    y=st.floats(-3, 40),
)  # fmt: skip
def test_a_gaussian_is_the_exponential(a, ratio, angle, x, y):
    form = quadratic_form(a**2, (a * ratio) ** 2, math.radians(angle))
    out = np.empty((37, 23))
    fill_gaussian(out, x, y, form)
    dy, dx = np.mgrid[:37, :23] - np.array([y, x])[:, None, None]
    half = 0.5 * (form[0] * dx**2 + form[1] * dx * dy + form[2] * dy**2)
    near = half < 12.5  # five standard deviations: nobody looks farther
    np.testing.assert_allclose(out[near], np.exp(-half[near]), rtol=1e-11)
    assert (out[~near] < 4e-6).all()


@pytest.mark.parametrize("n", [0, 1, 3, 4, 7, 1000])
def test_sums_are_right_for_any_length(n):
    rng = np.random.default_rng(n)
    one, other = rng.normal(3.0, 1.0, (2, n))
    assert dot(one, other) == pytest.approx(math.fsum(one * other), rel=1e-14)
    total, squares = moments_about(one, 1.5)
    assert total == pytest.approx(math.fsum(one - 1.5), rel=1e-14)
    assert squares == pytest.approx(math.fsum((one - 1.5) ** 2), rel=1e-14)
