"""Profiles, clip radius, weighting, aperture scale, marks and labels of photometers, on injected stars."""

import json

import numpy as np
import pytest

from opticam_dask.errors import InputError
from opticam_dask.photometers import AperturePhotometer, DefaultLocalBackground, OptimalPhotometer
from opticam_dask.schema import Flag
from opticam_dask.types import Exposure, PsfModel

PSF = PsfModel(4.0, 2.5, 37.0)
SHAPE = (307, 359)
NODES, NODE_WEIGHTS = np.polynomial.legendre.leggauss(3)


def grid(seed=8):
    """Thirty places 55 pixels apart, each with its own sub-pixel phase."""
    cells = np.array([(i, j) for i in range(6) for j in range(5)])
    return 55.0 * cells + (38.0, 36.0) + np.random.default_rng(seed).uniform(-0.5, 0.5, cells.shape)


def stars(xy, psf=PSF, beta=None):
    """Unit light of all stars, integrated over pixels; widths are those before the pixel."""
    j, i = np.indices(SHAPE)
    a, b, image = psf.semimajor_sigma, psf.semiminor_sigma, np.zeros(SHAPE)
    cos, sin = np.cos(psf.orientation_rad), np.sin(psf.orientation_rad)
    k = 0.0 if beta is None else (2 ** (1 / beta) - 1) / (2 * np.log(2))
    for x, y in xy:
        for s, ws in zip(NODES / 2, NODE_WEIGHTS / 2, strict=True):
            for t, wt in zip(NODES / 2, NODE_WEIGHTS / 2, strict=True):
                u = ((i + s - x) * cos + (j + t - y) * sin) / a
                v = ((j + t - y) * cos - (i + s - x) * sin) / b
                q = u * u + v * v
                if beta is None:
                    image += ws * wt * np.exp(-0.5 * q) / (2 * np.pi * a * b)
                else:
                    image += ws * wt * (1 + k * q) ** -beta * k * (beta - 1) / (np.pi * a * b)
    return image


def seen(psf=PSF, beta=None):
    """PSF of the pixels' data; for a Moffat this wide the pixel hardly matters."""
    grown = np.sqrt(
        np.array([psf.semimajor_sigma, psf.semiminor_sigma]) ** 2 + (1 / 12 if beta is None else 0)
    )
    return PsfModel(*map(float, grown), psf.orientation, beta)


PLACES = grid()
LIGHT = stars(PLACES)


def level(data, position, semimajor_axis, semiminor_axis, orientation):
    return 100.0, 12.0


def pulls(photometer, flux, gain, n_frames=100, read_noise=3.0, seed=0):
    """(measured - true) / error of 30 stars in each frame; positions known."""
    rng = np.random.default_rng([seed, int(flux)])
    z = []
    for _ in range(n_frames):
        image = rng.poisson((100.0 + flux * LIGHT) * gain) / gain + rng.normal(0.0, read_noise, SHAPE)
        found = photometer.measure(image, PLACES, seen(), gain=gain)
        z.append((found["flux"] - flux) / found["flux_err"])
    return np.concatenate(z)


# without clipping: clipping the skewed noise of few photons biases the level, and with it the pulls, by 0.06
FORCED = {"forced": True, "local_background_estimator": DefaultLocalBackground(sigma_clip=None)}
PHOTOMETERS = {
    "optimal": OptimalPhotometer(**FORCED),
    "clipped": OptimalPhotometer(**FORCED, clip_radius=2.0),
    "by profile": OptimalPhotometer(**FORCED, weighting="profile"),
    "aperture": AperturePhotometer(**FORCED),
    "small aperture": AperturePhotometer(**FORCED, scale=0.5),
    "tiny aperture": AperturePhotometer(1.5, **FORCED),
}


@pytest.mark.parametrize("name", PHOTOMETERS)
@pytest.mark.parametrize(("flux", "gain"), [(1000.0, 4.0), (100000.0, 0.45)])
def test_pulls(name, flux, gain):
    z = pulls(PHOTOMETERS[name], flux, gain, n_frames=12)
    assert abs(z.mean()) < 0.2
    assert abs(z.std() - 1.0) < 0.15


