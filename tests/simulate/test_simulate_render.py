"""Profiles and noise against closed forms, scipy and photutils."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from opticam_dask.simulate.photons import poisson_inplace
from opticam_dask.simulate.render import add_gaussian, add_moffat, add_sampled_gaussian, add_stars


def draw(add, shape, x, y, flux, psf, *extra):
    image = np.zeros(shape)
    add(image, np.ones(shape), x, y, flux, psf, *extra)
    return image


@settings(max_examples=40, deadline=None)
@given(
    x=st.floats(35, 45),
    y=st.floats(28, 33),
    minor=st.floats(0.5, 2.0),
    ratio=st.floats(1.0, 2.0),
    angle=st.floats(-180, 180),
)
def test_integrated_gaussian_keeps_its_total(x, y, minor, ratio, angle):
    image = draw(add_gaussian, (61, 83), x, y, 7.0, (minor * ratio, minor, math.radians(angle)))
    assert image.sum() == pytest.approx(7.0, rel=2e-6)


@pytest.mark.parametrize(
    "psf", [(2.5, 1.2, math.radians(37)), (0.9, 0.5, math.radians(-60)), (1.5, 1.5, 0.0)]
)
def test_integrated_gaussian_equals_fine_sampling(psf):
    fine, shape, (x, y) = 41, (31, 35), (17.3, 14.6)
    step = (np.arange(fine) - fine // 2) / fine
    ys = (np.arange(shape[0])[:, None] + step).ravel()[:, None] - y
    xs = (np.arange(shape[1])[:, None] + step).ravel()[None, :] - x
    a, b, t = psf
    u, v = xs * math.cos(t) + ys * math.sin(t), -xs * math.sin(t) + ys * math.cos(t)
    dense = np.exp(-0.5 * ((u / a) ** 2 + (v / b) ** 2)) / (2 * math.pi * a * b)
    truth = dense.reshape(shape[0], fine, shape[1], fine).mean(axis=(1, 3))
    np.testing.assert_allclose(draw(add_gaussian, shape, x, y, 1.0, psf), truth, atol=1.5e-4 * truth.max())


def test_orientation_is_counter_clockwise_from_x():
    image = draw(add_gaussian, (61, 63), 30.0, 31.0, 1.0, (4.0, 2.5, math.radians(37)))
    y, x = np.indices(image.shape)
    dx, dy = x - 30.0, y - 31.0
    cxx, cyy, cxy = (float((image * m).sum()) for m in (dx * dx, dy * dy, dx * dy))
    assert 0.5 * math.degrees(math.atan2(2 * cxy, cxx - cyy)) == pytest.approx(37.0, abs=0.01)
    semimajor2 = (cxx + cyy) / 2 + math.hypot((cxx - cyy) / 2, cxy)
    assert semimajor2 == pytest.approx(16.0 + 1 / 12, rel=1e-4)  # a pixel widens it by 1/12


def test_sampled_gaussian_has_the_analytic_peak():
    image = draw(add_sampled_gaussian, (31, 31), 15.0, 15.0, 6672.0, (1.5, 1.5, 0.0))
    assert image.max() == pytest.approx(6672 / (2 * math.pi * 1.5**2), rel=1e-12)


def test_moffat_total_and_width():
    image = draw(add_moffat, (401, 403), 200.0, 200.0, 1.0, (3.0, 3.0, 0.0), 3.5)
    assert 1 - 3e-4 < image.sum() < 1 + 1e-5
    half = np.interp(-0.5, -image[200, 200:220] / image[200, 200], np.arange(20))
    assert 2 * half == pytest.approx(2.3548 * 3.0, rel=0.02)


def test_star_off_the_frame_or_on_its_edge_is_cut():
    args = (np.array([[-500.0, 3.0], [3.0, 900.0], [0.0, 10.0]]), np.full(3, 100.0), (1.5, 1.5, 0.0), 0, 3.0)
    image = np.zeros((21, 33))
    add_stars(image, np.ones_like(image), *args)
    assert image[:, :8].sum() == pytest.approx(image.sum())
    assert image.sum() == pytest.approx(100 * stats.norm.cdf(0.5 / 1.5), rel=1e-5)


@pytest.mark.parametrize("mean", [0.3, 4.0, 9.99, 10.0, 31.4, 100.0, 731.0])
@pytest.mark.parametrize("tabled", [True, False])
def test_poisson_deviates_follow_the_distribution(mean, tabled):
    image = np.full((1000, 1500), mean)
    state = np.random.SeedSequence(5).generate_state(4, np.uint64).astype(np.uint64)
    poisson_inplace(image, mean if tabled else -1.0, state)
    counts = image.ravel()
    assert (counts == np.rint(counts)).all()
    assert counts.mean() == pytest.approx(mean, abs=4.5 * math.sqrt(mean / counts.size))
    low, high = stats.poisson.ppf([0.001, 0.999], mean)
    edges = np.unique(np.linspace(low, high, 20).astype(int))
    cdf = np.concatenate([[0.0], stats.poisson.cdf(edges, mean), [1.0]])
    observed = np.histogram(counts, np.concatenate([[-1], edges + 0.5, [1e9]]))[0]
    expected = np.diff(cdf) * counts.size
    keep = expected > 5
    chi2 = float(((observed - expected)[keep] ** 2 / expected[keep]).sum())
    assert stats.chi2.sf(chi2, keep.sum() - 1) > 1e-4


def test_poisson_of_large_and_empty_means():
    image = np.array([[0.0, -3.0], [1e6, 1e6]])
    poisson_inplace(image, -1.0, np.array([1, 2, 3, 4], np.uint64))
    assert image[0].tolist() == [0.0, 0.0]
    assert np.abs(image[1] - 1e6).max() < 6e3
