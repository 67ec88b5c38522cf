"""Photometry over the two-dimensional background: sources masked, levels unbiased, errors that are right."""

import numpy as np
import pytest
from astropy.stats import SigmaClip
from photutils.background import Background2D, MeanBackground

from opticam_dask.kernels.background import background_mesh, default_box_size
from opticam_dask.kernels.clipping import ClipRule
from opticam_dask.kernels.neighbours import source_mask
from opticam_dask.photometers import AperturePhotometer, OptimalPhotometer
from opticam_dask.photometers.sky import MeshSky, ellipse_of
from opticam_dask.schema import Flag
from opticam_dask.types import PsfModel

PSF = PsfModel(4.0, 2.5, 37.0)
SHAPE = (331, 402)
CLIP, RULE = SigmaClip(4, maxiters=10), ClipRule(4.0, 4.0)
BOX = default_box_size(SHAPE[1], PSF.semimajor_sigma)

pytestmark = pytest.mark.filterwarnings("ignore:Input data contains")


def sky_at(x, y):
    return 100.0 + 0.02 * (x - 200.0) - 0.01 * (y - 160.0)


def scene(seed=0):
    """Half of the stars faint, half bright, none beyond reach of the next one's profile."""
    rng = np.random.default_rng(seed)
    grid = np.array([[x, y] for y in range(40, 320, 52) for x in range(40, 390, 58)], dtype=float)
    xy = grid + rng.uniform(-5.0, 5.0, grid.shape)
    flux = np.where(np.arange(len(xy)) % 2, 10 ** rng.uniform(3.5, 5.0, len(xy)), 300.0)
    y, x = np.indices(SHAPE)
    image = sky_at(x, y)
    theta = PSF.orientation_rad
    for place, total in zip(xy, flux, strict=True):
        dx, dy = x - place[0], y - place[1]
        u, v = dx * np.cos(theta) + dy * np.sin(theta), dy * np.cos(theta) - dx * np.sin(theta)
        image += total / (2 * np.pi * 10.0) * np.exp(-0.5 * ((u / 4.0) ** 2 + (v / 2.5) ** 2))
    return xy, flux, image


def frames(image, gain, n, seed=1):
    rng = np.random.default_rng(seed)
    return (rng.poisson(image * gain) / gain for _ in range(n))


@pytest.mark.parametrize("photometer", [OptimalPhotometer, AperturePhotometer])
@pytest.mark.parametrize("gain", [1.0, 0.45])
def test_pulls_of_forced_photometry(gain, photometer):
    xy, flux, image = scene()
    rows = np.array([photometer(forced=True).measure(f, xy, PSF, gain=gain) for f in frames(image, gain, 50)])
    pull = (rows["flux"] - flux) / rows["flux_err"]
    for part in (flux == 300.0, flux > 300.0):  # 1 050 pulls each: 0.03 and 0.02
        assert abs(pull[:, part].mean()) < 0.08
        assert pull[:, part].std() == pytest.approx(1.0, abs=0.06)
    assert abs(pull.mean()) < 0.05
    assert not (rows["flags"] & int(Flag.CROWDED_SKY)).any()


@pytest.mark.parametrize("gain", [1.0, 0.45])
def test_levels_under_the_stars_and_their_errors(gain):
    xy, _, image = scene()
    truth = sky_at(*xy.T)
    skies = [MeshSky(frame, BOX, PSF, xy).at(xy)[0] for frame in frames(image, gain, 40)]
    level = np.array([sky.level for sky in skies]) - truth
    assert abs(level.mean()) < 0.03
    said = np.sqrt(np.mean([sky.level_variance for sky in skies]))
    assert 0.85 < level.std() / said < 1.1
    noise = np.mean([sky.noise**2 for sky in skies], axis=0) / (truth / gain)
    assert np.sqrt(noise.mean()) == pytest.approx(1.0, abs=0.005)
    modes = [background_mesh(frame, BOX).at(xy)[0] - truth for frame in frames(image, gain, 5)]
    assert np.mean(modes) < -0.2 / gain  # what the mode of a Poisson sky would give