@pytest.mark.slow
@pytest.mark.parametrize("name", PHOTOMETERS)
@pytest.mark.parametrize("gain", [0.45, 1.0, 4.0])
@pytest.mark.parametrize("flux", [300.0, 3000.0, 30000.0, 300000.0])
def test_pulls_at_length(name, flux, gain):
    z = pulls(PHOTOMETERS[name], flux, gain)
    assert abs(z.mean()) < 0.06
    assert abs(z.std() - 1.0) < 0.04


@pytest.mark.parametrize("flux", [300.0, 30000.0, 1e6])
def test_no_unbiased_measurement_could_scatter_less(flux):
    """Cramer-Rao: variance of any unbiased flux is at least 1 / sum(P^2 / V), the profile being known."""
    photometer = OptimalPhotometer(True, 5.0, level)
    truth = stars(PLACES[:1])
    rng = np.random.default_rng(4)
    found = []
    for _ in range(100):
        image = rng.poisson(100.0 + flux * LIGHT) + rng.normal(0.0, np.sqrt(44.0), SHAPE)
        found.append(photometer.measure(image, PLACES, seen())["flux"])
    bound = 1.0 / np.sqrt((truth**2 / (144.0 + flux * truth)).sum())
    assert np.std(np.concatenate(found)) == pytest.approx(bound, rel=0.05)
    assert np.mean(found) == pytest.approx(flux, abs=4 * bound / np.sqrt(3000))


@pytest.mark.parametrize("clip", [None, 0.1, 1.0, 2.0, 3.5])
@pytest.mark.parametrize("weighting", ["variance", "profile"])
def test_a_clipped_profile_still_gives_total_counts(clip, weighting):
    image = 100.0 + 50000.0 * LIGHT
    photometer = OptimalPhotometer(True, 5.0, level, clip_radius=clip, weighting=weighting)
    result = photometer.measure(image, PLACES, seen())
    np.testing.assert_allclose(result["flux"], 50000.0, rtol=4e-4)
    whole = OptimalPhotometer(True, 5.0, level, weighting=weighting).measure(image, PLACES, seen())
    assert (result["flux_err"] >= whole["flux_err"] * (1 - 1e-3)).all()


def test_a_wrong_profile_cancels_between_stars_if_weights_are_the_profile():
    bright, faint = (100.0 + flux * LIGHT for flux in (1e6, 1e3))
    ratios = {}
    for weighting in ("variance", "profile"):
        photometer = OptimalPhotometer(True, 5.0, level, weighting=weighting)
        fluxes = [photometer.measure(image, PLACES, seen().scaled(1.2))["flux"] for image in (bright, faint)]
        ratios[weighting] = fluxes[0] / fluxes[1] / 1000.0
    np.testing.assert_allclose(ratios["profile"], 1.0, rtol=1e-9)
    assert (np.abs(ratios["variance"] - 1.0) > 0.01).all()


@pytest.mark.parametrize("beta", [2.5, 4.5])
@pytest.mark.parametrize("kind", ["optimal", "clipped", "aperture", "small aperture"])
def test_moffat_stars_give_total_counts(kind, beta):
    place = np.array([[150.3, 160.6]])
    image = 100.0 + 40000.0 * stars(place, beta=beta)
    photometer = {
        "optimal": OptimalPhotometer(True, 5.0, level, profile="moffat"),
        "clipped": OptimalPhotometer(True, 5.0, level, profile="moffat", clip_radius=2.0),
        "aperture": AperturePhotometer(forced=True, local_background_estimator=level),
        "small aperture": AperturePhotometer(forced=True, local_background_estimator=level, scale=0.6),
    }[kind]
    flux = photometer.measure(image, place, seen(beta=beta).scaled(1.006))["flux"]
    np.testing.assert_allclose(flux, 40000.0, rtol=3e-3)
    if kind == "optimal":
        gaussian = OptimalPhotometer(True, 5.0, level).measure(image, place, seen(beta=beta))["flux"]
        assert gaussian[0] < 0.97 * 40000.0
        given = OptimalPhotometer(True, 5.0, level, profile="moffat", beta=beta)
        again = given.measure(image, place, PsfModel(4.0 * 1.006, 2.5 * 1.006, 37.0))["flux"]
        np.testing.assert_allclose(again, flux, rtol=1e-12)


