"""Profiles against exact integrals over the pixels, for each branch of widths."""

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import ndtr

from opticam_dask.kernels.profile import core_radius, fill_profile, peak_density, profile_radius

THETA = np.radians(37.0)
NODES, NODE_WEIGHTS = np.polynomial.legendre.leggauss(12)
NODES, NODE_WEIGHTS = NODES / 2, NODE_WEIGHTS / 2
FWHM = 2 * np.sqrt(2 * np.log(2))


def filled(a, b, beta=np.inf, x=40.3, y=40.6, size=81, theta=THETA):
    profile = np.empty((size, size + 2))
    fill_profile(profile, x, y, (a, b, theta, beta, profile_radius(beta)))
    return profile


def exact_gaussian(a, b, x=40.3, y=40.6, size=81):
    """Integral over pixels: exact along x for the Gaussian of each row, 12-point Gauss along y."""
    cos, sin = np.cos(THETA), np.sin(THETA)
    xx, yy = (a * cos) ** 2 + (b * sin) ** 2, (a * sin) ** 2 + (b * cos) ** 2
    xy = (a * a - b * b) * sin * cos
    edges = np.arange(size + 3) - 0.5
    image = np.zeros((size, size + 2))
    for node, weight in zip(NODES, NODE_WEIGHTS, strict=True):
        dy = np.arange(size)[:, None] + node - y
        row = np.exp(-0.5 * dy**2 / yy) / np.sqrt(2 * np.pi * yy)
        steps = ndtr((edges - x - xy / yy * dy) / np.sqrt(xx - xy**2 / yy))
        image += weight * row * np.diff(steps, axis=1)
    return image


def moffat(u, v, a, b, beta):
    k = (2 ** (1 / beta) - 1) / (2 * np.log(2))
    return (1 + k * ((u / a) ** 2 + (v / b) ** 2)) ** -beta * k * (beta - 1) / (np.pi * a * b)


def over_pixel(i, j, a, b, beta):
    """Moffat averaged over pixels with centres (i, j) from the star."""
    total = 0.0
    for s, ws in zip(NODES, NODE_WEIGHTS, strict=True):
        for t, wt in zip(NODES, NODE_WEIGHTS, strict=True):
            dx, dy = i + s, j + t
            u = dx * np.cos(THETA) + dy * np.sin(THETA)
            v = dy * np.cos(THETA) - dx * np.sin(THETA)
            total = total + ws * wt * moffat(u, v, a, b, beta)
    return total


def measured_widths(a, b, beta):
    """FWHM / 2.3548 along the axes of what pixels see of a Moffat."""
    peak, widths = over_pixel(0.0, 0.0, a, b, beta), []
    for ux, uy in ((np.cos(THETA), np.sin(THETA)), (-np.sin(THETA), np.cos(THETA))):
        half = brentq(lambda r, x=ux, y=uy: over_pixel(r * x, r * y, a, b, beta) - peak / 2, 0.1, 10 * a)
        widths.append(2 * half / FWHM)
    return widths


@pytest.mark.parametrize(
    ("a", "b"), [(4.0, 2.5), (3.0, 1.5), (2.0, 1.49), (1.6, 1.0), (1.2, 0.8), (1.1, 0.6), (0.7, 0.45)]
)
def test_a_gaussian_is_that_which_pixels_see(a, b):
    truth = exact_gaussian(np.sqrt(a * a - 1 / 12), np.sqrt(b * b - 1 / 12))
    np.testing.assert_allclose(filled(a, b), truth, rtol=0, atol=3e-4 * truth.max())


@pytest.mark.parametrize(("a", "b"), [(4.0, 2.5), (2.0, 1.2), (1.2, 0.7)])
def test_second_moments_are_those_asked_for(a, b):
    profile = filled(a, b)
    j, i = np.indices(profile.shape)
    u = (i - 40.3) * np.cos(THETA) + (j - 40.6) * np.sin(THETA)
    v = (j - 40.6) * np.cos(THETA) - (i - 40.3) * np.sin(THETA)
    assert profile.sum() == pytest.approx(1.0, abs=1e-12)
    assert np.sqrt((profile * u**2).sum()) == pytest.approx(a, rel=1e-4)
    assert np.sqrt((profile * v**2).sum()) == pytest.approx(b, rel=1e-4)
    assert (profile * u * v).sum() == pytest.approx(0.0, abs=1e-4)


@pytest.mark.parametrize("beta", [1.8, 2.5, 4.5])
@pytest.mark.parametrize(("a", "b"), [(4.0, 2.5), (2.0, 1.5), (1.6, 1.1), (1.0, 0.6)])
def test_a_moffat_is_that_which_pixels_see(a, b, beta):
    j, i = np.indices((81, 83))
    truth = over_pixel(i - 40.3, j - 40.6, a, b, beta)
    got = filled(*measured_widths(a, b, beta), beta)
    inside = got > 0
    np.testing.assert_allclose(
        got[inside], truth[inside], rtol=0, atol=(1.5e-3 if b > 1 else 8e-3) * truth.max()
    )
    u = (i - 40.3) * np.cos(THETA) + (j - 40.6) * np.sin(THETA)
    v = (j - 40.6) * np.cos(THETA) - (i - 40.3) * np.sin(THETA)
    far = (u / a) ** 2 + (v / b) ** 2 > (0.98 * profile_radius(beta)) ** 2
    assert inside[~far].all()
    assert got.sum() == pytest.approx(truth[inside].sum(), rel=2e-3)


@pytest.mark.parametrize("beta", [1.5, 2.5, 4.5, np.inf])
def test_radii_and_height(beta):
    wide = 12.0
    profile = filled(wide, wide, beta, 300.0, 300.0, 601)
    peak = profile[300, 300]
    assert peak == pytest.approx(peak_density(wide, wide, beta), rel=5e-3)
    here = 300 + int(np.ceil(core_radius(beta) * wide))
    if core_radius(beta) < profile_radius(beta):
        assert profile[300, here + 1] < 1e-3 * peak < profile[300, here - 1]
    if np.isfinite(beta):
        left_out = 1.0 - profile.sum()
        assert left_out < 0.0101 or profile_radius(beta) == 12.0


def test_the_steepest_moffat_is_nearly_a_gaussian():
    np.testing.assert_allclose(filled(3.0, 2.0, 400.0), filled(3.0, 2.0), rtol=0, atol=2e-4)
