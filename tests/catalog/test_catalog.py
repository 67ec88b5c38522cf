import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from opticam_dask.catalog.finder import NOTICE, DefaultFinder
from opticam_dask.catalog.model import AlignmentConfig
from opticam_dask.errors import CatalogError, InputError
from opticam_dask.schema import ALIGNMENT_COLUMNS

_spec = importlib.util.spec_from_file_location("catalog_scene", Path(__file__).with_name("catalog_scene.py"))
scenes = sys.modules.setdefault("catalog_scene", importlib.util.module_from_spec(_spec))
_spec.loader.exec_module(scenes)
Field, blocks_of, catalogue, similarity = scenes.Field, scenes.blocks_of, scenes.catalogue, scenes.similarity

FIELD = Field()
SHIFTS = np.random.default_rng(3).normal(0, 1.2, (10, 2))
JITTER = [similarity(FIELD.shape, shift=shift) for shift in SHIFTS]


def frames(truth, **changes):
    scene = changes.pop("scene", FIELD)
    return [scene.draw(affine, seed=i) for i, affine in enumerate(truth)]


def assert_placed(catalog, truth, limit=0.15, scene=FIELD):
    assert scenes.placement_errors(catalog, scene, truth).max() < limit


def sources_match(catalog, scene=FIELD, truth=JITTER):
    """Every catalogued source is the field's star of that rank, within 0.1 px."""
    affine = truth[catalog.reference_frame[2]]
    true = scene.xy @ affine[:, :2].T + affine[:, 2]
    n = len(catalog.xy)
    np.testing.assert_allclose(catalog.xy, true[:n], atol=0.15)
    return n


def test_shifted_frames_align_and_their_stars_are_catalogued_brightest_first():
    catalog = catalogue(blocks_of(frames(JITTER)))
    assert_placed(catalog, JITTER)
    assert sources_match(catalog) == FIELD.n_stars
    assert list(catalog.table["source"]) == list(range(1, FIELD.n_stars + 1))
    table = catalog.alignment
    assert list(table.columns) == [column.name for column in ALIGNMENT_COLUMNS]
    assert (table["status"] == "aligned").all()
    assert (table["reason"] == "").all()
    np.testing.assert_allclose(table["background"], 100, atol=0.5)
    np.testing.assert_allclose(table["background_rms"], 10, atol=0.5)
    np.testing.assert_allclose(table["fwhm"], 1.5 * 2.3548, rtol=0.05)
    np.testing.assert_allclose(table["transparency"], 1, atol=0.05)
    np.testing.assert_allclose(catalog.table["psf_flux"], FIELD.flux, rtol=0.05)
    assert (np.diff(catalog.table["psf_flux"]) < 0).all()
    assert (catalog.xy == np.column_stack([catalog.table["x"], catalog.table["y"]])).all()


def test_stack_keeps_the_flux_and_lowers_the_noise():
    catalog = catalogue(blocks_of(frames(JITTER)))
    x, y = np.rint(catalog.xy[0]).astype(int)
    box = catalog.stacked_image[y - 7 : y + 8, x - 7 : x + 8]
    assert box.sum() == pytest.approx(FIELD.flux[0], rel=0.02)
    corner = catalog.stacked_image[60:100, 2:15]
    assert np.nanstd(corner) < 10 / np.sqrt(10) * 1.1


def test_rotation_scale_and_drift_of_hundreds_of_pixels():
    field = Field(shape=(301, 417), n_stars=40, margin=-150, faintest=200.0, seed=5)
    truth = [similarity(field.shape, shift=(9.0 * i - 180, 3.0 * i - 60), degrees=0.4 * i) for i in range(40)]
    catalog = catalogue(
        blocks_of([field.draw(a, seed=i) for i, a in enumerate(truth)], 7), n_alignment_sources=25
    )
    assert (catalog.alignment["status"] == "aligned").all()
    reference = truth[catalog.reference_frame[2]]
    for found, true in zip(scenes.transforms(catalog), truth, strict=True):
        inverse = np.linalg.inv(np.vstack([reference, [0, 0, 1]]))
        expected = (np.vstack([true, [0, 0, 1]]) @ inverse)[:2]
        centre = np.array([208, 150, 1])
        np.testing.assert_allclose(found @ centre, expected @ centre, atol=0.3)
        np.testing.assert_allclose(found[:, :2], expected[:, :2], atol=0.003)


