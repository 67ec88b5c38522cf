"""The map of hot pixels: what never moves while the stars do, but no star."""

import importlib.util
import sys
from pathlib import Path

import numpy as np

from opticam_dask.kernels.sky import alone_without_others, isolated_pixels, sky_of

_spec = importlib.util.spec_from_file_location("catalog_scene", Path(__file__).with_name("catalog_scene.py"))
scenes = sys.modules.setdefault("catalog_scene", importlib.util.module_from_spec(_spec))
_spec.loader.exec_module(scenes)
FIELD = scenes.Field()


def test_a_star_about_which_the_field_turns_is_not_hot_but_a_spot_that_stays_is():
    pivot = int(np.argmax(np.hypot(*(FIELD.xy - np.array([105, 86])).T)))
    truth = []
    for i in range(10):
        turn = scenes.similarity(FIELD.shape, degrees=1.5 * i)
        turn[:, 2] = FIELD.xy[pivot] - turn[:, :2] @ FIELD.xy[pivot]
        truth.append(turn)
    images = [FIELD.draw(affine, seed=i) for i, affine in enumerate(truth)]
    spot = np.array([60.2, 30.7])
    for image in images:
        image += 20000 * scenes.gaussian(FIELD.shape, *spot, 0.9, 0.9, 0).astype(np.float32)
    catalog = scenes.catalogue(scenes.blocks_of(images))
    assert (catalog.alignment["status"] == "aligned").all()
    y, x = np.divmod(catalog.hot, FIELD.shape[1])
    assert np.hypot(x - FIELD.xy[pivot, 0], y - FIELD.xy[pivot, 1]).min() > 5
    assert np.hypot(x - spot[0], y - spot[1]).max() < 5
    assert len(catalog.hot) >= 9


def test_a_star_beside_a_hot_pixel_is_no_pair_but_two_hot_ones_are():
    image = np.random.default_rng(1).normal(100.0, 5.0, (97, 113)).astype(np.float32)
    image += 3000 * scenes.gaussian(image.shape, 50.0, 40.0, 0.8, 0.8, 0).astype(np.float32)
    image[40, 51] += 20000
    image[70, 20:22] += np.array([9000, 6000], np.float32)
    sky, at = sky_of(image), lambda y, x: y * 113 + x
    isolated = isolated_pixels(image, sky)
    assert set(isolated) == {at(40, 50), at(40, 51), at(70, 20), at(70, 21)}
    alone = alone_without_others(image, sky, isolated)
    assert set(alone) == {at(40, 51), at(70, 20), at(70, 21)}
