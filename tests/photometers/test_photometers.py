"""Photometers on simulated frames: totals, errors, flags, matching."""

import json
import pickle

import numpy as np
import pytest

from opticam_dask.errors import InputError
from opticam_dask.photometers import AperturePhotometer, DefaultLocalBackground, OptimalPhotometer
from opticam_dask.schema import MEASUREMENT, NULL_FLUX_FLAGS, Flag
from opticam_dask.types import FWHM_PER_SIGMA, PsfModel

PSF = PsfModel(3.0, 1.5, 30.0)
ANNULUS = {"local_background_estimator": DefaultLocalBackground()}
FORCED = {"forced": True, **ANNULUS}


def model(xy, fluxes, psf=PSF, shape=(121, 147), level=100.0):
    """Frame without noise: each star a Gaussian of unit sum times its flux."""
    j, i = np.indices(shape)
    cos, sin = np.cos(psf.orientation_rad), np.sin(psf.orientation_rad)
    image = np.full(shape, level)
    for (x, y), flux in zip(xy, fluxes, strict=True):
        u = ((i - x) * cos + (j - y) * sin) / psf.semimajor_sigma
        v = ((j - y) * cos - (i - x) * sin) / psf.semiminor_sigma
        norm = 2 * np.pi * psf.semimajor_sigma * psf.semiminor_sigma
        image += flux * np.exp(-0.5 * (u**2 + v**2)) / norm
    return image


def noisy(image, gain=1.0, read_noise=3.0, seed=1):
    rng = np.random.default_rng(seed)
    return rng.poisson(image * gain) / gain + rng.normal(0.0, read_noise, image.shape)


XY = np.array([[40.3, 30.6], [100.2, 80.9], [60.0, 90.5]])
FLUXES = (20000.0, 8000.0, 3000.0)


def explained(result):
    """Whether every NaN flux has a flag that says why."""
    lost = result[np.isnan(result["flux"])]
    return bool(((lost["flags"] & int(NULL_FLUX_FLAGS)) != 0).all())


def pulls(photometer, flux, gain, n_frames=42):
    """(measured - true) / error of 49 stars in each of many frames; positions known."""
    rng = np.random.default_rng(8)
    grid = np.array([(i, j) for i in range(7) for j in range(7)])
    places = 58.0 * grid + 30.0 + rng.uniform(-0.5, 0.5, grid.shape)
    clean = model(places, [flux] * 49, shape=(409, 415))
    found = [photometer.measure(noisy(clean, gain, seed=k), places, PSF, gain=gain) for k in range(n_frames)]
    result = np.concatenate(found)
    return (result["flux"] - flux) / result["flux_err"]


@pytest.mark.parametrize("photometer", [OptimalPhotometer(**FORCED), AperturePhotometer(**FORCED)])
@pytest.mark.parametrize("gain", [1.0, 0.45])
@pytest.mark.parametrize("flux", [300.0, 20000.0])
def test_errors_tell_the_truth(photometer, gain, flux):
    z = pulls(photometer, flux, gain)
    assert z.size >= 2000
    assert abs(z.mean()) < 0.1
    assert abs(z.std() - 1.0) < 0.1


def test_errors_of_recentred_bright_stars_tell_the_truth():
    z = pulls(OptimalPhotometer(**ANNULUS), 20000.0, 1.0)
    assert abs(z.mean()) < 0.1
    assert abs(z.std() - 1.0) < 0.1


@pytest.mark.parametrize("dtype", [">u2", np.uint16, np.int16, np.float32, np.int32])
@pytest.mark.parametrize("photometer", [OptimalPhotometer, AperturePhotometer])
@pytest.mark.parametrize("estimator", [None, DefaultLocalBackground()])
def test_both_photometers_give_total_counts(photometer, estimator, dtype):
    image = np.round(noisy(model(XY, FLUXES))).astype(dtype)
    result = photometer(local_background_estimator=estimator).measure(image, XY, PSF, box_size=32)
    assert result.dtype == MEASUREMENT
    assert (np.abs(result["flux"] - FLUXES) < 5 * result["flux_err"]).all()
    assert (result["flux_err"] < 0.1 * result["flux"]).all()
    np.testing.assert_allclose(result["bkg"], 100.0, atol=2.0)
    np.testing.assert_allclose(result["bkg_err"], np.sqrt(109.0), rtol=0.1)
    np.testing.assert_allclose(np.column_stack([result["x"], result["y"]]), XY, atol=0.3)
    assert (result["flags"] == 0).all()