def test_meridian_flip():
    truth = [similarity(FIELD.shape, shift=s, degrees=180.0 * (i >= 6)) for i, s in enumerate(SHIFTS)]
    catalog = catalogue(blocks_of(frames(truth)))
    assert (catalog.alignment["status"] == "aligned").all()
    assert_placed(catalog, truth)


def test_a_frame_20_px_off_aligns():
    truth = list(JITTER)
    truth[4] = similarity(FIELD.shape, shift=(14.3, -14.1))
    images = frames(truth) + frames(JITTER)
    catalog = catalogue(blocks_of(images))
    assert catalog.alignment["status"][4] == "aligned"
    assert_placed(catalog, truth + JITTER)


def test_sequences_longer_than_the_anchors_follow_the_stars_between_them():
    truth = [similarity(FIELD.shape, shift=(0.2 * i, 3 * np.sin(i / 9))) for i in range(70)]
    truth[33] = similarity(FIELD.shape, shift=(-20, 3))
    catalog = catalogue(blocks_of(frames(truth), 16))
    assert (catalog.alignment["status"] == "aligned").all()
    assert_placed(catalog, truth)


def test_translation_works_with_one_star():
    field = Field(n_stars=1, margin=60, faintest=9000)
    catalog = catalogue(
        blocks_of([field.draw(a, seed=i) for i, a in enumerate(JITTER)]), transform_type="translation"
    )
    assert (catalog.alignment["status"] == "aligned").all()
    assert_placed(catalog, JITTER, 0.1, field)
    np.testing.assert_array_equal(
        scenes.transforms(catalog)[:, :, :2], np.broadcast_to(np.eye(2), (10, 2, 2))
    )


@pytest.mark.parametrize("n", [1, 2])
def test_one_and_two_stars_fall_back_to_shifts(n):
    field = Field(n_stars=n, margin=60, faintest=9000)
    catalog = catalogue(blocks_of([field.draw(a, seed=i) for i, a in enumerate(JITTER)]))
    assert (catalog.alignment["status"] == "aligned").all()
    assert_placed(catalog, JITTER, 0.1, field)


@pytest.mark.parametrize("where", [5, 0, 4])
def test_a_cloudy_frame_costs_itself_only(where):
    images = frames(JITTER)
    images[where] = FIELD.draw(JITTER[where], seed=99, dim=0.0)
    catalog = catalogue(blocks_of(images))
    row = catalog.alignment.iloc[where]
    assert row["status"] == "predicted"
    assert "cloud" in row["reason"]
    assert (catalog.alignment["status"].drop(index=where) == "aligned").all()
    assert sources_match(catalog) == FIELD.n_stars
    assert np.isfinite(scenes.transforms(catalog)).all()


def test_a_thin_cloud_aligns_but_stays_out_of_the_stack():
    images = frames(JITTER)
    images[2] = FIELD.draw(JITTER[2], seed=99, dim=0.2)
    catalog = catalogue(blocks_of(images))
    assert catalog.alignment["status"][2] == "aligned"
    assert catalog.alignment["transparency"][2] == pytest.approx(0.2, abs=0.03)
    x, y = np.rint(catalog.xy[0]).astype(int)
    box = catalog.stacked_image[y - 7 : y + 8, x - 7 : x + 8]
    assert box.sum() == pytest.approx(FIELD.flux[0], rel=0.02)


