import numpy as np
import pytest

from opticam_dask.kernels.stack import Stack, add_frame, fixed_point_scale
from opticam_dask.kernels.stack_mean import clean_mean

LIMIT, N_MOST, NOISE = 2.0**20, 1000, 10.0
SCALE = fixed_point_scale(LIMIT, N_MOST)


def stacked(images, shifts=None):
    stack = Stack.empty(images[0].shape)
    for n, image in enumerate(images):
        dx, dy = (0, 0) if shifts is None else shifts[n]
        add_frame(image, 100.0, np.array([[1, 0, dx], [0, 1, dy]]), stack, scale=SCALE, limit=LIMIT)
    return stack


def mean(stack, *, noise=NOISE, spread=1.0, sigma=1.5):
    return clean_mean(stack, SCALE, noise=noise, spread=spread, sigma=sigma)


def skies(n, shape=(31, 37)):
    return list(np.random.default_rng(n).normal(100, NOISE, (n, *shape)))


def star(shape, x, y, flux, major, minor):
    j, i = np.mgrid[: shape[0], : shape[1]]
    u, v = (i - x) * 0.8 + (j - y) * 0.6, (j - y) * 0.8 - (i - x) * 0.6
    return flux * np.exp(-0.5 * ((u / major) ** 2 + (v / minor) ** 2)) / (2 * np.pi * major * minor)


@pytest.mark.parametrize("n", [1, 2])
def test_one_or_two_frames_are_averaged_as_they_are(n):
    images = skies(n)
    images[0][10:13, 12] += 5000
    np.testing.assert_allclose(mean(stacked(images)), np.mean(images, axis=0) - 100, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("n", [3, 4, 24])
def test_a_ray_is_left_out_and_nothing_else(n):
    images = skies(n)
    clean = np.mean(images, axis=0) - 100
    images[1][10:13, 12] += 5000
    result = mean(stacked(images))
    expected = (np.sum(images, axis=0) - images[1])[10:13, 12] / (n - 1) - 100
    np.testing.assert_allclose(result[10:13, 12], expected, rtol=1e-5, atol=1e-4)
    result[10:13, 12] = clean[10:13, 12]
    np.testing.assert_allclose(result, clean, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(("n", "left"), [(3, True), (4, False), (24, False)])
def test_two_rays_at_one_place_need_four_frames(n, left):
    images = skies(n)
    images[0][10, 12] += 5000
    images[2][10, 12] += 900
    assert (mean(stacked(images))[10, 12] > 4 * NOISE) == left


def test_pixels_count_the_frames_that_reach_them():
    images = skies(5)
    for image in images[:3]:
        image[:, :9] = np.nan
    for row in (5, 25):
        images[4][row, 4] += 5000
        images[4][row, 20] += 5000
    images[1][:] = np.nan
    result = mean(stacked(images))
    assert (result[[5, 25], 4] > 2000).all()
    assert (np.abs(result[[5, 25], 20]) < 3 * NOISE).all()


SEEING = {
    "steady": np.ones(24),
    "worse by 40 %": np.linspace(1, 1.4, 24),
    "one frame worse": np.where(np.arange(24) == 5, 1.4, 1),
    "one frame better": np.where(np.arange(24) == 5, 1 / 1.4, 1),
    "three frames": np.array([1, 1.2, 1.4]),
}


@pytest.mark.parametrize("name", SEEING)
@pytest.mark.parametrize("sigmas", [(3.0, 1.5), (1.5, 1.5), (0.9, 0.9)])
def test_stars_keep_their_flux(name, sigmas):
    """Jitter of a pixel, any seeing, peaks from the noise to a thousand times it."""
    seeing, shape, rng = SEEING[name], (95, 103), np.random.default_rng(2)
    places = np.array([[25.3, 25.1], [75.5, 27.5], [26.8, 70.2], [77.0, 69.6]])
    images, shifts = skies(len(seeing), shape), rng.normal(0, 1, (len(seeing), 2))
    for image, shift, width in zip(images, shifts, seeing, strict=True):
        for (x, y), flux in zip(places + shift, (1e6, 1e5, 1e4, 1e3), strict=True):
            image += star(shape, x, y, flux, *(width * np.array(sigmas)))
    stack, peaks = stacked(images, shifts), seeing**-2.0
    sigma, spread = np.sqrt(np.prod(sigmas)), peaks.max() / np.quantile(peaks, 0.1)
    clean, plain = mean(stack, spread=spread, sigma=sigma), mean(stack, noise=np.inf)
    for x, y in np.rint(places).astype(int):
        box = np.s_[y - 18 : y + 19, x - 18 : x + 19]
        assert np.nansum(clean[box]) == pytest.approx(np.nansum(plain[box]), rel=5e-4)


def test_strips_leave_no_trace(monkeypatch):
    images = skies(6)
    for image, row in zip(images, (2, 9, 10, 11, 12, 30), strict=True):
        image[row : row + 3, 5:20] += 3000 * np.arange(15)
        image += star(image.shape, 18.2, 10.4, 1e5, 1.5, 1.5)
    whole = mean(stacked(images))
    monkeypatch.setattr("opticam_dask.kernels.stack_mean._STRIP", 3)
    np.testing.assert_array_equal(mean(stacked(images)), whole)


def test_a_cloudy_night_keeps_the_light_of_its_clear_frames():
    clear, images = np.array([0.35, 0.4, 1.1, 0.35, 0.4, 0.35]), skies(6)
    for image, transparency in zip(images, clear, strict=True):
        image += transparency * star(image.shape, 18.2, 15.4, 1e5, 1.5, 1.5)
    stack = stacked(images)
    np.testing.assert_array_equal(mean(stack, spread=1.1 / 0.35), mean(stack, noise=np.inf))
