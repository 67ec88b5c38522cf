import numpy as np
import pytest
from astropy.stats import mad_std, sigma_clipped_stats

from opticam_dask.kernels.detect import detect_stars
from opticam_dask.kernels.moments import positions
from opticam_dask.kernels.sky import Sky, isolated_pixels, sky_of, without


def draw(shape, x, y, flux, sigma):
    j, i = np.mgrid[: shape[0], : shape[1]]
    return flux * np.exp(-0.5 * ((i - x) ** 2 + (j - y) ** 2) / sigma**2) / (2 * np.pi * sigma**2)


def noise(shape, seed=0, sky=200.0, rms=5.0):
    return np.random.default_rng(seed).normal(sky, rms, shape)


@pytest.mark.parametrize("shape", [(40, 51), (211, 173), (600, 701)])
def test_sky_is_robust(shape):
    image = noise(shape)
    image[5:9, 5:30] = 1e5
    image[20, ::3] = np.nan
    sky = sky_of(image)
    _, median, _ = sigma_clipped_stats(image, mask=np.isnan(image))
    assert sky.level == pytest.approx(median, abs=0.3)
    assert sky.rms == pytest.approx(mad_std(image, ignore_nan=True), rel=0.08)


def unit_of(sample):
    """Step of whole numbers, by nine tenths of them."""
    rim = sample.size // 20
    bulk = np.sort(sample)[rim : sample.size - rim].astype(np.int64)
    return int(np.gcd.reduce(np.diff(bulk))) or 1 if bulk.size > 1 else 1


def ungrouped(sample, unit):
    """Whole numbers as grouped data: those that are equal, evenly over their unit."""
    pairs = zip(*np.unique(sample, return_counts=True), strict=True)
    return np.concatenate([v + unit * ((np.arange(n) + 0.5) / n - 0.5) for v, n in pairs])