@pytest.mark.parametrize(("value", "reason"), [(np.nan, "no finite pixel"), (100.0, "constant frame")])
def test_a_frame_without_content_costs_itself_only(value, reason):
    images = frames(JITTER)
    images[3] = np.full(FIELD.shape, value, np.float32)
    catalog = catalogue(blocks_of(images))
    assert catalog.alignment["status"][3] == "predicted"
    assert catalog.alignment["reason"][3] == reason
    assert sources_match(catalog) == FIELD.n_stars


def test_an_unreadable_frame_names_its_file():
    images = frames(JITTER)
    images[3] = scenes.unreadable("night/bad.fits")
    catalog = catalogue(blocks_of(images))
    assert catalog.alignment["status"][3] == "unreadable"
    assert "night/bad.fits" in catalog.alignment["reason"][3]
    assert np.isnan(scenes.transforms(catalog)[3]).all()
    assert sources_match(catalog) == FIELD.n_stars


def test_scattered_nan_pixels():
    images = frames(JITTER)
    rng = np.random.default_rng(1)
    for image in images:
        image[rng.uniform(size=image.shape) < 0.001] = np.nan
    catalog = catalogue(blocks_of(images))
    assert_placed(catalog, JITTER)
    assert sources_match(catalog) == FIELD.n_stars
    assert np.isfinite(catalog.stacked_image[10:-10, 10:-10]).all()


def test_nan_on_one_star_in_one_frame_changes_neither_order_nor_stack():
    images = frames(JITTER)
    x, y = np.rint(FIELD.xy[0] + SHIFTS[4]).astype(int)
    images[4][y - 1 : y + 2, x - 1 : x + 2] = np.nan
    catalog = catalogue(blocks_of(images))
    whole = catalogue(blocks_of(frames(JITTER)))
    assert sources_match(catalog) == FIELD.n_stars
    assert np.isfinite(catalog.stacked_image[8:-8, 8:-8]).all()
    np.testing.assert_allclose(catalog.table["segment_flux"], whole.table["segment_flux"], rtol=0.02)


@pytest.mark.parametrize("pair", [False, True])
def test_hot_pixels_are_not_stars(pair):
    """As many as stars, as bright, and where they are they stay."""
    images = frames(JITTER)
    places = np.stack(np.meshgrid([12, 41, 70, 99, 128, 157], [15, 45, 99, 141, 183]), -1).reshape(-1, 2)
    for image in images:
        image[places[:, 0], places[:, 1]] += 3000
        if pair:
            image[places[:, 0], places[:, 1] + 1] += 2500
    catalog = catalogue(blocks_of(images), max_catalog_sources=50)
    assert_placed(catalog, JITTER)
    assert sources_match(catalog) == FIELD.n_stars


def test_hot_spots_as_wide_as_stars_are_told_by_their_standing_still():
    truth = [similarity(FIELD.shape, shift=(2.0 * i, 1.1 * i)) for i in range(10)]
    images = frames(truth)
    spots = np.random.default_rng(8).uniform([10, 10], [200, 160], (14, 2))
    for image in images:
        for x, y in spots:
            image += 20000 * scenes.gaussian(FIELD.shape, x, y, 0.9, 0.9, 0).astype(np.float32)
    catalog = catalogue(blocks_of(images))
    assert (catalog.alignment["status"] == "aligned").all()
    assert_placed(catalog, truth, 0.3)


def test_cosmic_rays_stay_out_of_the_stack():
    images = frames(JITTER[:4])
    for i, image in enumerate(images):
        image[20 + 3 * i, 30], image[21 + 3 * i, 31] = 30000, 20000
    catalog = catalogue(blocks_of(images), max_catalog_sources=50)
    assert np.nanmax(catalog.stacked_image[15:40, 25:36]) < 50
    assert sources_match(catalog) == FIELD.n_stars


@pytest.mark.parametrize("n", [1, 2])
def test_one_and_two_frames(n):
    catalog = catalogue(blocks_of(frames(JITTER[:n])))
    assert len(catalog.alignment) == n
    assert sources_match(catalog) == FIELD.n_stars


