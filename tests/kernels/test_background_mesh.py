"""Mesh background against photutils' Background2D."""

import numpy as np
import pytest
from photutils.background import Background2D, MeanBackground

from opticam_dask.errors import InputError
from opticam_dask.kernels.background import as_pixels, background_mesh, default_box_size

pytestmark = pytest.mark.filterwarnings("ignore:Input data contains")


def frame(shape=(131, 157), *, bad=False, seed=1):
    rng = np.random.default_rng(seed)
    image = rng.normal(1000.0, 10.0, shape) + 0.3 * np.arange(shape[1])
    image += 5 * np.sin(np.arange(shape[0]) / 20)[:, None]
    image[rng.integers(0, shape[0], 300), rng.integers(0, shape[1], 300)] += 800.0
    if bad:
        image[rng.integers(0, shape[0], 60), rng.integers(0, shape[1], 60)] = np.nan
        image[30:70, 60:100] = np.nan
    return image


@pytest.mark.parametrize(
    ("shape", "box", "bad"),
    [
        ((128, 144), 16, False),
        ((128, 144), 16, True),
        ((131, 157), 16, False),
        ((131, 157), 16, True),
        ((61, 200), (12, 31), True),
        ((50, 37), 64, False),
    ],
)
def test_mesh_and_background_equal_photutils(shape, box, bad):
    image = frame(shape, bad=bad)
    theirs = Background2D(image, box)
    ours = background_mesh(image, box)
    np.testing.assert_allclose(ours.level, theirs.background_mesh, rtol=0, atol=1e-9)
    np.testing.assert_allclose(ours.rms, theirs.background_rms_mesh, rtol=0, atol=1e-9)
    level, rms = ours.image()
    np.testing.assert_allclose(level, theirs.background, rtol=0, atol=1e-8)
    np.testing.assert_allclose(rms, theirs.background_rms, rtol=0, atol=1e-8)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_types_of_pixels_to_the_single_precision_of_photutils(dtype):
    image = np.round(frame()).astype(dtype)
    theirs = Background2D(image, 16)
    ours = background_mesh(image, 16)
    np.testing.assert_allclose(ours.level, theirs.background_mesh, rtol=1e-6)
    np.testing.assert_allclose(ours.rms, theirs.background_rms_mesh, rtol=1e-6)
    exact = background_mesh(image.astype(float), 16)
    np.testing.assert_array_equal(ours.level, exact.level)