@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("rms", [0.3, 3.0, 30.0])
def test_sky_is_the_clipped_median_and_its_deviation(dtype, rms):
    """Small frames of odd and even size, where every pixel counts, against the definition in numpy."""
    rng, whole = np.random.default_rng(int(10 * rms)), dtype is np.uint16
    for shape in rng.integers(1, 40, (40, 2)):
        image = rng.normal(200.0, rms, shape)
        image.ravel()[: image.size // 9] += 20 * rms
        image = np.rint(image).astype(dtype) if whole else image.astype(dtype)
        if not whole:
            image.ravel()[-3:-1] = np.nan, -np.inf
        sample = image.ravel()[np.isfinite(image.ravel())].astype(float)
        unit = unit_of(sample) if whole else 0
        sample = ungrouped(sample, unit) if whole else sample
        for _ in range(5):
            level = np.median(sample) if sample.size else np.nan
            scatter = 1.482602218505602 * np.median(np.abs(sample - level)) if sample.size else np.nan
            scatter = scatter or np.std(sample)
            sample = sample[np.abs(sample - level) <= 3 * scatter]
        if whole:
            narrow = np.std(sample) if scatter < unit else scatter
            scatter = np.sqrt(max(narrow**2 - unit**2 / 12, 0.0))
        found = sky_of(image)
        np.testing.assert_allclose([found.level, found.rms], [level, scatter], rtol=1e-12, atol=1e-7)


@pytest.mark.parametrize("fraction", [0.0, 0.2, 0.5, 0.77])
@pytest.mark.parametrize("rms", [0.5, 1.4, 2.0, 4.6, 10.0])
def test_sky_of_whole_numbers_is_known_to_a_fraction_of_them(rms, fraction):
    pixels = np.rint(noise((521, 487), 3, 60.0 + fraction, rms))
    for image in (pixels.astype(np.uint16), pixels.astype(np.float32)):
        sky = sky_of(image)
        assert sky.level == pytest.approx(60.0 + fraction, abs=max(0.1, 0.02 * rms))
        assert sky.rms == pytest.approx(np.hypot(rms, 12**-0.5), rel=0.04)


@pytest.mark.parametrize("step", [2, 16, 64])
@pytest.mark.parametrize("rms", [0.5, 1.4, 4.6])
def test_sky_of_a_camera_that_counts_in_steps_is_that_of_the_steps(step, rms):
    """Cameras of 12 bits may fill 16 of them; here with stars, and hot pixels at the top."""
    pixels = np.rint(noise((211, 173), 5, 60.4, rms))
    pixels[40:44, 30:35] += 500.0
    pixels[::31, ::29] = 4095.0
    one, many = sky_of(pixels.astype(np.float32)), sky_of((step * pixels + 3).astype(np.float32))
    assert one.rms == pytest.approx(np.hypot(rms, 12**-0.5), rel=0.08)
    assert many.level == pytest.approx(step * one.level + 3, rel=1e-9)
    assert many.rms == pytest.approx(step * one.rms, rel=1e-9)


def test_a_frame_of_one_value_and_some_hot_pixels_has_no_scatter():
    image = np.full((120, 131), 7, np.uint16)
    image[::7, ::11] = 900
    assert sky_of(image) == Sky(7.0, 0.0)


def test_sky_of_nothing_and_of_one_value():
    nothing = sky_of(np.full((30, 30), np.nan))
    assert np.isnan(nothing.level)
    assert np.isnan(nothing.rms)
    assert sky_of(np.full((30, 30), 7, np.uint16)) == Sky(7.0, 0.0)
    assert sky_of(np.random.default_rng(0).integers(100, 102, (60, 60)).astype(np.uint16)).rms > 0.3


@pytest.mark.parametrize("sigma", [0.6, 1.0, 3.0])
def test_stars_are_not_isolated_whatever_their_phase(sigma):
    rng = np.random.default_rng(1)
    for x, y in rng.uniform(19.5, 20.5, (60, 2)):
        image = noise((41, 45), rms=1.0) + draw((41, 45), x, y, 4000, sigma)
        assert isolated_pixels(image, Sky(200.0, 1.0)).size == 0


def test_single_pixels_and_pairs_are_isolated():
    image = noise((50, 61)).astype(np.float32)
    image[10, 20] += 500
    image[30, 40] += 800
    image[31, 41] += 700
    image[0, 0] += 400
    expected = sorted([10 * 61 + 20, 30 * 61 + 40, 31 * 61 + 41, 0])
    assert isolated_pixels(image, Sky(200.0, 5.0)).tolist() == expected
    clean = without(image, np.array(expected))
    assert np.isnan(clean).sum() == 4
    assert without(image, np.empty(0, np.int64)) is image
    assert isolated_pixels(image, Sky(200.0, 0.0)).size == 0


@pytest.mark.parametrize("sigma", [0.8, 1.5, 6.0])
@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_stars_are_found_and_measured_brightest_first(sigma, dtype):
    shape = (301, 277)
    xy = np.array([[60.3, 70.8], [200.1, 60.4], [70.7, 220.2], [210.5, 230.9]])
    flux = np.array([60000, 40000, 25000, 16000]) * max(1.0, sigma / 2)
    gradient = np.linspace(0, 60, shape[1])[None, :]
    image = noise(shape) + gradient + sum(draw(shape, *p, f, sigma) for p, f in zip(xy, flux, strict=True))
    image[100, 100] += 5000
    image = np.rint(image).astype(dtype)
    stars, isolated = detect_stars(image, sky_of(image))
    assert len(stars) == 4
    np.testing.assert_allclose(positions(stars), xy, atol=max(0.1, 0.03 * sigma))
    np.testing.assert_allclose(stars["flux"], flux, rtol=0.05)
    np.testing.assert_allclose(np.sqrt(stars["mxx"]), sigma, rtol=0.07)
    assert 100 * shape[1] + 100 in isolated


def test_limit_keeps_the_brightest_and_noise_is_no_star():
    image = noise((200, 220), seed=3)
    assert len(detect_stars(image, sky_of(image))[0]) == 0
    for n in range(5):
        image += draw(image.shape, 30 + 35 * n, 100, 3000 * (n + 1), 1.5)
    stars, _ = detect_stars(image, sky_of(image), limit=2)
    np.testing.assert_allclose(stars["x"], [170, 135], atol=0.1)


def test_frames_without_content_have_no_stars():
    for image in (np.full((50, 50), np.nan), np.full((50, 50), 3.0), np.zeros((5, 5))):
        stars, isolated = detect_stars(image, sky_of(image))
        assert len(stars) == 0
        assert isolated.size == 0
