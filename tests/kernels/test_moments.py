import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opticam_dask.kernels.moments import STAR, axes_of, covariances, measure_stars, positions
from opticam_dask.simulate.render import add_gaussian


def draw(shape, x, y, flux, major, minor, degrees):
    j, i = np.mgrid[: shape[0], : shape[1]]
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    u, v = (i - x) * c + (j - y) * s, (j - y) * c - (i - x) * s
    return flux * np.exp(-0.5 * ((u / major) ** 2 + (v / minor) ** 2)) / (2 * np.pi * major * minor)


@settings(max_examples=40, deadline=None)
@given(
    x=st.floats(29.5, 30.5),
    y=st.floats(27.5, 28.5),
    minor=st.floats(1.1, 3.0),
    ratio=st.floats(1.0, 2.0),
    angle=st.floats(-90, 90),
)
def test_a_gaussian_gives_back_its_own_numbers(x, y, minor, ratio, angle):
    image = 100 + draw((57, 63), x, y, 1e5, ratio * minor, minor, angle)
    star = measure_stars(image, np.array([[30, 28]]), sigma=1.5, level=100.0)[0]
    assert star["converged"]
    np.testing.assert_allclose([star["x"], star["y"]], [x, y], atol=2e-3)
    assert star["flux"] == pytest.approx(1e5, rel=0.01)
    major, least, turn = axes_of(star["mxx"], star["mxy"], star["myy"])
    np.testing.assert_allclose([major, least], [ratio * minor, minor], rtol=0.005)
    if ratio > 1.05:
        assert abs((np.degrees(turn) - angle + 90) % 180 - 90) < 1.0


def test_flux_and_widths_are_unbiased():
    rng = np.random.default_rng(4)
    found = np.concatenate(
        [
            measure_stars(
                draw((41, 41), *rng.uniform(19.5, 20.5, 2), 3000, 2.0, 1.4, 30)
                + rng.normal(50, 10, (41, 41)),
                np.array([[20, 20]]),
                sigma=1.6,
                level=50.0,
                noise=10.0,
            )
            for _ in range(600)
        ]
    )
    assert found["converged"].all()
    assert found["flux"].mean() == pytest.approx(3000, rel=0.01)
    major, minor, _ = axes_of(*(np.median(found[name])[None] for name in ("mxx", "mxy", "myy")))
    np.testing.assert_allclose([major[0], minor[0]], [2.0, 1.4], rtol=0.01)
    # of a matched filter of known shape (Naylor 1998)
    assert np.median(found["snr"]) == pytest.approx(3000 / 10 / np.sqrt(4 * np.pi * 2.0 * 1.4), rel=0.03)


def test_the_answer_depends_on_the_peak_pixel_only():
    image = 10 + draw((40, 50), 24.3, 20.2, 5000, 1.6, 1.2, 20)
    one = measure_stars(image, np.array([[24, 20]]), sigma=1.5, level=10.0)
    two = measure_stars(image, np.array([[3, 3], [24, 20]]), sigma=1.5, level=10.0)
    assert one[0] == two[1]
    assert not two[0]["converged"]
    assert np.isnan(two[0]["x"])


@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.float64])
def test_pixel_types_agree(dtype):
    image = np.rint(100 + draw((40, 50), 24.3, 20.2, 50000, 1.6, 1.2, 20))
    star = measure_stars(image.astype(dtype), np.array([[24, 20]]), sigma=1.5, level=100.0)
    assert star[0] == measure_stars(image, np.array([[24, 20]]), sigma=1.5, level=100.0)[0]


def test_bad_pixels_and_edges():
    image = 10 + draw((40, 50), 24.3, 20.2, 5000, 1.6, 1.6, 0)
    holed = image.copy()
    holed[21, 25] = np.nan
    star = measure_stars(holed, np.array([[24, 20]]), sigma=1.5, level=10.0)[0]
    assert star["converged"]
    np.testing.assert_allclose([star["x"], star["y"]], [24.3, 20.2], atol=0.05)
    outside = measure_stars(image, np.array([[-10_000, -10_000], [0, 0]]), sigma=1.5, level=10.0)
    assert not outside["converged"].any()
    assert len(measure_stars(image, np.empty((0, 2), int), sigma=1.5)) == 0
    assert not measure_stars(np.full((40, 50), 7.0), np.array([[20, 20]]), sigma=1.5)["converged"].any()
    hot = np.zeros((40, 50))
    hot[20, 20] = 1000
    assert not measure_stars(hot, np.array([[20, 20]]), sigma=1.5)["converged"].any()


@pytest.mark.parametrize("sigma", [0.75, 0.9])
def test_stars_that_are_hardly_sampled(sigma):
    rng = np.random.default_rng(8)
    places = 20.0 + rng.uniform(-0.5, 0.5, (60, 2))
    images = [100 + draw((41, 43), x, y, 5000, sigma, sigma, 0) for x, y in places]
    images = [image + rng.normal(0.0, 10.0, image.shape) for image in images]
    stars = np.concatenate(
        [
            measure_stars(image, np.array([[round(x), round(y)]]), sigma=1.5, level=100.0, noise=10.0)
            for image, (x, y) in zip(images, places, strict=True)
        ]
    )
    assert stars["converged"].all()
    assert np.abs(positions(stars) - places).max() < 0.08
    assert stars["flux"].mean() == pytest.approx(5000, rel=0.02)
    sizes = covariances(stars)[:, [0, 2]]
    assert sizes.mean() == pytest.approx(sigma**2, rel=0.04)


def test_covariances_and_places_are_columns():
    star = np.zeros(2, STAR)
    star["mxx"], star["myy"], star["x"] = 4.0, 1.0, [7.0, 8.0]
    np.testing.assert_array_equal(covariances(star), [[4, 0, 1], [4, 0, 1]])
    np.testing.assert_array_equal(positions(star), [[7, 0], [8, 0]])


@pytest.mark.parametrize("ratio", [1.0, 1.6])
@pytest.mark.parametrize(("major", "guess"), [(4.0, 3.0), (4.0, 1.5), (3.0, 2.3), (1.5, 1.5)])
def test_the_sky_ring_lies_outside_the_star_whatever_the_guess(major, guess, ratio):
    image = 100 + draw((91, 97), 45.2, 44.7, 1e5, major, major / ratio, 37.0)
    star = measure_stars(image, np.array([[45, 45]]), sigma=guess, level=100.0)
    found = axes_of(star["mxx"], star["mxy"], star["myy"])
    np.testing.assert_allclose([found[0][0], found[1][0]], [major, major / ratio], rtol=2e-4)


def test_the_first_guess_of_the_width_has_no_part_in_the_result():
    """Four neighbours 30 pixels away lie in the ring of sky that a guess too wide begins with."""
    image = np.random.default_rng(8).normal(100.0, 1.0, (121, 131))
    for x, y in ((60.3, 58.6), (90.0, 58.0), (30.0, 59.0), (60.0, 28.0), (61.0, 89.0)):
        add_gaussian(image, np.ones_like(image), x, y, 2e5, (4.0, 2.5, 0.6))
    found = [
        measure_stars(image, np.array([[60, 59]]), sigma=s, level=100.0, noise=1.0)[0] for s in (1.5, 3, 6)
    ]
    for star in found:
        assert star["flux"] == pytest.approx(found[0]["flux"], rel=2e-4)
        assert star["mxx"] + star["myy"] == pytest.approx(4.0**2 + 2.5**2 + 1 / 6, rel=2e-3)