def test_peak_normalisation_scales_flux_and_error():
    image = noisy(model(XY, FLUXES))
    total = OptimalPhotometer(**FORCED).measure(image, XY, PSF)
    peak = OptimalPhotometer(**FORCED, normalization="peak").measure(image, XY, PSF)
    for name in ("flux", "flux_err"):
        np.testing.assert_allclose(peak[name], total[name] / (2 * np.pi * 4.5), rtol=1e-12)


@pytest.mark.parametrize("angle", [30.0, -75.0, 90.0])
def test_the_aperture_follows_the_angle_of_the_psf(angle):
    psf = PsfModel(3.0, 1.5, angle)
    image = noisy(model(XY, [1e6] * 3, psf), read_noise=0.1)
    plain = AperturePhotometer(**FORCED, aperture_correction=False).measure(image, XY, psf)
    expected = 1.0 - np.exp(-0.5 * FWHM_PER_SIGMA**2)
    assert expected == pytest.approx(0.9375)
    np.testing.assert_allclose(plain["flux"] / 1e6, expected, rtol=0.01)
    optimal = OptimalPhotometer(**FORCED).measure(image, XY, psf)
    np.testing.assert_allclose(optimal["flux"] / 1e6, 1.0, rtol=0.005)


def test_axes_of_the_aperture():
    assert AperturePhotometer().reach(PSF)[:2] == (3.0 * FWHM_PER_SIGMA, 1.5 * FWHM_PER_SIGMA)
    assert AperturePhotometer(5.0).reach(PSF)[:2] == (5.0, 5.0)
    assert AperturePhotometer(5.0, 2.0).reach(PSF) == (5.0, 2.0, np.radians(30.0))
    assert AperturePhotometer(orientation=90.0).reach(PSF)[2] == np.radians(90.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AperturePhotometer(semiminor_axis=2.0), "needs a semimajor_axis"),
        (lambda: AperturePhotometer(2.0, 3.0), "semiminor <= semimajor"),
        (lambda: AperturePhotometer(-2.0), "semiminor <= semimajor"),
        (lambda: AperturePhotometer(orientation=np.nan), "degrees"),
        (lambda: OptimalPhotometer(normalization="mean"), "normalization"),
        (lambda: OptimalPhotometer(source_matching_tolerance=0), "tolerance"),
        (lambda: OptimalPhotometer(local_background_estimator=3), "cannot be called"),
        (lambda: OptimalPhotometer().measure(np.zeros((9, 9)), np.zeros(3), PSF), "positions"),
        (lambda: OptimalPhotometer().measure(np.zeros((9, 9)), np.zeros((1, 2)), PSF, gain=0), "gain"),
    ],
)
def test_wrong_arguments_say_so(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_recentring_follows_the_star_and_forcing_does_not():
    image = noisy(model(XY, FLUXES))
    off = XY + np.array([1.5, -1.0])
    followed = OptimalPhotometer(**ANNULUS).measure(image, off, PSF)
    np.testing.assert_allclose(np.column_stack([followed["x"], followed["y"]]), XY, atol=0.3)
    assert (followed["flags"] == 0).all()
    kept = OptimalPhotometer(**FORCED).measure(image, off, PSF)
    np.testing.assert_array_equal(np.column_stack([kept["x"], kept["y"]]), off)
    assert (kept["flags"] == Flag.FORCED).all()
    assert (kept["flux"] < 0.95 * followed["flux"]).all()


def test_a_star_that_is_not_there():
    image = noisy(model(XY[:2], FLUXES[:2]))
    result = OptimalPhotometer(**ANNULUS).measure(image, XY, PSF)
    assert result["flags"][2] == Flag.NOT_MATCHED
    assert np.isnan(result["flux"][2])
    assert np.isnan(result["flux_err"][2])
    assert result["bkg"][2] == pytest.approx(100.0, abs=3)
    assert (result["x"][2], result["y"][2]) == tuple(XY[2])
    forced = OptimalPhotometer(**FORCED).measure(image, XY, PSF)
    assert abs(forced["flux"][2]) < 4 * forced["flux_err"][2]


def test_a_star_beyond_the_tolerance_is_not_matched():
    image, off = noisy(model(XY, [50000.0] * 3)), XY + np.array([4.0, 0.0])
    near = OptimalPhotometer(**ANNULUS).measure(image, off, PSF)
    far = OptimalPhotometer(**ANNULUS, source_matching_tolerance=1.0).measure(image, off, PSF)
    assert (near["flags"] == 0).all()
    assert (far["flags"] == Flag.NOT_MATCHED).all()


def test_two_sources_do_not_share_a_detection():
    image = noisy(model(XY[:1], [50000.0]))
    result = OptimalPhotometer(**ANNULUS).measure(image, np.array([[43.3, 31.6], XY[0] + 0.3]), PSF)
    assert np.isnan(result["flux"][0])
    assert result["flags"][0] & Flag.NOT_MATCHED
    assert result["flux"][1] == pytest.approx(50000.0, rel=0.02)


def test_a_neighbour_in_the_aperture_is_flagged():
    xy = np.vstack([XY, XY[0] + (4.0, 2.0)])
    image = noisy(model(xy, [20000.0] * 4))
    result = AperturePhotometer(**FORCED).measure(image, xy, PSF)
    np.testing.assert_array_equal(result["flags"] & int(Flag.BLENDED) > 0, [True, False, False, True])


@pytest.mark.parametrize("photometer", [OptimalPhotometer, AperturePhotometer])
@pytest.mark.parametrize("forced", [False, True])
@pytest.mark.parametrize("estimator", [None, DefaultLocalBackground(), lambda data, **_: (100.0, 10.0)])
def test_places_off_the_frame_are_rows_all_the_same(photometer, forced, estimator):
    xy = np.array(
        [[40.3, 30.6], [np.nan, 5.0], [-30.0, 5.0], [1e12, 1e12], [146.4, 60.0], [-0.5, -0.5], [0.4, 120.4]]
    )
    image = noisy(model(xy[[0, 4]], FLUXES[:2]))
    result = photometer(forced=forced, local_background_estimator=estimator).measure(image, xy, PSF)
    assert len(result) == len(xy)
    assert explained(result)
    assert result["flags"][1] & Flag.NOT_ALIGNED
    assert (result["flags"][2:] & int(Flag.EDGE) > 0).all()
    assert np.isnan(result["flux"][1:4]).all()
    assert np.isfinite(result["flux"][0])
    assert (result["flags"] & int(Flag.FORCED) > 0).all() == forced


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("photometer", [OptimalPhotometer, AperturePhotometer])
@pytest.mark.parametrize("forced", [False, True])
@pytest.mark.parametrize("estimator", [None, DefaultLocalBackground()])
@pytest.mark.parametrize(
    "image",
    [
        np.full((121, 147), np.nan),
        np.full((121, 147), 7, dtype=np.uint16),
        np.full((121, 147), np.inf, dtype="f4"),
    ],
)
def test_frames_without_information(photometer, forced, estimator, image):
    result = photometer(forced=forced, local_background_estimator=estimator).measure(image, XY, PSF)
    assert explained(result)
    assert np.isnan(result["flux"]).all() or (result["flux"] == 0.0).all()
    assert len(photometer(forced=forced).measure(image, np.empty((0, 2)), PSF)) == 0


def test_bad_pixels_and_saturation():
    image = noisy(model(XY, [50000.0] * 3))
    image[np.random.default_rng(2).random(image.shape) < 0.02] = np.nan
    image[30, 40] = np.nan
    result = OptimalPhotometer(**ANNULUS).measure(image, XY, PSF, saturation=1000.0)
    assert (np.abs(result["flux"] - 50000.0) < 5 * result["flux_err"]).all()
    assert result["flags"][0] & Flag.NON_FINITE
    assert (result["flags"] & int(Flag.SATURATED) > 0).all()
    image[27:35, 36:46] = np.nan
    result = OptimalPhotometer(**FORCED).measure(image, XY, PSF)
    assert np.isnan(result["flux"][0])
    assert result["flags"][0] & Flag.NON_FINITE


def test_a_source_does_not_depend_on_the_others():
    image = noisy(model(XY, FLUXES))
    photometer = OptimalPhotometer(**ANNULUS)
    together = photometer.measure(image, XY, PSF)
    alone = np.concatenate([photometer.measure(image, XY[k : k + 1], PSF) for k in range(3)])
    assert together.tobytes() == alone.tobytes()


@pytest.mark.parametrize("forced", [False, True])
def test_a_star_without_sky_around_it(forced):
    image = noisy(model(XY, FLUXES))
    image[:60, :80] = np.nan
    image[27:35, 36:45] = noisy(model(XY, FLUXES))[27:35, 36:45]
    result = AperturePhotometer(forced=forced, **ANNULUS).measure(image, XY, PSF)
    assert result["flags"][0] & Flag.FEW_SKY_PIXELS
    assert np.isnan([result["flux"][0], result["bkg"][0], result["bkg_err"][0]]).all()
    assert np.isfinite(result["flux"][1:]).all()


def test_single_precision_frames_give_the_numbers_of_double_precision():
    image = noisy(model(XY, FLUXES)).astype(np.float32)
    for estimator in (None, DefaultLocalBackground()):
        photometer = OptimalPhotometer(local_background_estimator=estimator)
        single = photometer.measure(image, XY, PSF)
        assert single.tobytes() == photometer.measure(image.astype(float), XY, PSF).tobytes()


class Level:
    """What a user's background function returns."""

    def __init__(self, image, level=98.0, rms=9.0):
        self.background, self.background_rms = np.full(image.shape, level), np.full(image.shape, rms)


def test_a_background_of_the_users_own():
    image = noisy(model(XY, FLUXES))
    result = OptimalPhotometer(forced=True).measure(image, XY, PSF, background=Level)
    assert (result["bkg"] == 98.0).all()
    assert (result["bkg_err"] == 9.0).all()

    def fails(image):
        raise ValueError("no sky today")

    result = OptimalPhotometer(forced=True).measure(image, XY, PSF, background=fails)
    assert (result["flags"] == Flag.FORCED | Flag.FIT_FAILED).all()
    assert explained(result)


def test_labels_and_settings():
    labels = [
        OptimalPhotometer().label,
        OptimalPhotometer(**FORCED).label,
        AperturePhotometer(forced=True).label,
        AperturePhotometer(**ANNULUS).label,
    ]
    assert labels == ["optimal", "forced_optimal_annulus", "forced_aperture", "aperture_annulus"]
    settings = AperturePhotometer(4.0, **ANNULUS).settings()
    assert json.loads(json.dumps(settings)) == settings
    assert settings["semimajor_axis"] == 4.0
    assert settings["local_background_estimator"]["name"].endswith("DefaultLocalBackground")
    others = [AperturePhotometer(5.0, **ANNULUS), AperturePhotometer(4.0), OptimalPhotometer(**ANNULUS)]
    others += [AperturePhotometer(4.0, local_background_estimator=DefaultLocalBackground(4.0))]
    assert all(other.settings() != settings for other in others)
    again = pickle.loads(pickle.dumps(AperturePhotometer(4.0, **ANNULUS)))
    assert again.settings() == settings


@pytest.mark.parametrize("photometer", [OptimalPhotometer(forced=True), AperturePhotometer(forced=True)])
def test_the_mesh_does_not_take_a_wide_star_for_background(photometer):
    psf, places = PsfModel(4.0, 2.5, 37.0), np.array([[40.0, 50.0], [100.3, 70.6]])
    image = model(places, [1e5, 2e4], psf=psf)
    result = photometer.measure(noisy(image), places, psf)
    np.testing.assert_allclose(result["flux"], [1e5, 2e4], rtol=0, atol=4 * result["flux_err"].max())