def test_the_mesh_is_photutils_own_on_a_plane_through_the_boxes():
    xy, _, image = scene()
    frame = next(iter(frames(image, 1.0, 1)))[:312, :384]  # whole boxes
    mask = source_mask(frame.shape, xy, ellipse_of(PSF))
    y, x = np.indices(frame.shape).astype(float)
    mesh = MeshSky(frame, BOX, PSF, xy).mesh
    above = frame - mesh.plane[0] - mesh.plane[1] * x - mesh.plane[2] * y
    theirs = Background2D(
        above, BOX, mask=mask, exclude_percentile=50, bkg_estimator=MeanBackground(), sigma_clip=CLIP
    )
    # a plane of 0.4 adu per box moves pixels over the limits of clipping now and then
    np.testing.assert_allclose(mesh.level, theirs.background_mesh, rtol=0, atol=0.05)
    assert np.median(np.abs(mesh.level - theirs.background_mesh)) < 0.01
    flat = frame - sky_at(x, y) + 100.0
    for known in (flat, frame):
        plain = background_mesh(known, BOX, mask=mask, exclude_percentile=50, estimator="mean", rule=RULE)
        theirs = Background2D(
            known, BOX, mask=mask, exclude_percentile=50, bkg_estimator=MeanBackground(), sigma_clip=CLIP
        )
        np.testing.assert_allclose(plain.level, theirs.background_mesh, rtol=0, atol=1e-9)
        np.testing.assert_allclose(plain.rms, theirs.background_rms_mesh, rtol=0, atol=1e-9)


def test_a_tilted_plane_is_exact_to_the_edge_and_beside_masks():
    xy, _, _ = scene()
    y, x = np.indices(SHAPE)
    sky, _ = MeshSky(sky_at(x, y), BOX, PSF, xy).at(xy)
    np.testing.assert_allclose(sky.level, sky_at(*xy.T), rtol=1e-11)


def test_the_order_of_the_sources_does_not_matter():
    xy, _, image = scene()
    xy[3] = np.nan
    frame = next(iter(frames(image, 1.0, 1)))
    one, _ = MeshSky(frame, BOX, PSF, xy).at(xy[:3])
    other, _ = MeshSky(frame, BOX, PSF, xy[::-1]).at(xy[:3])
    for left, right in zip(one, other, strict=True):
        np.testing.assert_array_equal(left, right)


def test_no_box_left_by_the_sources_is_told_and_the_modes_are_taken():
    image = np.random.default_rng(1).normal(100.0, 10.0, (90, 110))
    everywhere = np.array([[x, y] for x in range(0, 110, 12) for y in range(0, 90, 12)], dtype=float)
    sky, flags = MeshSky(image, 24, PSF, everywhere).at(everywhere)
    assert (flags == int(Flag.CROWDED_SKY)).all()
    np.testing.assert_array_equal(sky.level, background_mesh(image, 24).at(everywhere)[0])
    assert np.isfinite(sky.level_variance).all()
    half = everywhere[everywhere[:, 0] < 70]  # boxes at the left are filled from far away
    sky, flags = MeshSky(image, 12, PSF, half).at(np.array([[6.0, 45.0], [105.0, 45.0]]))
    np.testing.assert_array_equal(flags, [int(Flag.CROWDED_SKY), 0])
    assert sky.level_variance[0] > sky.level_variance[1]
    assert sky.level_variance[0] < 2.0 * sky.noise[0] ** 2 / 12**2  # as well as one box


def test_a_constant_sky_is_exact_and_nothing_is_no_sky():
    xy = np.array([[20.0, 30.0], [60.0, 10.0], [np.nan, 1.0]])
    sky, flags = MeshSky(np.full((57, 91), 7, dtype=np.uint16), 16, PSF, xy).at(xy[:2])
    np.testing.assert_allclose(sky.level, 7.0, rtol=1e-13)
    np.testing.assert_array_equal([sky.scatter, sky.noise, sky.level_variance], 0.0)
    sky, flags = MeshSky(np.full((57, 91), np.nan), 16, PSF, xy).at(xy[:2])
    assert np.isnan(sky.level).all()
    assert (flags & int(Flag.FEW_SKY_PIXELS) > 0).all()
