"""PSF and transparency of the run and of each frame, against the truth of drawn stars."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from opticam_dask.catalog.clouds import extinction_excess
from opticam_dask.catalog.frame_psf import frame_psfs
from opticam_dask.catalog.profile import moffat_psf
from opticam_dask.errors import CatalogError
from opticam_dask.schema import CLOUD_MAG
from opticam_dask.simulate.frames import camera_frames
from opticam_dask.simulate.parts import CameraSetup
from opticam_dask.simulate.scene import Scene
from opticam_dask.types import PsfModel

_spec = importlib.util.spec_from_file_location("catalog_scene", Path(__file__).with_name("catalog_scene.py"))
scenes = sys.modules.setdefault("catalog_scene", importlib.util.module_from_spec(_spec))
if not hasattr(scenes, "Field"):
    _spec.loader.exec_module(scenes)
Field, blocks_of, catalogue, similarity = scenes.Field, scenes.blocks_of, scenes.catalogue, scenes.similarity

N = 40
FIELD = Field(shape=(161, 197), n_stars=6, sigmas=(2.4, 1.6), angle=37.0, faintest=9000.0)
SHIFTS = np.random.default_rng(3).normal(0, 1.0, (N, 2))


def night(dim=1.0, seeing=1.0, **meta):
    """Catalogue of a night whose frames are dimmed (also star by star) and blurred."""
    dim = np.broadcast_to(np.asarray(dim, float).reshape(-1, 1) if np.ndim(dim) < 2 else dim, (N, 6))
    seeing = np.broadcast_to(seeing, N)
    images = [
        FIELD.draw(similarity(FIELD.shape, shift=SHIFTS[i]), seed=i, dim=dim[i], seeing=seeing[i])
        for i in range(N)
    ]
    return catalogue(blocks_of(images, 16, **{"airmass": 1.2, **meta}))


def clouded(first, last, mag=1.0):
    return 10 ** (-0.4 * np.where((np.arange(N) >= first) & (np.arange(N) < last), mag, 0.0))


@pytest.mark.parametrize(
    ("sigmas", "separation"), [((4.0, 2.5), 30.0), ((1.5, 1.5), 14.0)], ids=["elongated", "round"]
)
def test_psf_of_the_run_is_right_within_a_few_parts_in_ten_thousand(sigmas, separation):
    """Two dozen frames of 60 stars of 300 to 3e5 counts, on a sloping sky, turning and drifting."""
    scene = Scene(
        **dict(seed=2, n_frames=24, shape=(401, 463), n_stars=60, flux_range=(300, 3e5), margin_px=24.0),
        **dict(semimajor_sigma=sigmas[0], semiminor_sigma=sigmas[1], orientation=37.0),
        **dict(min_separation_px=separation, sky_gradient=(0.02, 0.01), jitter_px=1.0),
        **dict(rotation_deg_per_hour=60.0, cameras=(CameraSetup(filter="g"),)),
    )
    frames = camera_frames(scene, scene.cameras[0])
    catalog = catalogue(blocks_of([frames.pixels(i) for i in range(24)]))
    truth = np.sqrt(np.array(sigmas) ** 2 + 1 / 12)
    found = [catalog.psf.semimajor_sigma, catalog.psf.semiminor_sigma]
    np.testing.assert_allclose(found, truth, rtol=6e-4)
    own = catalog.alignment[["psf_semimajor", "psf_semiminor"]].to_numpy()
    size = np.sqrt(own.prod(axis=1) / truth.prod())
    assert abs(size.mean() - 1) < 5e-4
    assert size.std() < 1.5e-3
    assert (catalog.alignment["fwhm"] / (2.354820045 * np.sqrt(own.prod(axis=1)))).std() < 1e-12
    if sigmas[0] > sigmas[1]:
        assert abs(catalog.psf.orientation - 37) < 0.2
        assert catalog.alignment["psf_orientation"].sub(37).abs().max() < 0.6


def test_seeing_that_doubles_is_followed_and_is_no_cloud():
    seeing = np.linspace(0.7, 1.4, N)
    catalog = night(seeing=seeing)
    table = catalog.alignment
    assert (table["status"] == "aligned").all()
    np.testing.assert_allclose(table["psf_semimajor"], 2.4 * seeing, rtol=0.03)
    np.testing.assert_allclose(table["psf_semiminor"], 1.6 * seeing, rtol=0.03)
    assert abs((table["psf_semimajor"] / (2.4 * seeing)).mean() - 1) < 3e-3
    assert table["cloud"].abs().max() < 0.06
    assert abs(np.polyfit(seeing, table["transparency"], 1)[0]) < 0.01
    np.testing.assert_allclose(frame_psfs(table, catalog.psf)[:, 0], table["psf_semimajor"], rtol=1e-12)


@pytest.mark.parametrize(("first", "last"), [(12, 16), (14, 38), (0, 24)])
def test_a_cloud_of_a_magnitude_is_found_however_long(first, last):
    table = night(dim=clouded(first, last)).alignment
    cloudy = np.arange(N)[(table["cloud"] >= CLOUD_MAG).to_numpy()]
    np.testing.assert_array_equal(cloudy, np.arange(first, last))
    np.testing.assert_allclose(table["cloud"][first:last], 1.0, atol=0.1)


def test_a_star_that_varies_is_no_cloud():
    dim = np.ones((N, 6))
    dim[:, 0] = np.where(np.arange(N) % 10 < 5, 1.3, 0.7)
    table = night(dim=dim).alignment
    assert table["cloud"].abs().max() < 0.06
    assert table["transparency"].std() < 0.015


def test_opaque_clouds_are_infinite_and_frames_lost_otherwise_are_not_clouds():
    dim = clouded(10, 13, np.inf)
    catalog = night(dim=dim)
    table = catalog.alignment
    assert (table["status"][10:13] == "predicted").all()
    assert np.isposinf(table["cloud"][10:13]).all()
    assert (table["cloud"].drop(index=[10, 11, 12]).abs() < 0.1).all()
    assert table["psf_semimajor"][10:13].isna().all()
    filled = frame_psfs(table, catalog.psf)
    between = np.sort([filled[9, 0], filled[13, 0]])
    assert (filled[10:13, 0] >= between[0] - 0.02).all()
    assert (filled[10:13, 0] <= between[1] + 0.02).all()
    images = [FIELD.draw(similarity(FIELD.shape, shift=s), seed=i) for i, s in enumerate(SHIFTS[:8])]
    images[3], images[4] = np.full(FIELD.shape, 100.0, np.float32), scenes.unreadable()
    table = catalogue(blocks_of(images)).alignment
    assert table["cloud"][3:5].isna().all()
    assert table["cloud"].drop(index=[3, 4]).notna().all()


def test_shift_and_rotation_of_each_frame():
    truth = [similarity(FIELD.shape, shift=SHIFTS[i], degrees=0.5 * i) for i in range(12)]
    catalog = catalogue(blocks_of([FIELD.draw(a, seed=i) for i, a in enumerate(truth)]))
    table, ref = catalog.alignment, catalog.reference_frame[2]
    np.testing.assert_allclose(table["rotation"], 0.5 * (np.arange(12) - ref), atol=0.15)
    turn = np.array([np.linalg.inv(truth[ref][:, :2]) @ -SHIFTS[ref]] * 12)
    expected = np.array([truth[i][:, :2] @ turn[i] + SHIFTS[i] for i in range(12)])
    np.testing.assert_allclose(table[["shift_x", "shift_y"]].to_numpy(), expected, atol=0.15)


class TestExtinction:
    """The clear level of a night, on numbers alone."""

    def excess(self, cloud, slope=0.3, airmass=None, noise=0.01, seed=1):
        rng = np.random.default_rng(seed)
        n = len(cloud)
        airmass = np.linspace(1.0, 2.5, n) if airmass is None else airmass
        dimming = slope * np.nan_to_num(airmass) + cloud + rng.normal(0, noise, n)
        return extinction_excess(10 ** (-0.4 * dimming), airmass, np.full(n, "2024-01-01"))

    @pytest.mark.parametrize("slope", [0.0, 0.12, 0.3, 0.55])
    def test_airmass_is_no_cloud(self, slope):
        assert np.abs(self.excess(np.zeros(200), slope)).max() < 0.08

    @pytest.mark.parametrize(("first", "last"), [(0, 20), (100, 120), (80, 200), (0, 120), (40, 160)])
    @pytest.mark.parametrize("rising", [True, False])
    def test_clouds_stand_out_of_the_trend_with_airmass(self, first, last, rising):
        cloud = np.where((np.arange(200) >= first) & (np.arange(200) < last), 1.0, 0.0)
        airmass = np.linspace(1.0, 2.5, 200)[:: 1 if rising else -1]
        found = self.excess(cloud, airmass=airmass)
        np.testing.assert_array_equal(found >= CLOUD_MAG, cloud > 0)
        np.testing.assert_allclose(found, cloud, atol=0.1)

    def test_unknown_or_constant_airmass(self):
        cloud = np.where(np.arange(100) < 50, 0.8, 0.0)
        for airmass in (np.full(100, np.nan), np.full(100, 1.7)):
            np.testing.assert_allclose(self.excess(cloud, airmass=airmass), cloud, atol=0.08)

    def test_each_night_has_its_own_level(self):
        night_of = np.repeat(["2024-01-01", "2024-01-02"], 30)
        transparency = np.where(night_of == "2024-01-01", 1.0, 0.6)
        transparency[5], transparency[6] = np.nan, 0.0
        found = extinction_excess(transparency, np.ones(60), night_of)
        assert np.isnan(found[5])
        assert np.isposinf(found[6])
        np.testing.assert_allclose(np.delete(found, [5, 6]), 0.0, atol=1e-12)


def test_digest_changes_with_what_photometry_takes_of_a_frame():
    catalog = catalogue(blocks_of([FIELD.draw(seed=i) for i in range(4)]))
    digest = catalog.digest()
    for name in ("psf_semimajor", "psf_orientation", "cloud", "transparency", "fwhm", "a13"):
        changed = catalog.alignment.copy()
        changed.loc[2, name] += 1e-6
        assert scenes.replace(catalog, alignment=changed).digest() != digest
    changed = catalog.alignment.assign(status="predicted")
    assert scenes.replace(catalog, alignment=changed).digest() != digest
    assert scenes.replace(catalog, alignment=catalog.alignment.copy()).digest() == digest


def test_gaps_in_the_frames_psfs_are_filled_from_their_night_or_the_run():
    catalog = catalogue(blocks_of([FIELD.draw(seed=i) for i in range(4)]))
    table = catalog.alignment.copy()
    columns = ["psf_semimajor", "psf_semiminor", "psf_orientation"]
    table.loc[:, columns] = [[3.0, 2.0, 89.0], [np.nan] * 3, [3.0, 2.0, -89.0], [np.nan] * 3]
    filled = frame_psfs(table, PsfModel(5.0, 4.0, 10.0))
    np.testing.assert_allclose(np.abs(filled[1]), [3.0, 2.0, 90.0], atol=2e-3)
    np.testing.assert_allclose(filled[3], filled[2])
    table.loc[:, columns] = np.nan
    np.testing.assert_allclose(frame_psfs(table, PsfModel(5.0, 4.0, 10.0)), [[5.0, 4.0, 10.0]] * 4)


def test_moffat_profile_of_a_camera():
    scene = Scene(
        **dict(seed=5, n_frames=5, shape=(301, 263), n_stars=6, flux_range=(8e4, 3e5), margin_px=40.0),
        **dict(semimajor_sigma=2.4, semiminor_sigma=1.8, orientation=-52.0, min_separation_px=60.0),
        **dict(profile="moffat", moffat_beta=3.0, jitter_px=1.0, cameras=(CameraSetup(filter="g"),)),
    )
    frames = camera_frames(scene, scene.cameras[0])
    images = [frames.pixels(i) for i in range(5)]
    catalog = catalogue(blocks_of(images))
    psf = moffat_psf(blocks_of(images, 2)[::-1], catalog, run=scenes.run)
    assert psf.beta == pytest.approx(3.0, rel=0.05)
    # the pixel's response widens the core by about a twelfth of a square pixel
    assert psf.semimajor_sigma == pytest.approx(np.sqrt(2.4**2 + 1 / 12), rel=0.015)
    assert psf.semiminor_sigma == pytest.approx(np.sqrt(1.8**2 + 1 / 12), rel=0.015)
    assert psf.orientation == pytest.approx(-52, abs=1.0)
    assert moffat_psf(blocks_of(images), catalog, run=scenes.run) == psf
    faint = scenes.replace(catalog, alignment=catalog.alignment.assign(cloud=1.0))
    with pytest.raises(CatalogError, match=r"1:g: no Moffat profile.*Gaussian"):
        moffat_psf(blocks_of(images), faint, run=scenes.run)
