"""Median, mode and plane beside the mean: compiled and called alone, their errors, and masked neighbours."""

import numpy as np
import pytest
from astropy.stats import SigmaClip
from hypothesis import given, settings
from hypothesis import strategies as st

from opticam_dask.photometers import (
    AperturePhotometer,
    BaseLocalBackground,
    DefaultLocalBackground,
    MedianLocalBackground,
    ModeLocalBackground,
    OptimalPhotometer,
    PlaneLocalBackground,
    check_estimator,
)
from opticam_dask.photometers.sky import AnnulusSky, EstimatorSky, has_kernel
from opticam_dask.photometers.source_digest import identity
from opticam_dask.schema import Flag
from opticam_dask.types import PsfModel

PSF = PsfModel(4.0, 2.5, 37.0)
ESTIMATORS = [DefaultLocalBackground, MedianLocalBackground, ModeLocalBackground, PlaneLocalBackground]
CLIPS = ["default", SigmaClip(2, maxiters=3), SigmaClip(3, cenfunc="mean", stdfunc="mad_std"), None]

pytestmark = pytest.mark.filterwarnings("ignore:Input data contains invalid values")


def frame(shape=(131, 157), seed=5):
    rng = np.random.default_rng(seed)
    image = rng.normal(100.0, 10.0, shape) + 0.2 * np.arange(shape[1])
    image[rng.integers(0, shape[0], 400), rng.integers(0, shape[1], 400)] += rng.uniform(20, 900, 400)
    image[rng.integers(0, shape[0], 50), rng.integers(0, shape[1], 50)] = np.nan
    return image


def star(shape, xy, flux, psf=PSF):
    y, x = np.indices(shape)
    theta = psf.orientation_rad
    dx, dy = x - xy[0], y - xy[1]
    u, v = dx * np.cos(theta) + dy * np.sin(theta), dy * np.cos(theta) - dx * np.sin(theta)
    a, b = psf.semimajor_sigma, psf.semiminor_sigma
    return flux / (2 * np.pi * a * b) * np.exp(-0.5 * ((u / a) ** 2 + (v / b) ** 2))


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_kernel_gives_the_numbers_of_the_call(estimator, clip):
    image, xy = frame(), np.random.default_rng(1).uniform((0, 0), (156, 130), (12, 2))
    local = estimator(sigma_clip=clip)
    assert has_kernel(local)
    check_estimator(local, PSF)
    compiled, _ = AnnulusSky(image, PSF, local).at(xy)
    called, _ = EstimatorSky(image, PSF, local, gain=1.0, box_size=16).at(xy)
    np.testing.assert_allclose(compiled.level, called.level, rtol=1e-12, atol=1e-10)
    np.testing.assert_allclose(compiled.scatter, called.scatter, rtol=1e-12, atol=1e-10)


def test_the_mode_is_that_of_photutils():
    from photutils.background import SExtractorBackground

    image, local = frame(), ModeLocalBackground()
    image[60:80, 60:80] += np.random.default_rng(0).exponential(30.0, (20, 20))  # skewed: the median is taken
    clip = SigmaClip(4, maxiters=10)
    for place in ((70.0, 70.0), (30.0, 100.0)):
        annulus = local.get_annulus(place, 2.0)
        inside = annulus.to_mask(method="center").get_values(image)
        expected = SExtractorBackground(sigma_clip=clip)(inside[np.isfinite(inside)])
        assert local(image, place, 2.0)[0] == pytest.approx(expected, abs=1e-10)
    assert ModeLocalBackground()(np.full((50, 50), 7.0), (25, 25), 2.0) == (7.0, 0.0)


def test_a_plane_called_alone_knows_when_there_is_none():
    local = PlaneLocalBackground()
    assert np.isnan(local(np.ones((40, 40)), (200.0, 20.0), 2.0)).all()
    few = np.full((40, 40), np.nan)
    few[20, :] = 1.0
    assert np.isnan(local(few, (20.0, 20.0), 3.0)).all()
    few[20, 12:] = np.nan
    assert np.isnan(local(few, (20.0, 20.0), 3.0)).all()


@pytest.mark.parametrize("clip", ["default", SigmaClip(3), SigmaClip(2.5), SigmaClip(3, stdfunc="mad_std")])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_level_and_noise_are_as_well_known_as_said(estimator, clip):
    psf = PsfModel(2.0, 1.4, -25.0)
    grid = np.array([[x, y] for x in range(20, 800, 32) for y in range(20, 700, 32)], dtype=float)
    image = np.random.default_rng(11).normal(100.0, 10.0, (720, 820))
    sky, flags = AnnulusSky(image, psf, estimator(sigma_clip=clip)).at(grid)
    assert not flags.any()
    pull = (sky.level - 100.0) / np.sqrt(sky.level_variance)
    assert np.std(pull) == pytest.approx(1.0, abs=0.08)  # 550 annuli: 0.03
    assert abs(np.mean(pull)) < 0.15
    assert np.sqrt(np.mean(sky.noise**2)) == pytest.approx(10.0, rel=0.005)
    if clip != "default":
        assert np.sqrt(np.mean(sky.scatter**2)) < 9.87


