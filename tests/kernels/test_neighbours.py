"""Neighbours and masks of sources against brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opticam_dask.kernels.annulus import annulus_statistics
from opticam_dask.kernels.neighbours import MASK_SCALE, covered, mask_form, neighbours_of, source_mask
from opticam_dask.kernels.stamps import Ellipse

ELLIPSE = Ellipse(4.0, 2.5, np.radians(37.0))
REACH = 11.5


def scaled_distance(dx, dy, ellipse=ELLIPSE):
    a, b, theta = ellipse
    u, v = dx * np.cos(theta) + dy * np.sin(theta), dy * np.cos(theta) - dx * np.sin(theta)
    return np.hypot(u / a, v / b)


def sources(n, seed):
    xy = np.random.default_rng(seed).uniform(-20.0, 170.0, (n, 2))
    xy[:: max(n // 3, 2)] = np.nan
    return xy


@settings(max_examples=40, deadline=None)
@given(n=st.integers(0, 40), seed=st.integers(0, 100))
def test_neighbours_are_all_within_reach_but_the_nearest(n, seed):
    xy, places = sources(n, seed), np.random.default_rng(seed + 1).uniform(0.0, 150.0, (7, 2))
    near = neighbours_of(places, xy, ELLIPSE, REACH)
    for k, place in enumerate(places):
        distance = scaled_distance(*(xy - place).T)
        expected = set(np.flatnonzero(distance < REACH))
        if np.isfinite(distance).any():
            expected.discard(int(np.nanargmin(distance)))
        found = near.xy[near.first[k] : near.first[k + 1]]
        assert {tuple(row) for row in found} == {tuple(row) for row in xy[sorted(expected)]}


def test_of_two_sources_at_one_place_one_is_a_neighbour():
    twice = np.array([[50.0, 50.0], [50.0, 50.0], [60.0, 50.0]])
    near = neighbours_of(twice, twice, ELLIPSE, REACH)
    np.testing.assert_array_equal(np.diff(near.first), [2, 2, 2])


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000), a=st.floats(0.7, 6.0), ratio=st.floats(0.3, 1.0), angle=st.floats(-180, 180)
)
def test_masks_cover_the_ellipses(seed, a, ratio, angle):
    ellipse, xy, shape = Ellipse(a, a * ratio, np.radians(angle)), sources(5, seed), (61, 83)
    y, x = np.indices(shape)
    for scale in (4.0, 5.0):
        distance = np.min(
            [scaled_distance(x - px, y - py, ellipse) for px, py in xy[np.isfinite(xy[:, 0])]], axis=0
        )
        mask = source_mask(shape, xy, ellipse, scale)
        sure = np.abs(distance - scale) > 1e-9
        np.testing.assert_array_equal(mask[sure], (distance < scale)[sure])


def test_a_pixel_is_covered_within_the_ellipse():
    form, one = mask_form(ELLIPSE), np.array([[10.2, 20.4]])
    along = np.array([np.cos(ELLIPSE.orientation_rad), np.sin(ELLIPSE.orientation_rad)])
    inner, outer = (one[0] + MASK_SCALE * 4.0 * f * along for f in (0.999, 1.001))
    assert covered(*inner, one, form)
    assert not covered(*outer, one, form)
    assert not covered(*inner, one[:0], form)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000))
def test_the_sky_of_a_source_does_not_depend_on_the_order_of_the_others(seed):
    rng = np.random.default_rng(seed)
    image = rng.normal(100.0, 10.0, (77, 91))
    xy = rng.uniform(-5.0, 90.0, (12, 2))
    xy[3] = xy[5]
    order = rng.permutation(len(xy))
    known = xy[:8]
    one, other = (annulus_statistics(image, known, ELLIPSE, sources=s) for s in (xy, xy[order]))
    for left, right in zip(one, other, strict=True):
        np.testing.assert_array_equal(left, right)
    turned = annulus_statistics(image, known[::-1], ELLIPSE, sources=xy)
    for left, right in zip(one, turned, strict=True):
        np.testing.assert_array_equal(left, right[::-1])


def test_masked_annuli_equal_photutils_with_a_mask():
    import astropy.units as u
    from astropy.stats import SigmaClip
    from photutils.aperture import ApertureStats, EllipticalAnnulus

    rng = np.random.default_rng(8)
    image, xy = rng.normal(100.0, 10.0, (131, 157)), rng.uniform(20.0, 120.0, (14, 2))
    ours = annulus_statistics(image, xy, ELLIPSE, sources=xy)
    axes = {"a_in": 20.0, "a_out": 30.0, "b_in": 12.5, "b_out": 18.75}
    for k, place in enumerate(xy):
        mask = source_mask(image.shape, np.delete(xy, k, axis=0), ELLIPSE, MASK_SCALE)
        annulus = EllipticalAnnulus(place, **axes, theta=37.0 * u.deg)
        if ours.n_pixels[k] < 10:
            continue
        theirs = ApertureStats(image, annulus, mask=mask, sigma_clip=SigmaClip(3, maxiters=10))
        unmasked = ApertureStats(image, annulus, sigma_clip=None).center_aper_area.value
        assert (ours.mean[k], ours.std[k]) == pytest.approx((theirs.mean, theirs.std), abs=1e-10)
        assert ours.n_pixels[k] == theirs.center_aper_area.value
        assert ours.n_masked[k] + ours.n_good[k] == unmasked
    assert (ours.n_masked > 0).any()


def test_batches_do_not_matter_to_neighbours(monkeypatch):
    rng = np.random.default_rng(8)
    image, xy = rng.normal(100.0, 10.0, (131, 157)), rng.uniform(20.0, 120.0, (14, 2))
    whole = annulus_statistics(image, xy, ELLIPSE, sources=xy)
    monkeypatch.setattr("opticam_dask.kernels.stamps._BATCH_BYTES", 1)
    for one, other in zip(whole, annulus_statistics(image, xy, ELLIPSE, sources=xy), strict=True):
        np.testing.assert_array_equal(one, other)
