"""Catalogue and photometry take calibrated blocks as they take raw ones."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from opticam_dask.calibration import BiasCorrector, CalibrationOptions, calibrated, calibrations_for
from opticam_dask.catalog.build import build_catalog
from opticam_dask.catalog.finder import DefaultFinder
from opticam_dask.io.blocks import split_blocks
from opticam_dask.io.frame_index import accepted, scan
from opticam_dask.photometers import AperturePhotometer
from opticam_dask.schema import NULL_FLUX_FLAGS, Flag

_spec = importlib.util.spec_from_file_location(
    "calibration_frames", Path(__file__).with_name("calibration_frames.py")
)
scenes = sys.modules.setdefault("calibration_frames", importlib.util.module_from_spec(_spec))
_spec.loader.exec_module(scenes)

SHAPE, SIGMA, GAIN = (97, 121), 1.6, 0.5
STARS = ((20.3, 25.1, 9e3), (60.0, 70.2, 6e3), (95.4, 30.7, 1.2e4), (40.1, 50.9, 5e3), (100.2, 80.0, 4e3))
PATTERN = 200 + 40 * np.sin(np.arange(SHAPE[1]) / 2.0) * np.ones((SHAPE[0], 1))


def exposure(rng, with_stars):
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    light = np.full(SHAPE, 60.0 * with_stars)
    for a, b, flux in STARS * with_stars:
        light += flux / (2 * np.pi * SIGMA**2) * np.exp(-((x - a) ** 2 + (y - b) ** 2) / (2 * SIGMA**2))
    raw = rng.poisson(light * GAIN) / GAIN + rng.normal(0, 2.0, SHAPE) + PATTERN
    return np.rint(raw).clip(0).astype(np.uint16)


def here(tasks, description):
    return list(tasks.compute(scheduler="synchronous"))


@pytest.fixture(scope="module")
def blocks(tmp_path_factory):
    root, rng = tmp_path_factory.mktemp("stars"), np.random.default_rng(12)
    for i in range(30):
        scenes.write(root / "b" / f"{i}.fits", exposure(rng, 0), "bias", 0.0, None, GAIN=GAIN)
    for i in range(8):
        stamp = f"2024-01-01 03:{i:02d}:00.000"
        image = exposure(rng, 1)
        if i == 3:
            image[26, 21] = 65535  # on the shoulder of the first star
        scenes.write(root / "n" / f"{i}.fits", image, "object", 10.0, UT=stamp, GAIN=GAIN, SATLEVEL=60000.0)
    frames = accepted(scan(root / "n", scenes.CAMERA))
    bias = BiasCorrector(root / "out", root / "b", instrument=scenes.CAMERA, verbose=False)
    options = CalibrationOptions(bias_corrector=bias, electrons=True, region_of_interest=((3, 97), (2, 121)))
    (how,) = calibrations_for(frames, options, run=here, say=lambda line: None).values()
    return calibrated(split_blocks(frames, frames_per_block=3), how)


def test_stars_on_a_bias_pattern_are_catalogued_and_measured(blocks):
    catalog = build_catalog(
        blocks, run=here, background=None, finder=DefaultFinder.for_width(121), threshold=5.0
    )
    assert len(catalog.table) == len(STARS)
    assert catalog.stacked_image.shape == (94, 119)
    assert catalog.psf.semimajor_sigma == pytest.approx(np.hypot(SIGMA, 0), rel=0.06)
    brightest = sorted(STARS, key=lambda star: -star[2])
    for (x, y), star in zip(catalog.xy, brightest, strict=True):
        assert np.hypot(x + 2 - star[0], y + 3 - star[1]) < 0.3
    photometer = AperturePhotometer(forced=True)
    fluxes = []
    for block in blocks:
        for i, frame in block.exposures():
            rows = photometer.measure(frame, catalog.xy, catalog.psf)
            lost = np.isnan(rows["flux"])
            assert ((rows["flags"][lost] & int(NULL_FLUX_FLAGS)) != 0).all()
            if block.start + i == 3:
                assert rows["flags"][1] & int(Flag.SATURATED)
                continue
            fluxes.append(rows["flux"])
    total = np.array([star[2] for star in brightest]) * GAIN
    ratio = np.mean(fluxes, axis=0) / total
    assert ratio.std() / ratio.mean() < 0.02  # electrons, all in the same part of the profile
    assert 0.8 < ratio.mean() < 1.05