@settings(max_examples=20, deadline=None)
@given(
    level=st.floats(0, 5e4), x=st.floats(-0.4, 90.4), y=st.floats(-0.4, 56.4),
    a=st.floats(1.5, 5.0), ratio=st.floats(0.4, 1.0), angle=st.floats(-180, 180),
)  # fmt: skip
def test_a_constant_sky_is_exact_wherever_the_source_is(level, x, y, a, ratio, angle):
    image, xy = np.full((57, 91), level), np.array([[x, y], [50.0, 30.0]])
    for estimator in ESTIMATORS:
        sky, _ = AnnulusSky(image, PsfModel(a, a * ratio, angle), estimator(), xy).at(xy)
        np.testing.assert_allclose(sky.level[np.isfinite(sky.level)], level, rtol=1e-12)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("angle", [37.0, 127.0])
def test_a_bright_neighbour_no_longer_lifts_the_sky(estimator, angle):
    distance = 6.0 * (4.0 if angle == 37.0 else 2.5)
    first = np.array([62.3, 58.1])
    xy = np.array(
        [first, first + distance * np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])]
    )
    shape, rng = (120, 131), np.random.default_rng(4)
    truth = 100.0 + star(shape, xy[0], 3e3) + star(shape, xy[1], 3e4)
    frames = [rng.normal(truth, np.sqrt(truth)) for _ in range(40)]
    bias = {}
    for masked in (False, True):
        photometer = AperturePhotometer(
            forced=True, local_background_estimator=estimator(mask_neighbours=masked)
        )
        bias[masked] = np.mean([photometer.measure(image, xy, PSF)["bkg"][0] for image in frames]) - 100.0
    error = 0.5 if estimator is ModeLocalBackground else 0.15
    assert abs(bias[True]) < error
    if estimator is not ModeLocalBackground:
        assert bias[False] > bias[True] + 0.25


def crowd(n):
    angle = np.linspace(0.0, 2 * np.pi, n, endpoint=False)
    return np.vstack([[60.0, 60.0], 60.0 + 18.0 * np.column_stack([np.cos(angle), np.sin(angle)])])


def test_a_sky_full_of_neighbours_is_flagged_and_one_without_pixels_is_no_sky():
    psf, image = PsfModel(3.0, 3.0, 0.0), np.random.default_rng(2).normal(100.0, 10.0, (120, 125))
    for n, crowded, lost in ((1, False, False), (3, True, False), (16, True, True)):
        for estimator in ESTIMATORS:
            photometer = OptimalPhotometer(forced=True, local_background_estimator=estimator())
            row = photometer.measure(image, crowd(n), psf)[0]
            assert bool(row["flags"] & Flag.CROWDED_SKY) == crowded
            assert bool(row["flags"] & Flag.FEW_SKY_PIXELS) == lost
            assert np.isnan(row["flux"]) == lost
    alone = OptimalPhotometer(
        forced=True, local_background_estimator=DefaultLocalBackground(mask_neighbours=False)
    )
    assert not (alone.measure(image, crowd(16), psf)["flags"] & int(Flag.CROWDED_SKY)).any()


def test_neighbours_are_masked_whether_they_can_be_measured_or_not():
    image = np.random.default_rng(2).normal(100.0, 10.0, (120, 125))
    off = np.array([[25.0, 60.0], [-3.0, 60.0], [np.nan, 4.0]])  # the second is off the frame
    photometer = OptimalPhotometer(forced=True, local_background_estimator=DefaultLocalBackground())
    bkg = photometer.measure(image, off, PSF)["bkg"][0]
    assert bkg != photometer.measure(image, off[:1], PSF)["bkg"][0]


def test_options_tell_in_the_digest():
    digests = {identity(e(mask_neighbours=m))["digest"] for e in ESTIMATORS for m in (False, True)}
    assert len(digests) == 2 * len(ESTIMATORS)


def test_subclasses_are_called():
    class Higher(MedianLocalBackground):
        def __call__(self, data, position, semimajor_axis, semiminor_axis=None, orientation=0.0):
            level, scatter = super().__call__(data, position, semimajor_axis, semiminor_axis, orientation)
            return level + 1.0, scatter

    image, xy = frame(), np.array([[60.0, 60.0]])
    assert not has_kernel(Higher())
    assert not has_kernel(MedianLocalBackground(sigma_clip=SigmaClip(3, grow=2)))
    assert issubclass(Higher, BaseLocalBackground)
    rows = [
        OptimalPhotometer(local_background_estimator=local, forced=True).measure(image, xy, PSF)
        for local in (Higher(), MedianLocalBackground())
    ]
    assert rows[0]["bkg"] == pytest.approx(rows[1]["bkg"] + 1.0)
