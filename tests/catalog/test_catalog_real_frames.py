"""Real frames of two cameras; skipped where they are absent."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from opticam_dask.catalog.finder import DefaultFinder
from opticam_dask.io.blocks import FrameBlock
from opticam_dask.kernels.transform import centre_shift
from opticam_dask.schema import FRAME_META

_spec = importlib.util.spec_from_file_location("catalog_scene", Path(__file__).with_name("catalog_scene.py"))
scenes = sys.modules.setdefault("catalog_scene", importlib.util.module_from_spec(_spec))
_spec.loader.exec_module(scenes)

DATA = Path(__file__).parents[2] / ".." / "shared" / "data"
STARGATE = sorted(DATA.glob("stargate/*.fit.gz"))
OPTICAM = DATA / "opticam_g_20231122.fit"
# reference = input shifted by (x, y), against the fifth frame; a cross-correlation, good to about 0.4 px
SHIFTS = np.array(
    [
        (3.22, 4.61),
        (3.00, 4.79),
        (2.02, 3.23),
        (0.95, 1.94),
        (0, 0),
        (0.46, 3.21),
        (0.39, 3.89),
        (0.43, 4.83),
        (-1.15, 2.85),
        (-2.73, 1.01),
    ]
)


def block(paths, shape, **meta):
    table = np.zeros(len(paths), FRAME_META)
    table["frame"], table["exposure"], table["saturation"] = np.arange(len(paths)), 30.0, np.nan
    table["MJD"] = 60000 + np.arange(len(paths)) / 2880
    return FrameBlock("2024-01-01", "1:g", "g", shape, "uint16", tuple(map(str, paths)), table)


@pytest.mark.skipif(len(STARGATE) != 10, reason=f"no real frames in {DATA}")
@pytest.mark.parametrize("kind", ["affine", "translation"])
def test_frames_full_of_hot_pixels_align_by_their_stars(kind):
    catalog = scenes.build_catalog(
        [block(STARGATE, (581, 752))],
        run=scenes.run,
        background=scenes.DefaultBackground(23),
        finder=DefaultFinder.for_width(752),
        config=scenes.AlignmentConfig(transform_type=kind),
    )
    assert (catalog.alignment["status"] == "aligned").all()
    moved = np.array([centre_shift(a, (581, 752)) for a in scenes.transforms(catalog)])
    np.testing.assert_allclose(moved[4] - moved, SHIFTS, atol=0.5)
    assert len(catalog.table) >= 12
    assert 1.5 < catalog.psf.semiminor_sigma < catalog.psf.semimajor_sigma < 2.5


@pytest.mark.skipif(not OPTICAM.exists(), reason=f"no real frame in {DATA}")
def test_the_opticam_frame_yields_a_catalogue():
    catalog = scenes.build_catalog(
        [block([OPTICAM], (1024, 1024))],
        run=scenes.run,
        background=scenes.DefaultBackground(32),
        finder=DefaultFinder.for_width(1024),
    )
    assert len(catalog.table) == 15
    assert 2.5 < catalog.psf.semiminor_sigma < catalog.psf.semimajor_sigma < 4.5
    assert (np.diff(catalog.table["psf_flux"]) <= 0).all()
