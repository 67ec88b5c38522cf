"""Scatter of measured fluxes against the least that theory allows, and against theory for apertures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from photutils.aperture import EllipticalAperture

from opticam_dask.photometers import AperturePhotometer, OptimalPhotometer
from opticam_dask.simulate import CameraSetup, Scene
from opticam_dask.simulate.frames import camera_frames
from opticam_dask.types import PsfModel
from opticam_dask.validation.theory import aperture_error, cramer_rao_error, sky_variance, star_profile

AXES, ANGLE = (4.0, 2.5), 37.0
PSF = PsfModel((AXES[0] ** 2 + 1 / 12) ** 0.5, (AXES[1] ** 2 + 1 / 12) ** 0.5, ANGLE)
BEST = 1.585
"""Radius of the best aperture of a Gaussian star in the sky [sigma]."""

FLUXES = (300.0, 3e3, 3e4, 3e5)


def known_sky(data, position, semimajor_axis, semiminor_axis, orientation):
    return 100.0, 10.1


def night(flux, gain, n_frames):
    """Nine stars of one flux, far apart, at places of their own within their pixels."""
    rng = np.random.default_rng([int(flux), int(100 * gain)])
    places = 45.0 + 81.0 * np.stack(np.meshgrid(range(3), range(3)), -1).reshape(-1, 2)
    places += rng.uniform(-0.5, 0.5, places.shape)
    return Scene(
        cameras=(CameraSetup(filter="g"),),
        shape=(253, 259),
        n_frames=n_frames,
        stars=tuple((x, y, flux) for x, y in places.tolist()),
        semimajor_sigma=AXES[0],
        semiminor_sigma=AXES[1],
        orientation=ANGLE,
        gain=gain,
        seed=int(flux) + int(1000 * gain),
    )


def measured(scene, photometers):
    """Fluxes, shape (n_photometer, n_measurement), and the true places of the stars."""
    frames = camera_frames(scene, scene.cameras[0])
    xy = frames.stars[:, :2]
    found = [[] for _ in photometers]
    for row in range(len(frames)):
        pixels = frames.pixels(row)
        for k, photometer in enumerate(photometers):
            found[k].append(photometer.measure(pixels, xy, PSF, gain=scene.gain)["flux"])
    return np.array([np.concatenate(rows) for rows in found]), xy


def bound(scene, flux, xy):
    """Root mean square of the least errors at the stars' places."""
    errors = [
        cramer_rao_error(flux, star_profile(scene, tuple(p - np.rint(p))), sky_variance(scene), scene.gain)
        for p in xy
    ]
    return np.sqrt(np.mean(np.square(errors)))


def check_bound(flux, gain, n_frames):
    scene = night(flux, gain, n_frames)
    photometer = OptimalPhotometer(forced=True, local_background_estimator=known_sky)
    (found,), xy = measured(scene, [photometer])
    error = 1.0 / np.sqrt(2.0 * found.size)
    ratio = found.std(ddof=1) / bound(scene, flux, xy)
    assert 1.0 - 4.0 * error < ratio < 1.05 + error
    assert abs(found.mean() / flux - 1.0) < 4.0 * bound(scene, flux, xy) / flux / np.sqrt(found.size)


def ratio_of_scatters(flux, gain, n_frames):
    """Scatter of the optimal flux over that of the best aperture's: measured, its error, and in theory."""
    scene = night(flux, gain, n_frames)
    sized = {"semimajor_axis": BEST * AXES[0], "semiminor_axis": BEST * AXES[1], "orientation": ANGLE}
    photometers = [
        OptimalPhotometer(forced=True, local_background_estimator=known_sky),
        AperturePhotometer(forced=True, local_background_estimator=known_sky, **sized),
    ]
    (optimal, aperture), xy = measured(scene, photometers)
    theory = []
    for place in xy:
        offset = place - np.rint(place)
        mask = EllipticalAperture(offset + 30.0, BEST * AXES[0], BEST * AXES[1], theta=np.radians(ANGLE))
        weights = mask.to_mask(method="exact").to_image((61, 61))
        profile = star_profile(scene, tuple(offset))
        numbers = (sky_variance(scene), gain)
        theory.append(
            (cramer_rao_error(flux, profile, *numbers), aperture_error(flux, profile, weights, *numbers))
        )
    expected = np.divide(*np.sqrt(np.mean(np.square(theory), axis=0)))
    correlation = np.corrcoef(optimal, aperture)[0, 1]
    ratio = optimal.std(ddof=1) / aperture.std(ddof=1)
    return ratio, ratio * np.sqrt((1.0 - correlation**2) / optimal.size), expected


def test_scatter_of_faint_and_bright_stars_is_near_the_bound():
    for flux in (300.0, 3e5):
        check_bound(flux, 1.0, 60)


def test_optimal_beats_the_best_aperture_as_theory_says():
    ratio, error, expected = ratio_of_scatters(300.0, 1.0, 60)
    assert expected < 0.95
    assert abs(ratio - expected) < 3.0 * error
    assert ratio < 1.0 - 2.0 * error


@pytest.mark.slow
@pytest.mark.parametrize("gain", [1.0, 0.45])
@pytest.mark.parametrize("flux", FLUXES)
def test_scatter_is_near_the_bound(flux, gain):
    check_bound(flux, gain, 800)


@pytest.mark.slow
@pytest.mark.parametrize("flux", [300.0, 1000.0, 3e4])
def test_optimal_and_aperture_scatters_are_those_of_theory(flux):
    ratio, error, expected = ratio_of_scatters(flux, 1.0, 1000)
    assert abs(ratio - expected) < 3.0 * error
    assert ratio < 1.0


def test_the_best_aperture_of_a_wide_gaussian_on_sky_alone():
    """Light 1 - exp(-r^2 / 2) from pi r^2 pixels, against 4 pi effective pixels of the optimum."""
    scene = replace(night(300.0, 1.0, 1), semimajor_sigma=20.0, semiminor_sigma=12.5)
    profile = star_profile(scene, (0.0, 0.0), half=120)
    mask = EllipticalAperture((120, 120), BEST * 20.0, BEST * 12.5, theta=np.radians(ANGLE))
    weights = mask.to_mask(method="exact").to_image(profile.shape)
    optimal = cramer_rao_error(0.0, profile, 1.0, 1.0)
    held = 1.0 - np.exp(-0.5 * BEST**2)
    assert held / BEST * 2.0 == pytest.approx(0.9026, abs=1e-4)
    assert optimal / aperture_error(0.0, profile, weights, 1.0, 1.0) == pytest.approx(0.9026, abs=0.01)


def test_bounds_of_a_gaussian_on_sky_alone():
    scene = night(300.0, 1.0, 1)
    profile = star_profile(scene, (0.2, -0.3))
    assert profile.sum() == pytest.approx(1.0, abs=1e-6)
    pixels = (
        cramer_rao_error(0.0, profile, 1.0, 1.0) ** 2
    )  # effective pixels: 4 pi a b, with the pixel's own size
    wide = 4.0 * np.pi * PSF.semimajor_sigma * PSF.semiminor_sigma
    assert pixels == pytest.approx(wide, rel=2e-3)