def test_psf_of_the_tutorial_scene():
    rng = np.random.default_rng(123)
    field = Field(shape=(256, 256), n_stars=6, seed=2)
    object.__setattr__(field, "flux", np.array([8461.0, 6672, 5514, 4265, 1706, 1636]))
    truth = [similarity(field.shape, shift=rng.normal(0, 1, 2)) for _ in range(10)]
    psf = catalogue(blocks_of([field.draw(a, seed=i) for i, a in enumerate(truth)])).psf
    assert psf.semimajor_sigma == pytest.approx(1.5, rel=0.03)
    assert psf.semiminor_sigma == pytest.approx(1.5, rel=0.03)


@pytest.mark.parametrize("angle", [30.0, -75.0, 90.0])
@pytest.mark.parametrize("turn", [30.0, 180.0])
def test_psf_of_elongated_stars_stays_on_the_detector_while_the_field_turns(angle, turn):
    """Whether it turns steadily or at the meridian."""
    field = Field(sigmas=(3.0, 1.5), angle=angle, faintest=8000, n_stars=8, margin=25, shape=(211, 211))
    degrees = [turn * (i >= 5) if turn == 180 else turn * i / 9 for i in range(10)]
    truth = [similarity(field.shape, shift=s, degrees=d) for s, d in zip(SHIFTS, degrees, strict=True)]
    catalog = catalogue(blocks_of([field.draw(a, seed=i) for i, a in enumerate(truth)]))
    assert (catalog.alignment["status"] == "aligned").all()
    assert catalog.psf.semimajor_sigma == pytest.approx(3.0, rel=0.004)
    assert catalog.psf.semiminor_sigma == pytest.approx(1.5, rel=0.004)
    assert abs((catalog.psf.orientation - angle + 90) % 180 - 90) < 0.5


def test_aperture_selector_chooses_the_sigmas():
    blocks = blocks_of(frames(JITTER))
    psf = scenes.build_catalog(
        blocks,
        run=scenes.run,
        background=scenes.DefaultBackground(24),
        finder=DefaultFinder(5),
        aperture_selector=lambda sigmas: 2.0 * np.max(sigmas),
    ).psf
    assert psf.semiminor_sigma > 2.9
    with pytest.raises(CatalogError, match="aperture_selector"):
        scenes.build_catalog(
            blocks,
            run=scenes.run,
            background=scenes.DefaultBackground(24),
            finder=DefaultFinder(5),
            aperture_selector=lambda sigmas: np.nan,
        )


def test_limits_make_frames_fail_with_the_reason():
    truth = list(JITTER)
    truth[2] = similarity(FIELD.shape, degrees=10)
    truth[7] = similarity(FIELD.shape, shift=(20, 0))
    catalog = catalogue(blocks_of(frames(truth)), rotation_limit=5.0, translation_limit=(10, 30))
    assert list(catalog.alignment.query("status != 'aligned'").index) == [2, 7]
    assert "rotation" in catalog.alignment["reason"][2]
    assert "shift" in catalog.alignment["reason"][7]
    truth[2] = similarity(FIELD.shape, scale=1.03)
    catalog = catalogue(blocks_of(frames(truth)), scale_limit=0.01)
    assert "scale" in catalog.alignment["reason"][2]


def test_nothing_depends_on_blocks_or_their_order():
    truth = [similarity(FIELD.shape, shift=(0.3 * i, -0.2 * i), degrees=0.1 * i) for i in range(40)]
    images = frames(truth)
    images[11] = FIELD.draw(truth[11], seed=99, dim=0.0)
    images[12] = scenes.unreadable()
    images[20][:, ::40] = np.nan

    def shuffled(tasks, description):
        order = np.random.default_rng(5).permutation(len(tasks))
        done = {i: tasks.blocks[int(i)].compute(scheduler="sync")[0] for i in order}
        return [done[i] for i in range(len(tasks))]

    one = catalogue(blocks_of(images, 64))
    for size in (1, 7):
        assert catalogue(blocks_of(images, size)) == one
    assert catalogue(blocks_of(images, 7)[::-1], compute=shuffled) == one
    other = catalogue(blocks_of([*images[:-1], images[0]], 64))
    assert other != one


