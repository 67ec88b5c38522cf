"""Exact apertures against photutils, sep and areas known in closed form."""

import astropy.units as u
import numpy as np
import pytest
import sep
from hypothesis import given, settings
from hypothesis import strategies as st
from photutils.aperture import EllipticalAperture, aperture_photometry

from opticam_dask.kernels.aperture import aperture_fluxes, aperture_sums
from opticam_dask.kernels.optimal import SourceSky
from opticam_dask.kernels.stamps import Ellipse
from opticam_dask.schema import Flag

RNG = np.random.default_rng(7)
IMAGE = RNG.normal(100.0, 10.0, (61, 83))


def photutils_sums(image, xy, a, b, angle):
    aperture = EllipticalAperture(xy, a, b, theta=angle * u.deg)
    return np.asarray(aperture_photometry(image, aperture, method="exact")["aperture_sum"])


@pytest.mark.parametrize("angle", [0.0, 37.0, 90.0, -75.0, 180.0, 123.4])
@pytest.mark.parametrize(("a", "b"), [(4.0, 2.5), (9.42, 5.9), (0.4, 0.2), (3.0, 3.0), (12.0, 0.6)])
def test_sums_equal_photutils(a, b, angle):
    special = [(10.0, 10.0), (10.5, 20.5), (0.0, 0.0), (-0.1, 30.0)]
    xy = np.vstack([RNG.uniform(0, 1, (20, 2)) * (82, 60), special])
    ours = aperture_sums(IMAGE, xy, Ellipse(a, b, np.radians(angle)))
    np.testing.assert_allclose(ours, photutils_sums(IMAGE, xy, a, b, angle), rtol=0, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(
    a=st.floats(0.1, 8.0), ratio=st.floats(0.05, 1.0), angle=st.floats(-180, 180),
    x=st.floats(-0.5, 0.5), y=st.floats(-0.5, 0.5),
)  # fmt: skip
def test_the_area_is_that_of_the_ellipse(a, ratio, angle, x, y):
    ones = np.ones((25, 27), dtype=np.float32)
    area = aperture_sums(ones, np.array([[13 + x, 12 + y]]), Ellipse(a, a * ratio, np.radians(angle)))[0]
    assert area == pytest.approx(np.pi * a * a * ratio, rel=1e-9, abs=1e-11)


@pytest.mark.parametrize("radius", [0.3, 1.0, 3.53, 10.0])
def test_circles_equal_sep(radius):
    xy = RNG.uniform(12, 48, (20, 2))
    theirs, _, _ = sep.sum_circle(IMAGE, xy[:, 0], xy[:, 1], radius, subpix=0)
    ours = aperture_sums(IMAGE, xy, Ellipse(radius, radius, 0.4))
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)  # sep weighs pixels in single precision


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_types_of_pixels(dtype):
    image = np.round(IMAGE).astype(dtype)
    xy, ellipse = np.array([[30.2, 20.7]]), Ellipse(4.0, 2.5, 0.6)
    assert aperture_sums(image, xy, ellipse) == aperture_sums(image.astype(float), xy, ellipse)


def star(psf, x, y, flux, shape=(61, 83)):
    j, i = np.indices(shape)
    cos, sin = np.cos(psf.orientation_rad), np.sin(psf.orientation_rad)
    u_axis = ((i - x) * cos + (j - y) * sin) / psf.semimajor
    v_axis = ((j - y) * cos - (i - x) * sin) / psf.semiminor
    profile = np.exp(-0.5 * (u_axis**2 + v_axis**2))
    return flux * profile / (2 * np.pi * psf.semimajor * psf.semiminor)


PSF = Ellipse(3.0, 1.5, np.radians(30.0))
SKY = SourceSky(np.array([100.0]), np.array([5.0]), np.array([0.1]))


def test_the_correction_gives_total_counts_whatever_the_aperture():
    image = 100.0 + star(PSF, 40.3, 30.6, 5000.0)
    for aperture in (PSF, Ellipse(6.0, 6.0, 0.0), Ellipse(2.0, 1.0, 1.0)):
        flux = aperture_fluxes(image, np.array([[40.3, 30.6]]), PSF, aperture, SKY).flux[0]
        assert flux == pytest.approx(5000.0, rel=1e-5)


def photutils_mask(xy, a, b):
    """Area of every pixel of the frame in an aperture along the PSF."""
    aperture = EllipticalAperture(xy, a, b, theta=PSF.orientation_rad * u.rad)
    return aperture.to_mask(method="exact").to_image(IMAGE.shape)


def test_sums_of_the_weights_are_those_of_photutils_own_weights():
    image = 100.0 + star(PSF, 40.3, 30.6, 5000.0)
    aperture = Ellipse(7.0, 3.5, PSF.orientation_rad)
    mask = photutils_mask((40.3, 30.6), 7.0, 3.5)
    p = star(PSF, 40.3, 30.6, 1.0)
    got = aperture_fluxes(image, np.array([[40.3, 30.6]]), PSF, aperture, SKY, correct=False)
    np.testing.assert_allclose(got.flux, 5000.0 * (mask * p).sum(), rtol=1e-5)
    np.testing.assert_allclose(got.sums.w, np.pi * 7.0 * 3.5, rtol=1e-9)
    np.testing.assert_allclose(got.sums.w2, (mask**2).sum(), rtol=1e-9)
    np.testing.assert_allclose(got.flux * got.sums.w2p, 5000.0 * (mask**2 * p).sum(), rtol=1e-5)
    total = aperture_fluxes(image, np.array([[40.3, 30.6]]), PSF, aperture, SKY)
    held = (mask * p).sum()
    np.testing.assert_allclose(total.sums.w2 * held**2, got.sums.w2, rtol=1e-5)
    np.testing.assert_allclose(total.sums.w2p * held**2, (mask**2 * p).sum(), rtol=1e-5)


def test_the_flat_weighs_in_by_the_light_it_carries():
    image = 100.0 + star(PSF, 40.3, 2.6, 5000.0)
    xy, aperture = np.array([[40.3, 2.6]]), Ellipse(7.0, 3.5, PSF.orientation_rad)
    flat = RNG.uniform(1e-6, 9e-6, IMAGE.shape).astype(np.float32)
    mask = photutils_mask(xy[0], 7.0, 3.5)
    light = mask * star(PSF, 40.3, 2.6, 1.0)
    got = aperture_fluxes(image, xy, PSF, aperture, SKY, flat_variance=flat)
    np.testing.assert_allclose(got.sums.w2p2_flat, (light**2 * flat).sum() / light.sum() ** 2, rtol=1e-5)
    assert aperture_fluxes(image, xy, PSF, aperture, SKY).sums.w2p2_flat[0] == 0.0


def test_lost_pixels_are_made_up_for_and_flagged():
    image = 100.0 + star(PSF, 40.0, 30.0, 5000.0)
    image[30, 42] = np.nan
    got = aperture_fluxes(image, np.array([[40.0, 30.0]]), PSF, Ellipse(7.0, 3.5, PSF.orientation_rad), SKY)
    assert got.flux[0] == pytest.approx(5000.0, rel=1e-5)
    assert got.flags[0] == Flag.NON_FINITE


def test_half_an_aperture_is_no_aperture():
    image = 100.0 + star(PSF, 40.0, -1.0, 5000.0)
    got = aperture_fluxes(image, np.array([[40.0, -1.0]]), PSF, Ellipse(7.0, 3.5, PSF.orientation_rad), SKY)
    assert np.isnan(got.flux[0])
    assert got.flags[0] == Flag.EDGE
