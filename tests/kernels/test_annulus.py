"""Sky annuli against photutils."""

import astropy.units as u
import numpy as np
import pytest
from astropy.stats import SigmaClip
from hypothesis import given, settings
from hypothesis import strategies as st
from photutils.aperture import ApertureStats, EllipticalAnnulus

from opticam_dask.errors import InputError
from opticam_dask.kernels.annulus import annulus_area, annulus_statistics
from opticam_dask.kernels.clipping import NO_CLIP, ClipRule, clip_rule
from opticam_dask.kernels.stamps import Ellipse

ELLIPSE = Ellipse(4.0, 2.5, np.radians(37.0))
NAMES = ("mean", "median", "std", "mad_std")

# photutils tells of every masked pixel it meets
pytestmark = [
    pytest.mark.filterwarnings("ignore:Input data contains invalid values"),
    pytest.mark.filterwarnings("ignore:invalid value encountered in multiply"),
]


def frame(seed=1, shape=(131, 157), dtype=np.float64, bad=True):
    rng = np.random.default_rng(seed)
    image = rng.normal(1000.0, 10.0, shape) + 0.4 * np.arange(shape[1]) + 0.1 * np.arange(shape[0])[:, None]
    image[rng.integers(0, shape[0], 300), rng.integers(0, shape[1], 300)] += rng.uniform(50, 5000, 300)
    if bad and dtype != np.uint16:
        image[rng.integers(0, shape[0], 100), rng.integers(0, shape[1], 100)] = np.nan
        image[3, 4] = np.inf
    return np.round(image).astype(dtype) if dtype == np.uint16 else image.astype(dtype)


def oracle(image, xy, clip, ellipse=ELLIPSE, r_in=5.0, r_out=7.5):
    a, b, theta = ellipse
    axes = {"a_in": r_in * a, "a_out": r_out * a, "b_in": r_in * b, "b_out": r_out * b}
    annulus = EllipticalAnnulus(xy, **axes, theta=np.degrees(theta) * u.deg)
    return ApertureStats(image, annulus, sigma_clip=clip)


def positions(seed=2, n=30):
    inside = np.random.default_rng(seed).uniform(0.0, 1.0, (n, 2)) * (156, 130)
    edges = [(0.2, 0.3), (156.4, 130.4), (80.0, 0.0), (12.5, 129.5)]
    return np.vstack([inside, edges])


@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.float64])
def test_statistics_equal_photutils(dtype):
    image, xy = frame(dtype=dtype), positions()
    ours = annulus_statistics(image, xy, ELLIPSE)
    theirs = oracle(image.astype(float), xy, SigmaClip(sigma=3, maxiters=10))
    for name in NAMES:
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=0, atol=1e-10)
    np.testing.assert_array_equal(ours.n_pixels, theirs.center_aper_area.value)


@pytest.mark.parametrize(
    "clip",
    [
        SigmaClip(sigma=2, maxiters=1),
        SigmaClip(sigma=2.5, maxiters=None),
        SigmaClip(sigma_lower=4, sigma_upper=1.5, maxiters=5),
        SigmaClip(sigma=3, cenfunc="mean"),
        SigmaClip(sigma=3, stdfunc="mad_std"),
        None,
    ],
)
def test_every_supported_clipping_equals_photutils(clip):
    image, xy = frame(), positions()
    ours = annulus_statistics(image, xy, ELLIPSE, rule=clip_rule(clip))
    theirs = oracle(image, xy, clip)
    for name in NAMES:
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-13, atol=1e-10)


def test_clipping_the_kernel_cannot_do_is_refused():
    assert clip_rule(SigmaClip(sigma=3, grow=2)) is None
    assert clip_rule(SigmaClip(sigma=3, cenfunc=np.mean)) is None
    assert clip_rule(SigmaClip(sigma=3, stdfunc=np.std)) is None
    assert clip_rule(None) is NO_CLIP


@settings(max_examples=25, deadline=None)
@given(
    a=st.floats(0.8, 5.0), ratio=st.floats(0.3, 1.0), angle=st.floats(-180, 180),
    x=st.floats(-5, 60), y=st.floats(-5, 50), seed=st.integers(0, 5),
)  # fmt: skip
def test_any_ellipse_equals_photutils(a, ratio, angle, x, y, seed):
    image = frame(seed, shape=(47, 58))
    ellipse = Ellipse(a, a * ratio, np.radians(angle))
    ours = annulus_statistics(image, np.array([[x, y]]), ellipse)
    if ours.n_pixels[0] < 10:
        assert np.isnan(ours.mean[0])
        return
    theirs = oracle(image, [(x, y)], SigmaClip(sigma=3, maxiters=10), ellipse)
    for name in NAMES:
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=0, atol=1e-9)


def test_too_few_pixels_give_nan():
    image = np.full((40, 40), np.nan)
    image[20, 14:23] = 5.0
    sky = annulus_statistics(image, np.array([[20.0, 20.0]]), Ellipse(1.0, 1.0, 0.0), r_in=0.0)
    assert sky.n_pixels[0] == 9
    assert np.isnan([sky.mean[0], sky.median[0], sky.std[0], sky.mad_std[0]]).all()
    image[19, 20] = 5.0
    sky = annulus_statistics(image, np.array([[20.0, 20.0]]), Ellipse(1.0, 1.0, 0.0), r_in=0.0)
    assert (sky.n_pixels[0], sky.mean[0], sky.std[0]) == (10, 5.0, 0.0)


def test_batches_do_not_matter(monkeypatch):
    image, xy = frame(), positions()
    whole = annulus_statistics(image, xy, ELLIPSE)
    monkeypatch.setattr("opticam_dask.kernels.stamps._BATCH_BYTES", 1)
    for one, other in zip(whole, annulus_statistics(image, xy, ELLIPSE), strict=True):
        np.testing.assert_array_equal(one, other)


def test_area_and_bad_scales():
    assert annulus_area(ELLIPSE) == pytest.approx(np.pi * 10.0 * (7.5**2 - 5.0**2))
    with pytest.raises(InputError, match="r_in < r_out"):
        annulus_statistics(frame(), positions(), ELLIPSE, r_in=3, r_out=2)


def test_whole_numbers_far_apart_sort_like_floats():
    image = np.random.default_rng(3).integers(0, 65536, (60, 60)).astype(np.uint16)
    xy = np.array([[30.0, 30.0]])
    rule = ClipRule(sigma_lower=1.5, sigma_upper=1.5)
    ours = annulus_statistics(image, xy, ELLIPSE, rule=rule)
    assert ours.n_pixels[0] > 10
    assert ours == annulus_statistics(image.astype(float), xy, ELLIPSE, rule=rule)
