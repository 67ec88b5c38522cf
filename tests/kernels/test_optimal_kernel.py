"""Optimal extraction against injected truth and a direct transcription of its formulae."""

import numpy as np
import pytest

from opticam_dask.kernels.noise import level_variance
from opticam_dask.kernels.optimal import SourceSky, optimal_fluxes
from opticam_dask.kernels.stamps import Ellipse
from opticam_dask.photometers.noise_budget import NoiseBudget
from opticam_dask.schema import Flag
from opticam_dask.types import Exposure

PSF = Ellipse(3.0, 1.5, np.radians(-75.0))
HERE = np.array([[40.3, 30.6]])


def profile(psf=PSF, x=40.3, y=30.6, shape=(61, 83), pad=40):
    """Unit-sum Gaussian on a grid that extends far beyond the frame, cut to the frame."""
    j, i = np.mgrid[-pad : shape[0] + pad, -pad : shape[1] + pad]
    cos, sin = np.cos(psf.orientation_rad), np.sin(psf.orientation_rad)
    u = ((i - x) * cos + (j - y) * sin) / psf.semimajor
    v = ((j - y) * cos - (i - x) * sin) / psf.semiminor
    image = np.exp(-0.5 * (u**2 + v**2))
    return (image / image.sum())[pad:-pad, pad:-pad]


def sky(level=100.0, scatter=5.0, variance=0.1):
    return SourceSky(np.array([level]), np.array([scatter]), np.array([variance]))


def variance(got, under, gain=1.0):
    """Of the first flux, as the budget puts it together from the sums of the weights."""
    return NoiseBudget().terms(got, under, Exposure(np.empty(0), gain=gain)).total[0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_noiseless_star_gives_its_counts(dtype):
    image = (100.0 + 5000.0 * profile()).astype(dtype)
    assert optimal_fluxes(image, HERE, PSF, sky()).flux[0] == pytest.approx(5000.0, rel=1e-5)


@pytest.mark.parametrize("gain", [1.0, 0.45])
def test_flux_and_variance_follow_the_formulae(gain):
    image = 100.0 + 5000.0 * profile() + np.random.default_rng(1).normal(0, 5, (61, 83))
    got = optimal_fluxes(image, HERE, PSF, sky(), gain=gain)
    p, flux = profile(), 0.0
    for _ in range(6):
        v = 25.0 + max(flux, 0.0) * p / gain
        weight = (p / v) / (p**2 / v).sum()
        flux = (weight * (image - 100.0)).sum()
    expected = (weight**2 * v).sum() + weight.sum() ** 2 * 0.1
    assert got.flux[0] == pytest.approx(flux, rel=1e-4)
    assert variance(got, sky(), gain) == pytest.approx(expected, rel=1e-4)
    np.testing.assert_allclose(got.sums.w, weight.sum(), rtol=1e-3)
    np.testing.assert_allclose(got.sums.w2, (weight**2).sum(), rtol=1e-4)
    np.testing.assert_allclose(got.sums.w2p, (weight**2 * p).sum(), rtol=1e-4)


def test_a_negative_flux_has_no_shot_noise():
    image = np.full((61, 83), 100.0) - 300.0 * profile()
    got = optimal_fluxes(image, HERE, PSF, sky(variance=0.0))
    assert got.flux[0] == pytest.approx(-300.0, rel=1e-5)
    assert variance(got, sky(variance=0.0)) == pytest.approx(25.0 / (profile() ** 2).sum(), rel=1e-5)


def test_lost_pixels_leave_the_flux_unbiased_and_the_error_larger():
    image = 100.0 + 5000.0 * profile()
    whole = optimal_fluxes(image, HERE, PSF, sky())
    image[30, 40] = np.nan
    image[31, 41] = np.inf
    got = optimal_fluxes(image, HERE, PSF, sky())
    assert got.flux[0] == pytest.approx(5000.0, rel=1e-5)
    assert variance(got, sky()) > variance(whole, sky())
    assert got.flags[0] == Flag.NON_FINITE


@pytest.mark.parametrize(("y", "finite"), [(60.0, True), (60.45, True), (61.5, False), (500.0, False)])
def test_the_edge_of_the_frame(y, finite):
    xy = np.array([[40.3, y]])
    image = 100.0 + 5000.0 * profile(y=y) if y < 100 else np.full((61, 83), 100.0)
    got = optimal_fluxes(image, xy, PSF, sky())
    assert got.flags[0] == Flag.EDGE
    assert np.isfinite(got.flux[0]) == finite
    if finite:
        assert got.flux[0] == pytest.approx(5000.0, rel=1e-4)


def test_a_saturated_core_is_flagged_and_a_far_pixel_is_not():
    image = 100.0 + 5000.0 * profile()
    image[30, 55] = 9000.0
    assert optimal_fluxes(image, HERE, PSF, sky(), saturation=9000.0).flags[0] == 0
    image[31, 40] = 9000.0
    assert optimal_fluxes(image, HERE, PSF, sky(), saturation=9000.0).flags[0] == Flag.SATURATED
    assert optimal_fluxes(image, HERE, PSF, sky()).flags[0] == 0


def test_an_unknown_sky_gives_nan_and_a_noiseless_sky_does_not():
    image = 100.0 + 5000.0 * profile()
    assert np.isnan(optimal_fluxes(image, HERE, PSF, sky(level=np.nan)).flux[0])
    still = sky(scatter=0.0, variance=0.0)
    got = optimal_fluxes(image, HERE, PSF, still)
    p = profile()
    assert got.flux[0] == pytest.approx(5000.0, rel=1e-5)
    assert variance(got, still) == pytest.approx(5000.0 * (p**3).sum() / (p**2).sum() ** 2, rel=1e-3)


def test_level_variance():
    np.testing.assert_allclose(level_variance(np.array([10.0]), np.array([400.0])), [0.25])
