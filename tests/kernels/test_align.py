import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opticam_dask.kernels import align, transform, transform_fit

SHAPE = (401, 517)


def similarity(shift=(0.0, 0.0), degrees=0.0, scale=1.0):
    c, s = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    linear, centre = np.array([[c, -s], [s, c]]), np.array([258.0, 200.0])
    return np.column_stack([linear, centre - linear @ centre + shift])


def field(n, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform([10, 10], [507, 391], (n, 2)), 1000 * 1.3 ** np.arange(n)[::-1]


def matched(xy, flux, affine, kind="affine", seed=1, noise=0.05):
    rng = np.random.default_rng(seed)
    places = transform.apply(affine, xy) + rng.normal(0, noise, xy.shape)
    seen = transform.inside(places, SHAPE)
    return align.match_stars(xy, places[seen], (flux, flux[seen]), SHAPE, kind)


@settings(max_examples=30, deadline=None)
@given(
    x=st.floats(-80, 80),
    y=st.floats(-80, 80),
    degrees=st.sampled_from([0.0, 3.0, -40.0, 90.0, 180.0, 179.0]),
    scale=st.floats(0.97, 1.03),
    seed=st.integers(0, 5),
)
def test_any_similarity_is_recovered(x, y, degrees, scale, seed):
    xy, flux = field(25, seed)
    true = similarity((x, y), degrees, scale)
    match = matched(xy, flux, true)
    assert match is not None
    assert np.abs(transform.apply(match.affine, xy) - transform.apply(true, xy)).max() < 0.3
    assert match.residual < 0.15


def test_description_of_a_transform():
    affine = similarity((3.0, -4.0), 30.0, 1.02)
    assert transform.rotation_deg(affine) == pytest.approx(30.0)
    assert transform.scale_of(affine) == pytest.approx(1.02)
    np.testing.assert_allclose(transform.centre_shift(affine, SHAPE), [3, -4], atol=1e-9)
    xy = field(5)[0]
    np.testing.assert_allclose(transform.apply(transform.invert(affine), transform.apply(affine, xy)), xy)


def test_fits_agree_with_least_squares():
    xy, _ = field(12)
    rng = np.random.default_rng(2)
    target = transform.apply(similarity((5, 6), 20, 0.99), xy) + rng.normal(0, 0.2, xy.shape)
    weights = rng.uniform(0.5, 2, 12)
    root = np.sqrt(np.repeat(weights, 2))
    design = np.zeros((24, 4))
    design[::2] = np.column_stack([xy[:, 0], -xy[:, 1], np.ones(12), np.zeros(12)])
    design[1::2] = np.column_stack([xy[:, 1], xy[:, 0], np.zeros(12), np.ones(12)])
    a, b, tx, ty = np.linalg.lstsq(design * root[:, None], target.ravel() * root, rcond=None)[0]
    np.testing.assert_allclose(
        transform_fit.fit_similarity(xy, target, weights), [[a, -b, tx], [b, a, ty]], rtol=1e-9
    )
    shear = np.array([[1.01, 0.02, 3.0], [-0.01, 0.98, -7.0]])
    np.testing.assert_allclose(
        transform_fit.fit_affine(xy, transform.apply(shear, xy), weights), shear, atol=1e-9
    )


def test_shear_is_fitted_only_when_stars_ask_for_it():
    xy, flux = field(15)
    squeezed = similarity((4, 2), 1.0)
    squeezed[1] *= 1.003
    found = transform_fit.robust_fit(xy, transform.apply(squeezed, xy), np.ones(15), similarity(), "affine")[
        0
    ]
    np.testing.assert_allclose(found, squeezed, atol=1e-6)
    noisy = matched(xy, flux, similarity((4, 2), 1.0)).affine
    assert noisy[0, 0] == noisy[1, 1]


def test_outliers_are_rejected():
    xy, _ = field(15)
    target = transform.apply(similarity((4, 2), 1.0), xy)
    target[[2, 9]] += [4.0, -3.0]
    affine, kept, residual = transform_fit.robust_fit(xy, target, np.ones(15), transform.IDENTITY, "affine")
    assert np.flatnonzero(~kept).tolist() == [2, 9]
    assert residual < 1e-9
    np.testing.assert_allclose(affine, similarity((4, 2), 1.0), atol=1e-9)


def test_spurious_and_missing_stars_do_not_matter():
    xy, flux = field(20)
    rng = np.random.default_rng(5)
    true = similarity((-30, 12), 181)
    places = transform.apply(true, xy)
    frame = np.concatenate([places[3::2], rng.uniform(0, 380, (6, 2))])
    other = np.concatenate([flux[3::2], rng.uniform(1000, 5000, 6)])
    order = np.argsort(-other)
    match = align.match_stars(xy, frame[order], (flux, other[order]), SHAPE)
    assert match is not None
    np.testing.assert_allclose(match.affine, true, atol=1e-6)


def test_unrelated_fields_do_not_match():
    for seed in range(8):
        (a, fa), (b, fb) = field(20, seed), field(20, seed + 100)
        assert align.match_stars(a, b, (fa, fb), SHAPE) is None


@pytest.mark.parametrize("n", [1, 2, 8])
def test_translation(n):
    xy, flux = field(n, 4)
    true = similarity((7.5, -11.25))
    match = matched(xy, flux, true, "translation", noise=0.0)
    assert match is not None
    np.testing.assert_allclose(match.affine, true, atol=1e-9)
    assert len(match.frame) == n


def test_nothing_to_match():
    xy, flux = field(5)
    assert align.match_stars(xy, xy[:0], (flux, flux[:0]), SHAPE) is None
    # one star of many could be any of them
    assert align.match_stars(xy, xy[:1] + 30, (flux, flux[:1]), SHAPE) is None


def test_the_answer_is_always_the_same():
    xy, flux = field(25, 9)
    matches = [matched(xy, flux, similarity((10, 20), 77)) for _ in range(3)]
    assert all(np.array_equal(m.affine, matches[0].affine) for m in matches)


def test_two_pairs_that_no_shift_fits_give_a_rotation():
    xy = np.array([[100.0, 90.0], [60.0, 150.0]])
    turned = transform_fit.fit_rotation(xy, transform.apply(similarity(1.5, 1.0), xy), np.ones(2))
    found, kept, residual = transform_fit.robust_fit(
        xy, transform.apply(turned, xy), np.ones(2), transform.IDENTITY, "affine"
    )
    assert kept.all()
    assert residual < 1e-9
    assert transform.rotation_deg(found) == pytest.approx(transform.rotation_deg(turned), abs=1e-9)
    assert transform.scale_of(found) == pytest.approx(1.0, abs=1e-12)


def test_two_pairs_that_are_no_turned_field_give_a_shift():
    xy = np.array([[100.0, 90.0], [60.0, 150.0]])
    target = xy + np.array([[3.0, 2.0], [-4.0, 9.0]])  # farther apart than in the reference
    found = transform_fit.robust_fit(xy, target, np.ones(2), transform.IDENTITY, "affine")[0]
    np.testing.assert_array_equal(found[:, :2], np.eye(2))
