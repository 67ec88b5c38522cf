"""Cosmic rays in single frames: found, and stars are not."""

import numpy as np
import pytest
from scipy.ndimage import binary_dilation
from scipy.special import erf

from opticam_dask.calibration.cosmic_rays import cosmic_rays
from opticam_dask.calibration.frame import FrameCalibration
from opticam_dask.calibration.maps import Layout
from opticam_dask.schema import Flag
from opticam_dask.types import Exposure

SKY, READ_NOISE, SHAPE = 100.0, 3.0, (401, 470)


def _along(n, centre, sigma):
    edges = (np.arange(n + 1) - 0.5 - centre) / (sigma * np.sqrt(2))
    return 0.5 * np.diff(erf(edges))


def field(sigmas, seed, n_stars=200):
    """Stars of 300 to 3e5 electron (SNR up to 540) at random places, seen through (sigma x, sigma y)."""
    rng = np.random.default_rng(seed)
    truth, near = np.full(SHAPE, SKY), np.zeros(SHAPE, bool)
    flux = 10 ** rng.uniform(np.log10(300), np.log10(3e5), n_stars)
    for f in flux:
        x, y = rng.uniform(20, SHAPE[1] - 20), rng.uniform(20, SHAPE[0] - 20)
        j, i = int(y) - 17, int(x) - 17
        near[j + 7 : j + 29, i + 7 : i + 29] = True
        truth[j : j + 35, i : i + 35] += f * np.outer(
            _along(35, y - j, sigmas[1]), _along(35, x - i, sigmas[0])
        )
    image = rng.poisson(truth) + rng.normal(0, READ_NOISE, SHAPE)
    return image.astype(np.float32), truth, near


@pytest.mark.parametrize("sigmas", [(1.2, 1.2), (1.2, 2.0), (2.0, 1.5), (3.0, 3.0)])
def test_no_star_is_a_cosmic_ray(sigmas):
    image, _, near = field(sigmas, 11)
    found = cosmic_rays(image, np.zeros(SHAPE, bool), gain=1.0, read_noise=READ_NOISE)
    assert not near.ravel()[found].any()
    assert found.size <= 3  # noise of 5 sigma in the sky
    half = cosmic_rays(image / 2, np.zeros(SHAPE, bool), gain=2.0, read_noise=READ_NOISE)
    assert (half == found).all()


@pytest.mark.parametrize("sigma", [1.2, 2.0])
def test_rays_are_found(sigma):
    image, truth, _ = field((sigma, sigma), 5)
    rng = np.random.default_rng(50)
    places = rng.choice(image.size, 300, replace=False)
    height = rng.uniform(7, 100, 300) * np.sqrt(truth.flat[places] + READ_NOISE**2)
    image.flat[places] += height.astype(np.float32)
    found = cosmic_rays(image, np.zeros(SHAPE, bool), gain=1.0, read_noise=READ_NOISE)
    assert np.isin(places, found).mean() > 0.93
    hit = np.zeros(SHAPE, bool)
    hit.flat[places] = True
    beside = binary_dilation(hit, np.ones((3, 3)))  # pixels beside a ray may go with it
    assert beside.ravel()[found].mean() > 0.98


def test_tracks_are_found_whole():
    image, truth, _ = field((1.5, 1.5), 6, n_stars=0)
    track = [(100 + k, 200 + k // 2) for k in range(8)]
    for place in track:
        image[place] += 30 * np.sqrt(truth[place] + READ_NOISE**2)
    found = cosmic_rays(image, np.zeros(SHAPE, bool), gain=1.0, read_noise=READ_NOISE)
    assert {j * SHAPE[1] + i for j, i in track} <= set(found)
    assert found.size <= len(track) + 4


def test_bad_pixels_are_no_rays_and_unknown_read_noise_is_no_obstacle():
    image, _, _ = field((1.5, 1.5), 7)
    bad = np.zeros(SHAPE, bool)
    bad[50, 60] = bad[200, 300] = True
    image[bad] = np.nan
    image[300, 100] += 4000
    found = cosmic_rays(image, bad, gain=1.0, read_noise=np.nan)
    assert 300 * SHAPE[1] + 100 in found
    assert not bad.ravel()[found].any()
    assert cosmic_rays(image, np.ones(SHAPE, bool), gain=1.0, read_noise=3.0).size == 0


def test_rays_are_marked_and_nan_and_saturated_pixels_are_not_rays():
    image = np.random.default_rng(8).normal(SKY, 9.0, SHAPE)
    raw = np.rint(image).astype(np.uint16)
    raw[30, 40] = 1500
    raw[90, 90] = 60000
    how = FrameCalibration("1:g", Layout(SHAPE, ((0, 401), (0, 470))), remove_cosmic_rays=True)
    frame = how.apply(Exposure(raw, gain=1.0, read_noise=READ_NOISE, saturation=50000.0, exposure_s=1.0))
    where = dict(zip(frame.marked.tolist(), frame.marks.tolist(), strict=True))
    assert where == {30 * 470 + 40: int(Flag.COSMIC_RAY), 90 * 470 + 90: int(Flag.SATURATED)}
    assert np.flatnonzero(np.isnan(frame.image)).tolist() == [30 * 470 + 40]
