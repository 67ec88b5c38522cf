"""The two-way solution finds injected means and transparencies, whatever is missing."""

import numpy as np
import pytest

from opticam_dask.differential.solve import Stars, common_mode, connected, leave_one_out, solve

RATES = (3e4, 2e4, 1.2e4, 8e3, 5e3, 3e3, 2e3)


@pytest.fixture
def solved(night_of_stars):
    return lambda **kw: _solved(night_of_stars, **kw)


def _solved(night_of_stars, **kw):
    flux, error, truth = night_of_stars(**kw)
    return solve(flux / 2.0, error / 2.0), truth / np.median(truth)


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_transparency_and_its_error_are_right(missing, solved):
    found, truth = solved(missing=missing, n_frames=2000)
    ensemble = found.ensemble
    seen = np.isfinite(ensemble.transparency)
    np.testing.assert_array_equal(seen, np.isfinite(ensemble.variance))
    assert seen.mean() > 0.99
    # the median of noisy values is not that of the truth: only the shape counts
    scale = np.nanmedian(ensemble.transparency / truth)
    ratio = (ensemble.transparency / truth / scale)[seen]
    pull = (ensemble.transparency / scale - truth)[seen] / np.sqrt(ensemble.variance[seen])
    half = len(ratio) // 2
    assert abs(ratio[:half].mean() / ratio[half:].mean() - 1.0) < 1e-3
    assert np.std(pull) == pytest.approx(1.0, abs=0.06)
    np.testing.assert_allclose(found.stars.mean / found.stars.mean[0], np.array(RATES) / RATES[0], rtol=5e-3)


def test_nothing_jumps_when_the_brightest_star_drops_out(night_of_stars):
    flux, error, _ = night_of_stars(n_frames=600)
    flux[0, 300:] = error[0, 300:] = np.nan
    found = solve(flux, error)
    full, _, truth = night_of_stars(n_frames=600)
    ratio = found.ensemble.transparency / truth
    before, after = ratio[:300], ratio[300:]
    noise = np.hypot(before.std() / np.sqrt(300), after.std() / np.sqrt(300))
    assert abs(after.mean() / before.mean() - 1.0) < 4.0 * noise
    # while a plain sum loses the star's light
    assert np.nansum(flux, axis=0)[300] < 0.75 * full.sum(axis=0)[300]


def test_scatter_is_laid_on_the_star_that_has_it(solved):
    wiggle = 1.0 + 0.04 * np.sin(np.arange(1500) * 1.7)
    found, _ = solved(n_frames=1500, factors={0: wiggle})
    assert found.stars.excess[0] == pytest.approx(0.04 / np.sqrt(2.0), rel=0.1)
    assert (found.stars.excess[1:] < 0.006).all()
    assert found.ensemble.share[0].mean() < 0.15


def test_one_wild_measurement_does_not_drag_its_frame(night_of_stars):
    flux, error, truth = night_of_stars(n_frames=400)
    flux[2, 200] *= 5.0
    ensemble = solve(flux, error).ensemble
    ratio = ensemble.transparency / truth
    assert abs(ratio[200] / np.median(ratio) - 1.0) < 6.0 * np.sqrt(ensemble.variance[200])


def test_frames_with_no_star_in_common_are_not_joined(night_of_stars):
    flux, error, _ = night_of_stars(n_frames=500)
    flux[:3, :300] = flux[3:, 300:] = np.nan
    error = np.where(np.isfinite(flux), error, np.nan)
    found = solve(flux, error)
    assert found.joined[:300].all()
    assert not found.joined[300:].any()
    assert np.isnan(found.ensemble.transparency[300:]).all()
    assert np.isnan(found.stars.mean[:3]).all()
    assert not connected(np.isfinite(flux))[300:].any()


def test_each_frame_is_solved_on_its_own(night_of_stars):
    flux, error, _ = night_of_stars(missing=0.2)
    stars = solve(flux, error).stars
    whole = common_mode(flux, error, stars)
    parts = [common_mode(flux[:, a:b], error[:, a:b], stars) for a, b in ((0, 1), (1, 333), (333, 800))]
    for name in ("transparency", "variance", "n_stars"):
        np.testing.assert_array_equal(getattr(whole, name), np.concatenate([getattr(p, name) for p in parts]))


def test_plain_stars_are_summed(night_of_stars):
    flux, error, _ = night_of_stars(n_frames=50)
    stars = Stars(flux.mean(axis=1), error.mean(axis=1), np.zeros(7), plain=True)
    ensemble = common_mode(flux, error, stars)
    np.testing.assert_allclose(ensemble.transparency, flux.sum(axis=0) / stars.mean.sum(), rtol=1e-12)
    expected = (error**2).sum(axis=0) / stars.mean.sum() ** 2
    np.testing.assert_allclose(ensemble.variance, expected, rtol=1e-12)


def test_a_star_left_out_is_compared_with_all_others(night_of_stars):
    flux, error, _ = night_of_stars(n_frames=40)
    stars = solve(flux, error).stars
    plain = Stars(stars.mean, stars.error, stars.excess, plain=True)
    difference, star, rest = leave_one_out(flux, error, plain, common_mode(flux, error, plain))
    others = flux[1:].sum(axis=0) / stars.mean[1:].sum()
    np.testing.assert_allclose(difference[0], flux[0] / stars.mean[0] / others - 1.0, rtol=1e-9, atol=1e-12)
    own = (error[0] / stars.mean[0] / others) ** 2
    scatter = (
        stars.excess[1:, None] * stars.mean[1:, None] * common_mode(flux, error, plain).transparency
    ) ** 2
    expected = (error[1:] ** 2 + scatter).sum(axis=0) / stars.mean[1:].sum() ** 2 / others**2
    np.testing.assert_allclose(star[0], own, rtol=1e-9)
    np.testing.assert_allclose(rest[0], expected, rtol=1e-9)


def test_one_star_alone_is_its_own_transparency(night_of_stars):
    flux, error, _ = night_of_stars(n_frames=30, rates=(1e4,))
    found = solve(flux, error)
    np.testing.assert_allclose(found.ensemble.transparency * found.stars.mean[0], flux[0], rtol=1e-12)
    assert found.stars.excess[0] == 0.0
