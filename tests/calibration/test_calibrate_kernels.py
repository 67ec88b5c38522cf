"""Sums of frames to the bit, and the one-pass calibration against plain numpy."""

import numpy as np
import pytest

from opticam_dask.kernels.calibrate import (
    NOTHING,
    Digits,
    Response,
    Sums,
    add_to_extremes,
    add_within,
    calibrated,
    merged,
)
from opticam_dask.kernels.rebin import rebinned, rebinned_places

SHAPE = (13, 17)


def frames(n=12, seed=0):
    rng = np.random.default_rng(seed)
    images = rng.normal(300, 20, (n, *SHAPE)).astype(np.float32)
    images[3, 2, 5] = np.nan
    images[5, 7, 1] = 5000.0
    return images


def summed(images, digits, response=None):
    sums = Sums.empty(SHAPE, extremes=True)
    for image in images:
        add_to_extremes(image, response or Response(), digits, sums)
    return sums


def test_sums_and_extremes_are_those_of_numpy():
    images, digits = frames(), Digits.of(2.0**17, 12)
    sums = summed(images, digits)
    steps = np.rint(images.astype(np.float64) * digits.scale)
    assert (sums.small[0] == np.isfinite(images).sum(axis=0)).all()
    assert (sums.sums[0] == np.nansum(steps, axis=0)).all()
    assert (sums.sums[1] == np.nansum(steps**2, axis=0)).all()
    ordered = np.sort(steps, axis=0)  # NaN last
    assert (sums.small[1:3] == ordered[:2]).all()
    n = np.isfinite(images).sum(axis=0)
    for back, kept in ((1, sums.small[3]), (2, sums.small[4])):
        assert (kept == np.take_along_axis(ordered, (n - back)[None], axis=0)[0]).all()


@pytest.mark.parametrize("cuts", [(1,), (4, 5), (2, 3, 9), tuple(range(1, 12))])
def test_any_grouping_and_order_gives_the_same_bits(cuts):
    images, digits = frames(), Digits.of(2.0**17, 12)
    whole = summed(images, digits)
    parts = [summed(some, digits) for some in np.split(images[::-1], cuts)]
    together = merged([merged(parts[1:]), parts[0]]) if len(parts) > 1 else parts[0]
    assert (together.sums == whole.sums).all()
    assert (together.small == whole.small).all()


def test_saturated_pixels_and_wild_values_do_not_count():
    digits = Digits(1.0, 1000.0)
    image = np.full(SHAPE, 100, np.uint16)
    image[0, 0], image[0, 1] = 900, 5000
    sums = summed([image], digits, Response(saturation=900.0))
    assert sums.small[0, 0, 0] == 0
    assert summed([image], digits).small[0, 0, 1] == 0
    assert sums.small[0].sum() == image.size - 2


def test_only_values_within_bounds_count_in_the_second_look():
    images, digits = frames(), Digits.of(2.0**17, 12)
    bounds = np.rint(np.array([np.full(SHAPE, 290.0), np.full(SHAPE, 310.0)]) * digits.scale).astype(np.int32)
    sums = Sums.empty(SHAPE, extremes=False)
    for image in images:
        add_within(image, Response(), digits, bounds, sums)
    inside = (images >= 290) & (images <= 310)
    assert (sums.small[0] == inside.sum(axis=0)).all()
    expected = np.where(inside, images.astype(np.float64), 0.0).sum(axis=0)
    assert np.allclose(sums.sums[0] / digits.scale, expected, atol=12 / digits.scale)


def test_squares_of_all_frames_fit():
    for n in (1, 500, 100_000):
        digits = Digits.of(2.0**17, n)
        assert n * (digits.limit * digits.scale) ** 2 < 2**63
        assert digits.limit * digits.scale < 2**31


@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.float64])
def test_calibration_is_that_of_numpy(dtype):
    rng = np.random.default_rng(4)
    raw = rng.integers(100, 60000, SHAPE).astype(dtype)
    part = np.s_[2:11, 3:16]
    bias, dark = (rng.normal(90, 9, SHAPE).astype(np.float32)[part].copy() for _ in range(2))
    inverse = rng.uniform(0.7, 1.4, SHAPE).astype(np.float32)[part].copy()
    inverse[4, 4] = np.nan
    response = Response(bias, dark, 3.5, constant=7.0, factor=0.45, saturation=50000.0)
    image = np.empty((9, 13), np.float32)
    saturated = calibrated(raw, response, inverse, (2, 3), image)
    wanted = (raw[part].astype(np.float64) - 7.0 - bias - dark.astype(np.float64) * 3.5) * 0.45 * inverse
    assert image.dtype == np.float32
    np.testing.assert_allclose(image, wanted, rtol=3e-7)
    assert (saturated == np.flatnonzero(raw[part] >= 50000.0)).all()
    assert saturated.size


def test_without_masters_numbers_stay():
    raw = np.arange(13 * 17, dtype=np.uint16).reshape(SHAPE)
    image = np.empty(SHAPE, np.float32)
    saturated = calibrated(raw, Response(), NOTHING, (0, 0), image)
    assert (image == raw).all()
    assert saturated.size == 0


def test_rebinning_adds_up_and_drops_the_rest():
    image = np.arange(7 * 11, dtype=np.float32).reshape(7, 11)
    binned = rebinned(image, 3)
    assert binned.shape == (2, 3)
    assert binned[1, 2] == image[3:6, 6:9].sum()
    image[4, 7] = np.nan
    assert np.flatnonzero(np.isnan(rebinned(image, 3))).tolist() == [5]
    places = rebinned_places(np.array([0, 4 * 11 + 7, 6 * 11, 10]), (7, 11), 3)
    assert places.tolist() == [0, 5, -1, -1]
