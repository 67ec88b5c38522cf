"""Shapes combined and fluxes of a known shape, against simulated stars."""

import numpy as np
import pytest

from opticam_dask.kernels.moments import covariances, measure_stars, shape_fluxes
from opticam_dask.kernels.shape import clipped_mean, debiased, relative_variance, weighted_median
from opticam_dask.simulate.render import add_gaussian


def drawn(rng, a, b, degrees, flux, sky, size=49):
    image = np.full((size, size + 6), float(sky))
    x, y = rng.uniform(size / 2 - 0.5, size / 2 + 0.5, 2)
    add_gaussian(image, np.ones_like(image), x, y, flux, (a, b, np.radians(degrees)))
    return rng.poisson(image).astype(float), np.array([[x, y]])


def measured(n, *star, sky=100.0):
    rng = np.random.default_rng(12)
    found = []
    for _ in range(n):
        image, xy = drawn(rng, *star, sky)
        sigma = np.sqrt(star[0] * star[1])
        found.append(measure_stars(image, np.rint(xy).astype(int), sigma=sigma, level=sky, noise=sky**0.5))
    return np.concatenate(found)


@pytest.mark.parametrize(("a", "b", "flux"), [(2.6, 1.7, 2500.0), (2.6, 1.7, 30000.0), (1.5, 1.5, 1500.0)])
def test_noise_and_bias_of_moments_are_as_predicted(a, b, flux):
    stars = measured(700, a, b, 37.0, flux)
    stars = stars[stars["converged"]]
    shapes, variance = covariances(stars), relative_variance(stars, 1.0)
    trace = shapes[:, 0] + shapes[:, 2]
    scatter = np.std(shapes[:, 0]) / np.mean(shapes[:, 0])
    assert scatter == pytest.approx(np.sqrt(np.median(variance)), rel=0.15)
    true = a**2 + b**2 + 2 / 12
    clean = debiased(shapes, np.full(len(stars), np.median(variance)))
    error = 3 * trace.std() / np.sqrt(len(trace)) / true
    assert abs((clean[:, 0] + clean[:, 2]).mean() / true - 1) < error + 0.3 * np.median(variance)


def test_the_pixels_own_shape_is_taken_off():
    image = np.zeros((41, 47))
    add_gaussian(image, np.ones_like(image), 23.2, 20.4, 1e5, (1.0, 1.0, 0.0))
    star = measure_stars(image, np.array([[23, 20]]), sigma=1.0)
    true = 1.0 + 1 / 12
    raw = covariances(star)[0, 0] / true - 1
    assert raw > 1e-3
    assert abs(debiased(covariances(star), np.zeros(1))[0, 0] / true - 1) < raw / 2


def test_fluxes_of_a_known_shape_are_unbiased_however_faint():
    rng = np.random.default_rng(3)
    shape = np.array([2.6**2 + 1 / 12, 0.0, 1.7**2 + 1 / 12])
    found = []
    for _ in range(600):
        image, xy = drawn(rng, 2.6, 1.7, 0.0, 300.0, 100.0)
        found.append([value[0] for value in shape_fluxes(image, xy, shape, 100.0)])
    flux, noise = np.array(found).T
    error = flux.std() / np.sqrt(len(flux))
    assert flux.std() / flux.mean() > 0.25
    assert abs(flux.mean() - 300.0) < 3 * error
    ring = np.pi * (15.1**2 - 12.1**2)  # pixels of the sky's ring, whose median has an error, too
    level = 4 * np.pi * np.sqrt(shape[0] * shape[2]) * 1.2533 * 10 / np.sqrt(ring)
    expected = np.sqrt((10 * noise.mean()) ** 2 + 4 / 3 * 300 + level**2)
    assert flux.std() == pytest.approx(expected, rel=0.08)


def test_fluxes_off_the_frame_or_on_bad_pixels_are_nan():
    image, xy = drawn(np.random.default_rng(1), 2.0, 2.0, 0.0, 1e4, 100.0)
    places = np.concatenate([xy, [[-3.0, 20.0], [0.0, 0.0], [np.nan, 5.0]]])
    flux, _ = shape_fluxes(image, places, np.array([4.0, 0.0, 4.0]), 100.0)
    assert flux[0] == pytest.approx(1e4, rel=0.05)
    assert np.isnan(flux[1:]).all()
    image[15:35, 15:35] = np.nan
    assert np.isnan(shape_fluxes(image, xy, np.array([4.0, 0.0, 4.0]), 100.0)[0][0])


def test_the_mean_leaves_out_a_star_of_another_size_and_the_best_weighs_most():
    shapes = np.array([[4.0, 0.5, 2.0], [4.02, 0.5, 2.0], [3.98, 0.5, 2.0], [4.2, 0.5, 2.0], [9.0, 0.0, 9.0]])
    variance = np.array([1e-5, 1e-5, 1e-5, 1e-2, 1e-5])
    mean = clipped_mean(shapes, variance)
    np.testing.assert_allclose(mean, [4.0, 0.5, 2.0], atol=0.004)
    np.testing.assert_allclose(clipped_mean(shapes[:1], variance[:1]), shapes[0])


def test_weighted_median():
    assert weighted_median(np.array([3.0, 1.0, 2.0]), np.ones(3)) == 2.0
    assert weighted_median(np.array([4.0, 1.0, 2.0, 3.0]), np.ones(4)) == 2.5
    assert weighted_median(np.array([3.0, 1.0, 2.0]), np.array([5.0, 1.0, 1.0])) == 3.0
    assert weighted_median(np.array([7.0]), np.array([0.1])) == 7.0
