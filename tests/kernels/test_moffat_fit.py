"""The fitted Moffat against stars integrated over pixels, with noise, blends and hits."""

import numpy as np
import pytest

from opticam_dask.kernels.moffat import MAX_BETA, fit_moffat
from opticam_dask.kernels.optimal import SourceSky, optimal_fluxes
from opticam_dask.kernels.stamps import Ellipse, stamp_batches
from opticam_dask.types import FWHM_PER_SIGMA, PsfModel

NODES, NODE_WEIGHTS = np.polynomial.legendre.leggauss(3)
XY = np.array([[40.3, 41.8], [110.6, 45.2], [60.1, 118.4], [121.9, 125.0], [180.3, 60.7], [178.0, 150.2]])
FLUXES = np.array([4e5, 2e5, 1.5e5, 3e5, 2.5e5, 1e5])
SHAPE = (191, 223)


def frame(a, b, angle, beta, xy=XY, fluxes=FLUXES):
    """Sky of 100 and stars integrated over pixels; ``a``, ``b`` are widths before the pixel."""
    k = (2 ** (1 / beta) - 1) / (2 * np.log(2))
    norm = k * (beta - 1) / (np.pi * a * b)
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    j, i = np.indices(SHAPE)
    image = np.full(SHAPE, 100.0)
    for s, ws in zip(NODES / 2, NODE_WEIGHTS / 2, strict=True):
        for t, wt in zip(NODES / 2, NODE_WEIGHTS / 2, strict=True):
            for (x, y), flux in zip(xy, fluxes, strict=True):
                dx, dy = i + s - x, j + t - y
                u, v = (dx * cos + dy * sin) / a, (dy * cos - dx * sin) / b
                image += ws * wt * flux * norm * (1 + k * (u * u + v * v)) ** -beta
    return image


def noisy(image, seed=1, gain=1.0):
    rng = np.random.default_rng(seed)
    return rng.poisson(image * gain) / gain + rng.normal(0.0, 3.0, image.shape)


def fit(image, xy=XY, start=(3.0, 2.5, 0.4), half=26.0, gain=1.0):
    (_, stamps), *_ = stamp_batches(image, xy, (half, half))
    return fit_moffat(stamps, Ellipse(*start), scatter=np.sqrt(100 / gain + 9.0), gain=gain)


def seen_widths(a, b, beta):
    """Widths of what pixels see, from finely shifted averages over a pixel along each axis."""
    k = (2 ** (1 / beta) - 1) / (2 * np.log(2))
    offsets = (np.arange(50) + 0.5) / 50 - 0.5
    r = np.linspace(0, 3 * a, 3001)
    widths = []
    for along, across in ((a, b), (b, a)):
        q = ((r[:, None, None] + offsets[:, None]) / along) ** 2 + (offsets / across) ** 2
        level = ((1 + k * q) ** -beta).mean(axis=(1, 2))
        widths.append(2 * np.interp(-level[0] / 2, -level, r) / FWHM_PER_SIGMA)
    return widths


@pytest.mark.parametrize("beta", [2.5, 4.5])
@pytest.mark.parametrize(("a", "b", "angle", "gain"), [(4.0, 2.5, 37.0, 1.0), (2.2, 1.9, -75.0, 0.45)])
def test_widths_and_exponent_of_noisy_stars(beta, a, b, angle, gain):
    guesses = XY + np.random.default_rng(3).uniform(-0.4, 0.4, XY.shape)
    got = fit(noisy(frame(a, b, angle, beta), gain=gain), guesses, gain=gain)
    wide, narrow = seen_widths(a, b, beta)
    assert got.semimajor_sigma == pytest.approx(wide, rel=5e-3)
    assert got.semiminor_sigma == pytest.approx(narrow, rel=5e-3)
    assert got.orientation == pytest.approx(angle, abs=2.0)
    assert got.beta == pytest.approx(beta, rel=0.03)
    assert PsfModel(*got).beta == got.beta


def test_a_round_star_has_no_preferred_angle_and_a_far_start_does_no_harm():
    image = noisy(frame(3.0, 3.0, 0.0, 3.0))
    for start in ((3.0, 3.0, 0.0), (6.0, 2.0, 1.0), (1.2, 1.0, -1.0)):
        got = fit(image, start=start)
        assert got.semimajor_sigma == pytest.approx(got.semiminor_sigma, rel=0.01)
        assert got.beta == pytest.approx(3.0, rel=0.03)


@pytest.mark.parametrize("what", ["neighbour", "hit", "galaxy", "nothing"])
def test_one_bad_star_does_no_harm(what):
    clean = frame(3.3, 2.5, 37.0, 3.0)
    x, y = XY[0].round().astype(int)
    if what == "neighbour":
        clean += frame(3.3, 2.5, 37.0, 3.0, XY[:1] + np.array([7.0, 3.0]), [2e5]) - 100.0
    elif what == "galaxy":
        clean += frame(9.0, 5.0, 80.0, 2.0, XY[:1], [8e5]) - 100.0
    elif what == "nothing":
        clean += 100.0 - frame(3.3, 2.5, 37.0, 3.0, XY[:1], FLUXES[:1])
    image = noisy(clean)
    if what == "hit":
        image[y + 1, x - 2 : x + 3] += 30000.0
    image[40, 108] = np.nan
    got, wide = fit(image), seen_widths(3.3, 2.5, 3.0)
    assert got[:2] == pytest.approx(wide, rel=6e-3)
    assert got.beta == pytest.approx(3.0, rel=0.05)


def test_gaussian_stars_end_at_large_exponents():
    got = fit(noisy(frame(3.3, 2.5, 37.0, 300.0)))
    assert 10.0 < got.beta <= MAX_BETA + 1e-9


def test_gaussian_stars_keep_their_flux():
    """A profile that ends at too small an exponent has wings that Gaussian stars have not."""
    image = noisy(frame(3.3, 2.5, 37.0, 3000.0)) - 100.0
    got = fit(image + 100.0)
    none = np.zeros(len(XY))
    sky = SourceSky(none, none + np.sqrt(109.0), none, none + np.sqrt(109.0))
    shape = Ellipse(got.semimajor_sigma, got.semiminor_sigma, np.radians(got.orientation))
    found = optimal_fluxes(image, XY, shape, sky, gain=1.0, beta=got.beta)
    assert np.mean(found.flux / FLUXES) == pytest.approx(1.0, abs=3e-3)


def test_no_stars_no_shape():
    assert np.isnan(fit(np.full(SHAPE, np.nan))).all()
    assert np.isnan(fit(noisy(np.full(SHAPE, 100.0)))).all()
    (_, stamps), *_ = stamp_batches(np.zeros(SHAPE), XY, (9.0, 9.0))
    none = stamps._replace(pixels=stamps.pixels[:0], xy=stamps.xy[:0])
    assert np.isnan(fit_moffat(none, Ellipse(2.0, 2.0, 0.0), scatter=5.0)).all()