def test_nights_follow_each_other_and_keep_their_own_frame_numbers():
    first, second = blocks_of(frames(JITTER[:6]), 4), blocks_of(frames(JITTER), 4)[1:]
    later = [scenes.replace(b, night="2024-01-02", meta=b.meta.copy()) for b in second]
    for block in later:
        block.meta["frame"] -= 4
        block.meta["MJD"] += 1
    catalog = catalogue([*later, *first])
    assert catalog.alignment["night"].tolist() == ["2024-01-01"] * 6 + ["2024-01-02"] * 6
    assert catalog.alignment["frame"].tolist() == [*range(6), *range(6)]
    assert (catalog.alignment["status"] == "aligned").all()


def test_stars_saturated_or_on_the_edge_and_double_times_do_no_harm():
    images = frames(JITTER)
    for image, (dx, dy) in zip(images, SHIFTS, strict=True):
        scenes.add_star(image, 1 + dx, 80 + dy, 30000, 1.5, 1.5, 0)
        scenes.add_star(image, 180 + dx, 20 + dy, 80000, 1.5, 1.5, 0)
        np.minimum(image, 2500, out=image)
    catalog = catalogue(blocks_of(images, saturation=2500.0, MJD=60310.0))
    assert_placed(catalog, JITTER, 0.2)
    assert catalog.psf.semimajor_sigma == pytest.approx(1.5, rel=0.02)


def test_at_most_max_catalog_sources():
    assert len(catalogue(blocks_of(frames(JITTER)), max_catalog_sources=4).table) == 4


def test_no_frame_with_a_star_is_an_error_with_a_remedy():
    empty = [FIELD.draw(seed=i, dim=0.0) for i in range(3)]
    with pytest.raises(CatalogError, match=r"camera 1:g: no star found in 3 frames.*cloud"):
        catalogue(blocks_of(empty))
    blocks = blocks_of(frames(JITTER[:1]))
    lost = scenes.replace(blocks[0], images=(scenes.unreadable(),), shape=FIELD.shape)
    with pytest.raises(CatalogError, match="none of the 1 frames can be read"):
        catalogue([lost])
    with pytest.raises(CatalogError, match="no frame"):
        catalogue([])


def test_a_finder_that_finds_nothing_is_an_error_with_a_remedy():
    with pytest.raises(CatalogError, match=r"camera 1:g: .*lower threshold"):
        scenes.build_catalog(
            blocks_of(frames(JITTER)),
            run=scenes.run,
            background=scenes.DefaultBackground(24),
            finder=DefaultFinder(5),
            threshold=1e6,
        )


@pytest.mark.parametrize(
    "settings",
    [
        {"transform_type": "rigid"},
        {"n_alignment_sources": 2},
        {"max_catalog_sources": 0},
        {"rotation_limit": -1.0},
        {"translation_limit": (1.0, 2.0, 3.0)},
        {"scale_limit": "small"},
        {"rotation_limit": [5.0, None]},
    ],
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(InputError):
        AlignmentConfig(**settings)


def test_finder_leaves_out_the_border_says_so_and_orders_by_flux():
    image = FIELD.draw(seed=1) - 100
    image += 90000 * scenes.gaussian(FIELD.shape, 3, 80, 1.5, 1.5, 0)
    assert len(DefaultFinder(5, 0)(image, 50.0)) == FIELD.n_stars + 1
    assert NOTICE not in DefaultFinder(5, 0)(image, 50.0).meta
    table = DefaultFinder(5, 10)(image, 50.0)
    assert len(table) == FIELD.n_stars
    assert "border of 10 pixels: 1, the brightest with a peak of 63" in table.meta[NOTICE]
    assert (np.diff(table["segment_flux"]) < 0).all()
    assert len(DefaultFinder(5)(image, 1e9)) == 0
    assert DefaultFinder.for_width(512).npixels == 8
    assert DefaultFinder.for_width(4096).npixels == 128