def test_the_peak_of_a_moffat():
    image = 100.0 + 40000.0 * LIGHT
    total, peak = (
        OptimalPhotometer(True, 5.0, level, normalization=n, profile="moffat", beta=3.0)
        for n in ("total", "peak")
    )
    k = (2 ** (1 / 3.0) - 1) / (2 * np.log(2))
    for name in ("flux", "flux_err"):
        ratio = peak.measure(image, PLACES, PSF)[name] / total.measure(image, PLACES, PSF)[name]
        np.testing.assert_allclose(ratio, k * 2.0 / (np.pi * 10.0), rtol=1e-12)


def test_errors_of_uncorrected_apertures_are_those_of_their_own_counts():
    image = 100.0 + 40000.0 * LIGHT
    settings = {"forced": True, "local_background_estimator": level, "scale": 0.6}
    plain = AperturePhotometer(**settings, aperture_correction=False).noise_terms(image, PLACES, seen())
    total = AperturePhotometer(**settings).noise_terms(image, PLACES, seen())
    assert (plain["flux"] < 0.7 * total["flux"]).all()
    for name in ("source", "sky", "level", "total"):
        np.testing.assert_allclose(plain[name] / plain["flux"], total[name] / total["flux"], rtol=1e-12)


@pytest.mark.parametrize("flag", [Flag.SATURATED, Flag.COSMIC_RAY])
def test_marked_pixels_in_the_footprint_flag_the_source(flag):
    image = 100.0 + 40000.0 * LIGHT
    x, y = PLACES[3].round().astype(int)
    away = {"core": (3, 2), "wings": (8, 6), "far": (20, 15)}
    frames = {
        where: Exposure(
            image, marked=np.array([(y + dy) * SHAPE[1] + x + dx]), marks=np.array([flag], np.int32)
        )
        for where, (dx, dy) in away.items()
    }
    whole, clipped = OptimalPhotometer(True, 5.0, level), OptimalPhotometer(True, 5.0, level, clip_radius=0.7)
    small, large = (AperturePhotometer(r, forced=True, local_background_estimator=level) for r in (5.0, 12.0))
    expected = {
        "core": [whole, small, large],
        "wings": [whole, large],
        "far": [],
    }
    for where, frame in frames.items():
        for photometer in (whole, clipped, small, large):
            flags = photometer.measure(frame, PLACES, seen())["flags"] & int(flag)
            assert (flags[3] > 0) == (photometer in expected[where])
            assert not np.delete(flags, 3).any()


def test_labels_tell_runs_apart_and_settings_tell_everything():
    labels = [
        OptimalPhotometer(profile="moffat", psf="frame").label,
        OptimalPhotometer(**FORCED, profile="moffat").label,
        AperturePhotometer(**FORCED, scale=1.5).label,
        AperturePhotometer(psf="frame", scale=2).label,
        OptimalPhotometer(clip_radius=2.0).label,
    ]
    assert labels == [
        "optimal_moffat_psf_frame",
        "forced_optimal_annulus_moffat",
        "forced_aperture_annulus_x1.5",
        "aperture_x2_psf_frame",
        "optimal",
    ]
    every = [
        OptimalPhotometer(),
        OptimalPhotometer(clip_radius=2.0),
        OptimalPhotometer(weighting="profile"),
        OptimalPhotometer(profile="moffat"),
        OptimalPhotometer(profile="moffat", beta=3.0),
        OptimalPhotometer(psf="frame"),
    ]
    texts = {json.dumps(photometer.settings(), sort_keys=True) for photometer in every}
    assert len(texts) == len(every)
    assert AperturePhotometer(scale=1.5).reach(PSF)[:2] == pytest.approx(
        (4.0 * 3.5322, 2.5 * 3.5322), rel=1e-4
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: OptimalPhotometer(profile="airy"), "gaussian"),
        (lambda: OptimalPhotometer(weighting="none"), "variance"),
        (lambda: OptimalPhotometer(beta=3.0), "moffat"),
        (lambda: OptimalPhotometer(profile="moffat", beta=1.0), "above 1"),
        (lambda: OptimalPhotometer(clip_radius=0.0), "clip_radius"),
        (lambda: OptimalPhotometer(psf="night"), "psf is"),
        (lambda: AperturePhotometer(scale=0.0), "scale"),
        (lambda: AperturePhotometer(5.0, scale=2.0), "semimajor_axis"),
        (
            lambda: OptimalPhotometer(True, profile="moffat").measure(100 * LIGHT, PLACES, PSF),
            "needs an exponent",
        ),
    ],
)
def test_wrong_options_say_so(make, message):
    with pytest.raises(InputError, match=message):
        make()
