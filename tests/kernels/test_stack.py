import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from opticam_dask.kernels.moments import measure_stars
from opticam_dask.kernels.stack import Stack, add_frame, fill_holes, fixed_point_scale
from opticam_dask.kernels.stack_intake import Intake
from opticam_dask.kernels.stack_mean import clean_mean
from opticam_dask.simulate.render import add_gaussian

IDENTITY = np.eye(2, 3)


def stack(images, affines, shape, level=0.0, limit=2.0**20, n=100):
    scale = fixed_point_scale(limit, n)
    total = Stack.empty(shape)
    for image, affine in zip(images, affines, strict=True):
        add_frame(image, level, affine, total, scale=scale, limit=limit)
    return total, total.count, clean_mean(total, scale, noise=np.inf, spread=1.0, sigma=1.0)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.float64])
def test_one_frame_in_place_is_itself(dtype):
    image = np.random.default_rng(0).integers(0, 60000, (37, 53)).astype(dtype)
    _, count, mean = stack([image], [IDENTITY], image.shape, level=100.0)
    np.testing.assert_array_equal(mean, image.astype(float) - 100)
    assert (count == 1).all()


@pytest.mark.parametrize("degrees", [0.0, 0.02, 0.5, -1.0, 5.7, 90.0, 180.0])
@pytest.mark.parametrize("scale", [1.0, 0.99])
def test_resampling_agrees_with_scipy(degrees, scale):
    image = np.random.default_rng(0).normal(100, 10, (41, 57))
    c, s = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    affine = np.array([[c, -s, 3.3 + 28 * (1 - c) - 20 * s], [s, c, -1.7 + 20 * (1 - c) + 28 * s]])
    _, count, mean = stack([image], [affine], image.shape)
    j, i = np.mgrid[:41, :57]
    x, y = (
        affine[0, 0] * i + affine[0, 1] * j + affine[0, 2],
        affine[1, 0] * i + affine[1, 1] * j + affine[1, 2],
    )
    expected = map_coordinates(image, [y, x], order=1, cval=np.nan, prefilter=False)
    np.testing.assert_array_equal(count > 0, np.isfinite(expected))
    np.testing.assert_allclose(mean, expected, rtol=1e-6)


def test_any_order_and_grouping_gives_the_same_bits():
    rng = np.random.default_rng(1)
    images = [rng.normal(0, 1e4, (23, 31)) for _ in range(9)]
    affines = [IDENTITY + np.array([[0, 0, dx], [0, 0, dy]]) for dx, dy in rng.normal(0, 1, (9, 2))]
    total, *_ = stack(images, affines, (23, 31))
    order = rng.permutation(9)
    again, *_ = stack([images[i] for i in order], [affines[i] for i in order], (23, 31))
    parts = [stack(images[a:b], affines[a:b], (23, 31))[0] for a, b in ((0, 1), (1, 7), (7, 9))]
    for other in (again, Stack.merged(parts), Stack.merged([parts[2], Stack.merged(parts[:2])])):
        for name in ("total", "count", "largest"):
            np.testing.assert_array_equal(getattr(total, name), getattr(other, name))


def test_frames_added_together_give_the_same_bits_as_one_by_one(monkeypatch):
    """Turned and still, wider than a run, with bad pixels; three to the buffer, and one by one."""
    shape, rng = (67, 301), np.random.default_rng(4)
    images = rng.normal(100, 10, (7, *shape)).astype(np.float32)
    images[rng.random(images.shape) < 0.01] = np.nan
    affines = [IDENTITY + rng.normal(0, 1e-3, (2, 3)) * [1, 1, 1e3] for _ in images]
    affines[2], affines[5] = IDENTITY, np.array([[-1.0, 0.02, 300.0], [-0.02, -1.0, 66.5]])
    one_by_one, *_ = stack(images, affines, shape, level=100.0)
    monkeypatch.setattr("opticam_dask.kernels.stack_intake._BYTES", 3 * images[0].nbytes)
    intake = Intake(shape, fixed_point_scale(2.0**20, 100), 2.0**20)
    for n, (image, affine) in enumerate(zip(images, affines, strict=True)):
        intake.image[:] = image
        intake.take(100.0, affine)
        intake.image[:] = n  # a frame that is not taken leaves no trace
    for name in ("total", "count", "largest"):
        np.testing.assert_array_equal(getattr(intake.stack(), name), getattr(one_by_one, name))


def test_stars_of_a_stack_are_where_they_were_as_bright_as_they_were():
    """Places and fluxes of stars in the mean of jittered, turning frames against the truth."""
    shape, rng, sigma = (95, 121), np.random.default_rng(5), 1.6
    xy, flux = np.array([[30.2, 40.7], [90.6, 25.1], [60.4, 70.9]]), np.array([5e4, 2e4, 1e4])
    images, affines = [], []
    for n in range(24):
        c, s = np.cos(2e-4 * n), np.sin(2e-4 * n)
        affines.append(np.array([[c, -s, rng.normal()], [s, c, rng.normal()]]))
        image = rng.normal(100.0, 5.0, shape)
        for (x, y), total in zip(xy @ affines[-1][:, :2].T + affines[-1][:, 2], flux, strict=True):
            add_gaussian(image, np.ones_like(image), x, y, total, (sigma, sigma, 0.0))
        images.append(image.astype(np.float32))
    _, _, mean = stack(images, affines, shape, level=100.0)
    stars = measure_stars(fill_holes(mean), np.rint(xy).astype(np.int64), sigma=sigma)
    np.testing.assert_allclose(np.column_stack([stars["x"], stars["y"]]), xy, atol=0.01)
    np.testing.assert_allclose(stars["flux"], flux, rtol=0.01)
    # a pixel's own width and bilinear blending, 1/6 of a pixel squared on the average, are all that widens
    np.testing.assert_allclose(stars["mxx"], sigma**2 + 1 / 12 + 1 / 6, rtol=0.02)


def test_bad_pixels_spoil_only_what_they_touch():
    image = np.ones((9, 11))
    image[4, 5], image[0, 0] = np.nan, np.inf
    _, count, mean = stack([image], [IDENTITY], image.shape)
    assert (count == 0).sum() == 2
    assert np.isnan(mean[4, 5])
    shifted = IDENTITY + np.array([[0, 0, 0.5], [0, 0, 0]])
    _, count, _ = stack([image, np.ones((9, 11))], [shifted, IDENTITY], image.shape)
    assert count[4].tolist() == [2, 2, 2, 2, 1, 1, 2, 2, 2, 2, 1]


def test_values_are_clipped_and_sums_never_overflow():
    limit, n = 2.0**18, 4_000_000
    scale = fixed_point_scale(limit, n)
    assert limit * scale * n < 2.0**63
    assert fixed_point_scale(1.0, 1) == 2.0**30
    _, _, mean = stack([np.full((3, 3), 1e9), np.full((3, 3), -1e9)], [IDENTITY] * 2, (3, 3), limit=limit)
    assert (mean == 0).all()


def test_holes_are_filled_from_their_neighbours():
    image = np.arange(49.0).reshape(7, 7)
    holed = image.copy()
    holed[3, 3] = np.nan
    assert fill_holes(holed)[3, 3] == pytest.approx(24.0)
    assert (fill_holes(image) == image).all()
    assert (fill_holes(np.full((9, 9), np.nan), 5.0) == 5.0).all()