@pytest.mark.parametrize(("exclude", "filter_size"), [(50.0, 1), (0.0, 5)])
def test_options_equal_photutils(exclude, filter_size):
    image = frame((96, 112))
    image[:40, :40] = np.where(np.random.default_rng(0).random((40, 40)) < 0.2, np.nan, image[:40, :40])
    if exclude == 0.0:
        image = np.random.default_rng(4).uniform(99, 101, (96, 112))  # nothing is clipped, nothing lost
        image[50, 50] = np.nan
    exclude = max(exclude, 1.0)
    theirs = Background2D(image, 16, exclude_percentile=exclude, filter_size=filter_size)
    ours = background_mesh(image, 16, exclude_percentile=exclude, filter_size=filter_size)
    np.testing.assert_allclose(ours.level, theirs.background_mesh, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("shape", "box", "bad"), [((131, 157), 16, True), ((61, 200), (12, 31), False), ((50, 37), 64, False)]
)
@pytest.mark.parametrize("dtype", [np.uint16, np.float64])
def test_means_of_masked_boxes_equal_photutils(shape, box, bad, dtype):
    image = frame(shape, bad=bad and dtype is np.float64)
    image = image.astype(dtype) if dtype is np.float64 else np.round(image).astype(dtype)
    mask = np.random.default_rng(2).random(shape) < 0.3
    mask[: shape[0] // 2, 20:45] = True
    theirs = Background2D(
        image.astype(float), box, mask=mask, exclude_percentile=60, bkg_estimator=MeanBackground()
    )
    ours = background_mesh(image, box, mask=mask, exclude_percentile=60, estimator="mean")
    np.testing.assert_allclose(ours.level, theirs.background_mesh, rtol=0, atol=1e-9)
    np.testing.assert_allclose(ours.rms, theirs.background_rms_mesh, rtol=0, atol=1e-9)


@pytest.mark.parametrize("filter_size", [1, 3, 5])
def test_the_level_is_as_well_known_as_said(filter_size):
    xy = np.array([[x, y] for x in range(40, 200, 8) for y in range(40, 160, 8)]) + 3.5  # centres
    error = []
    for seed in range(25):
        image = np.random.default_rng(seed).normal(100.0, 10.0, (200, 240))
        mesh = background_mesh(image, (8, 8), estimator="mean", filter_size=filter_size)
        error.append((mesh.at(xy)[0] - 100.0) * np.sqrt(mesh.effective_pixels(xy)) / 10.0)
    assert np.std(error) == pytest.approx(1.02, abs=0.06)  # 1.02: what clipping adds to the error of a mean


def test_boxes_that_were_filled_count_for_what_they_know():
    mask = np.zeros((80, 80), dtype=bool)
    mask[:, :40] = True
    xy = np.array([[5.0, 35.0], [45.0, 35.0], [65.0, 35.0]])
    levels = []
    for seed in range(400):
        image = np.random.default_rng(seed).normal(100.0, 10.0, (80, 80))
        mesh = background_mesh(image, 10, mask=mask, estimator="mean")
        levels.append(mesh.at(xy)[0])
    said, found = mesh.effective_pixels(xy), 100.0 / np.var(levels, axis=0)
    assert said[0] == 0  # all boxes around are filled: how well is left to the caller
    np.testing.assert_allclose(said[1:], found[1:], rtol=0.35)  # 2 x 0.07 by chance, and the rule of thumb
    assert said[1] > said[2]
    assert (mesh.n_pixels[:, :4] == 0).all()
    assert 95 < mesh.typical_pixels <= 100
    assert background_mesh(image, 10, mask=np.ones_like(mask)).typical_pixels == 0


def test_positions_between_pixels_and_nan():
    mesh = background_mesh(frame(), 16)
    level, rms = mesh.at(np.array([[20.3, 40.8], [np.nan, 3.0], [21.0, 41.0]]))
    assert np.isnan(level[1])
    assert np.isnan(rms[1])
    assert level[2] == pytest.approx(mesh.image()[0][41, 21], abs=1e-9)
    assert abs(level[0] - level[2]) < 1.0


def test_a_constant_frame_and_a_frame_of_nan():
    level, rms = background_mesh(np.full((40, 50), 7, dtype=np.uint16), 10).at(np.array([[3.0, 4.0]]))
    assert (level[0], rms[0]) == (7.0, 0.0)
    level, rms = background_mesh(np.full((40, 50), np.nan), 10).at(np.array([[3.0, 4.0]]))
    assert np.isnan([level[0], rms[0]]).all()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("u2", "u2"),
        (">u2", "u2"),
        ("i2", "f4"),
        ("u1", "f4"),
        ("i4", "f8"),
        (">f4", "f4"),
        ("f8", "f8"),
    ],
)
def test_as_pixels(given, expected):
    image = np.arange(12).reshape(3, 4).astype(given)
    pixels = as_pixels(image)
    assert pixels.dtype == np.dtype(expected)
    assert pixels.dtype.isnative
    np.testing.assert_array_equal(pixels, image)
    assert (pixels is image) == (given in ("u2", "f8"))


def test_bad_parameters():
    with pytest.raises(InputError, match="2-D"):
        as_pixels(np.zeros(3))
    with pytest.raises(InputError, match="2-D"):
        as_pixels(np.zeros((3, 3), dtype=complex))
    with pytest.raises(InputError, match="box_size"):
        background_mesh(frame(), 0)
    with pytest.raises(InputError, match="filter_size"):
        background_mesh(frame(), 8, filter_size=2)
    with pytest.raises(InputError, match="exclude_percentile"):
        background_mesh(frame(), 8, exclude_percentile=101)
    with pytest.raises(InputError, match="'mode' or 'mean'"):
        background_mesh(frame(), 8, estimator="median")
    assert [default_box_size(width) for width in (100, 512, 2048)] == [8, 16, 64]
    assert [default_box_size(512, sigma) for sigma in (1.5, 2.6, 4.0)] == [16, 16, 24]
