"""Cosmic rays of several pixels, which look like small stars, never become sources of the catalogue."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

_spec = importlib.util.spec_from_file_location("catalog_scene", Path(__file__).with_name("catalog_scene.py"))
scenes = sys.modules.setdefault("catalog_scene", importlib.util.module_from_spec(_spec))
_spec.loader.exec_module(scenes)
Field, blocks_of, catalogue, similarity = scenes.Field, scenes.blocks_of, scenes.catalogue, scenes.similarity

FIELD = Field()
SHIFTS = np.random.default_rng(3).normal(0, 1.0, (24, 2))
JITTER = [similarity(FIELD.shape, shift=shift) for shift in SHIFTS]


def add_rays(image, number, seed):
    """Straight tracks of 3 to 12 pixels, some of them two pixels wide."""
    rng = np.random.default_rng([99, seed])
    for _ in range(number):
        x, y = rng.uniform(0, np.array(image.shape[::-1]) - 1)
        length, angle, charge = rng.uniform(3, 12), rng.uniform(0, np.pi), rng.lognormal(np.log(2000), 0.7)
        along = np.arange(0, length, 0.25)
        i = np.rint(x + along * np.cos(angle)).astype(int)
        j = np.rint(y + along * np.sin(angle)).astype(int)
        good = (i >= 0) & (j >= 0) & (i < image.shape[1] - 1) & (j < image.shape[0])
        np.add.at(image, (j[good], i[good]), charge / len(along))
        np.add.at(image, (j[good], i[good] + int(rng.integers(2))), charge / len(along))


def night(truth=JITTER, rays=3, dim=(1.0,), hot=0):
    images = []
    places = tuple(np.random.default_rng(4).integers([[5], [5]], [[168], [206]], (2, hot)))
    for i, affine in enumerate(truth):
        image = FIELD.draw(affine, seed=i, dim=dim[i % len(dim)])
        add_rays(image, rays, i)
        image[places] += 1000
        images.append(image)
    return images


NIGHTS = {
    "rays": {},
    "clouds": {"dim": (1.0, 0.9, 0.5, 1.0)},
    "hot pixels": {"hot": 40},
    "drift and rotation": {
        "truth": [similarity(FIELD.shape, shift=(0.3 * i, -0.2 * i), degrees=0.1 * i) for i in range(24)]
    },
    "many": {"truth": [similarity(FIELD.shape, shift=s) for s in np.tile(SHIFTS, (2, 1))[:40]], "rays": 10},
    "three frames": {"truth": JITTER[:3]},
}


@pytest.mark.parametrize("name", NIGHTS)
def test_the_catalogue_is_of_stars_alone(name):
    settings = NIGHTS[name]
    truth = settings.get("truth", JITTER)
    catalog = catalogue(blocks_of(night(**settings)), max_catalog_sources=50)
    affine = truth[catalog.reference_frame[2]]
    true = FIELD.xy @ affine[:, :2].T + affine[:, 2]
    assert len(catalog.xy) == FIELD.n_stars
    distance = np.hypot(*(catalog.xy[:, None] - true[None]).T)
    assert (distance.min(axis=0) < 0.3).all()
    assert (distance.min(axis=1) < 0.3).all()


def test_the_stack_is_the_same_to_the_last_bit_for_any_blocks_in_any_order():
    images = night()
    expected = catalogue(blocks_of(images, 64)).stacked_image
    np.testing.assert_array_equal(catalogue(blocks_of(images, 1)).stacked_image, expected)
    blocks = blocks_of(images, 7)
    np.testing.assert_array_equal(catalogue([blocks[i] for i in (2, 0, 3, 1)]).stacked_image, expected)


def test_the_flux_of_stars_is_that_of_a_night_without_rays():
    dirty, clean = (catalogue(blocks_of(night(rays=rays))) for rays in (3, 0))
    np.testing.assert_allclose(dirty.table["psf_flux"], clean.table["psf_flux"], rtol=0.03)
