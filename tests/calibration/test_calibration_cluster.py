"""Masters and calibrated frames from two worker processes: the same bits as here."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from opticam_dask.calibration import (
    BiasCorrector,
    CalibrationOptions,
    DarkNoiseCorrector,
    FlatFieldCorrector,
    calibrated,
    calibrations_for,
)
from opticam_dask.calibration.corrector import run_on_client
from opticam_dask.cluster import Runner
from opticam_dask.io.blocks import split_blocks
from opticam_dask.io.frame_index import accepted, scan
from opticam_dask.lazy.chunks import map_blocks_of_frames

_spec = importlib.util.spec_from_file_location(
    "calibration_frames", Path(__file__).with_name("calibration_frames.py")
)
scenes = sys.modules.setdefault("calibration_frames", importlib.util.module_from_spec(_spec))
_spec.loader.exec_module(scenes)


def images(block):
    return [image for _, image in block.frames()]


@pytest.mark.cluster
def test_two_processes_give_the_bits_of_one(tmp_path, cluster):
    detector, rng = scenes.make_detector(), np.random.default_rng(4)
    scenes.write_biases(tmp_path / "b", detector, 11)
    scenes.write_darks(tmp_path / "d", detector, 7, 20.0)
    scenes.write_flats(tmp_path / "f", detector, np.linspace(4000, 20000, 10))
    for i in range(4):
        stamp = f"2024-01-01 03:{i:02d}:00.000"
        image = detector.expose(rng, 500.0, 30.0, rays=3)
        scenes.write(tmp_path / "night" / f"{i}.fits", image, "object", 30.0, UT=stamp)
    frames = accepted(scan(tmp_path / "night", scenes.CAMERA))

    def reduced(out, run):
        kinds = {"bias_corrector": (BiasCorrector, "b"), "dark_noise_corrector": (DarkNoiseCorrector, "d")}
        kinds["flat_corrector"] = (FlatFieldCorrector, "f")
        made = {k: c(tmp_path / out, tmp_path / f, instrument=scenes.CAMERA) for k, (c, f) in kinds.items()}
        options = CalibrationOptions(
            **made, remove_cosmic_rays=True, rebin_factor=2, image_filter=lambda image: image + 1
        )
        found = calibrations_for(frames, options, run=run, say=lambda line: None)
        blocks = calibrated(split_blocks(frames, frames_per_block=2), found["1:g"])
        return np.concatenate(run(map_blocks_of_frames(images, blocks), "images"))

    def here(tasks, description):
        return list(tasks.compute(scheduler="synchronous"))

    one = reduced("one", here)
    np.testing.assert_array_equal(reduced("two", Runner(cluster, progress=False)), one)
    np.testing.assert_array_equal(reduced("three", run_on_client), one)
    assert np.isfinite(one).mean() > 0.9
