"""Raw frames to light: against injected truth, with marks, regions, filters, bins; block by block."""

import importlib.util
import pickle
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from scipy.ndimage import median_filter

from opticam_dask.calibration import (
    BiasCorrector,
    CalibrationOptions,
    DarkNoiseCorrector,
    FlatFieldCorrector,
    calibrated,
    calibrations_for,
)
from opticam_dask.calibration.maps import pack, unpack
from opticam_dask.errors import FrameReadError, InputError
from opticam_dask.io.blocks import split_blocks
from opticam_dask.io.frame_index import accepted, scan
from opticam_dask.schema import Flag
from opticam_dask.types import Exposure

_spec = importlib.util.spec_from_file_location(
    "calibration_frames", Path(__file__).with_name("calibration_frames.py")
)
scenes = sys.modules.setdefault("calibration_frames", importlib.util.module_from_spec(_spec))
_spec.loader.exec_module(scenes)
CAMERA, SHAPE, GAIN, READ_NOISE = scenes.CAMERA, scenes.SHAPE, scenes.GAIN, scenes.READ_NOISE
LIGHT, SECONDS = 900.0, 30.0


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """Science frames of uniform light, and correctors; the first frame has a saturated pixel."""
    root, detector = tmp_path_factory.mktemp("night"), scenes.make_detector()
    scenes.write_biases(root / "b", detector, 12)
    scenes.write_darks(root / "d", detector, 8, 20.0)
    scenes.write_flats(root / "f", detector, np.linspace(4000, 20000, 9))
    rng = np.random.default_rng(77)
    for i in range(6):
        image = detector.expose(rng, LIGHT, SECONDS)
        if i == 0:
            image[20, 30], image[21, 30] = 65535, 40000
        stamp = f"2024-01-01 03:{i:02d}:00.000"
        scenes.write(root / "night" / f"frame{i}.fits", image, "object", SECONDS, SATLEVEL=50000.0, UT=stamp)
    bias = BiasCorrector(root / "out", root / "b", instrument=CAMERA)
    dark = DarkNoiseCorrector(root / "out", root / "d", instrument=CAMERA)
    flat = FlatFieldCorrector(root / "out", root / "f", instrument=CAMERA)
    frames = accepted(scan(root / "night", CAMERA))
    assert len(frames) == 6
    return (
        root,
        detector,
        frames,
        {"bias_corrector": bias, "dark_noise_corrector": dark, "flat_corrector": flat},
    )


def one_block(night, **options):
    _, _, frames, correctors = night
    lines = []
    chosen = CalibrationOptions(**({**correctors, **options}))
    found = calibrations_for(frames, chosen, say=lines.append)
    (block,) = calibrated(split_blocks(frames, frames_per_block=100), found["1:g"])
    return block, lines


def good(detector):
    usable = np.ones(SHAPE, bool)
    usable.flat[detector.dead] = usable.flat[detector.hot] = False
    usable[20:22, 30] = False
    return usable


def test_calibrated_frames_are_the_light_within_their_noise(night):
    block, _ = one_block(night)
    detector = night[1]
    f = detector.response
    variance = (LIGHT * f + detector.dark * SECONDS) / GAIN + (READ_NOISE / GAIN) ** 2 + 1 / 12
    pulls = []
    for _, frame in block.exposures():
        assert frame.image.dtype == np.float32
        noise = np.sqrt(variance + (LIGHT * f) ** 2 * frame.flat_variance)
        pulls.append(((frame.image - LIGHT) * f / noise)[good(detector)])
        np.testing.assert_allclose(frame.response[good(detector)], f[good(detector)], rtol=0.02)
    pulls = np.array(pulls)
    assert abs(pulls.mean()) < 0.02
    assert abs(pulls.std() - 1) < 0.02


def test_numbers_of_the_detector_after_calibration(night):
    block, _ = one_block(night)
    bias = night[3]["bias_corrector"].masters["1"]
    exposures = dict(block.exposures())
    assert np.isnan(exposures[0].saturation)
    assert exposures[0].gain == GAIN
    assert exposures[0].dark == pytest.approx(0.4 * SECONDS * 4)  # 2 x 2 pixels
    least = np.hypot(READ_NOISE, GAIN * np.sqrt(np.median(bias.variance)))
    assert least < exposures[0].read_noise < 1.5 * READ_NOISE
    assert block.meta["read_noise"] == pytest.approx(exposures[0].read_noise)
    level = block.meta["saturation"][0]  # of the calibrated pixels: all raw ones above it were saturated
    assert 50000 / detector_max(night) - 300 < level < 50000


def detector_max(night):
    return night[1].response.max()


def test_saturated_pixels_are_marked_and_bad_ones_are_nan(night):
    block, _ = one_block(night, bad_pixels={"1": np.eye(*SHAPE, dtype=bool)})
    detector, first = night[1], next(block.exposures())[1]
    assert first.marked.tolist() == [20 * SHAPE[1] + 30]
    assert first.marks.tolist() == [int(Flag.SATURATED)]
    bad = np.flatnonzero(np.isnan(first.image))
    diagonal = np.flatnonzero(np.eye(*SHAPE, dtype=bool))
    assert set(bad) == set(diagonal) | set(detector.hot) | set(detector.dead)


def test_a_saturated_pixel_known_to_be_bad_is_not_marked(night):
    mask = np.zeros(SHAPE, bool)
    mask[20, 30] = True
    block, _ = one_block(night, bad_pixels=mask)
    first = next(block.exposures())[1]
    assert first.marked.size == 0
    assert np.isnan(first.image[20, 30])


def test_region_filter_bins_and_electrons_compose(night):
    whole, plain = one_block(night)
    region = ((3, 44), (5, 60))
    block, lines = one_block(
        night,
        region_of_interest=region,
        image_filter=lambda image: median_filter(image, 3),
        rebin_factor=2,
        electrons=True,
    )
    assert block.shape == (20, 27)
    assert "the last 1 rows and 1 columns" in "".join(lines)
    assert ["filtered" in "".join(told) for told in (plain, lines)] == [False, True]
    raw, binned = dict(whole.exposures())[0], dict(block.exposures())[0]
    cut = raw.image[3:44, 5:60] * np.float32(GAIN)
    bad = ~np.isfinite(cut)
    around = np.array(
        [
            np.roll(np.pad(cut, 2, constant_values=np.nan), (a, b), (0, 1))
            for a in range(-2, 3)
            for b in range(-2, 3)
        ]
    )[:, 2:-2, 2:-2]
    filled = np.where(bad, np.nanquantile(around, 0.5, axis=0, method="lower"), cut)
    smooth = np.where(bad, np.nan, median_filter(filled, 3))[:40, :54]
    wanted = smooth.reshape(20, 2, 27, 2).sum(axis=(1, 3))
    np.testing.assert_allclose(binned.image, wanted, rtol=1e-5)
    assert np.isnan(binned.image).sum() == np.isnan(wanted).sum() > 0
    assert binned.gain == 1.0
    assert binned.read_noise == pytest.approx(2 * raw.read_noise)
    assert binned.dark == pytest.approx(4 * raw.dark)
    assert binned.marked.tolist() == [(17 // 2) * 27 + 25 // 2]
    inside = raw.flat_variance[3:43, 5:59].reshape(20, 2, 27, 2)
    np.testing.assert_allclose(binned.flat_variance, inside.mean(axis=(1, 3)) / 4, rtol=1e-5)
    np.testing.assert_allclose(
        binned.response, raw.response[3:43, 5:59].reshape(20, 2, 27, 2).mean(axis=(1, 3)), rtol=1e-5
    )
    assert (block.meta["gain"] == 1.0).all()
    assert block.meta["dark_current"] == pytest.approx(4 * whole.meta["dark_current"])


def test_variance_of_binned_flats_is_that_of_the_mean(night):
    """The relative variance of a bin's sum of equal light, by drawing flats from their variance."""
    block, _ = one_block(night, rebin_factor=3)
    single, _ = one_block(night)
    one, binned = next(single.exposures())[1], next(block.exposures())[1]
    rng = np.random.default_rng(5)
    draws = 1 + rng.normal(size=(400, *SHAPE)) * np.sqrt(one.flat_variance)
    sums = draws[:, :45, :60].reshape(400, 15, 3, 20, 3).mean(axis=(2, 4))
    assert np.median(sums.var(axis=0) / binned.flat_variance) == pytest.approx(1, abs=0.02)


def test_blocks_offer_what_blocks_of_raw_frames_do(night):
    block, _ = one_block(night)
    raw = block.raw
    for name in ("night", "camera", "filter", "paths", "start", "stop", "key"):
        assert getattr(block, name) == getattr(raw, name)
    assert (len(block), block.shape, block.dtype) == (6, SHAPE, "float32")
    assert (block.meta["frame"] == raw.meta["frame"]).all()
    images = {i: image for i, image in block.frames()}
    some = block.select([1, 4])
    assert [i for i, _ in some.frames()] == [0, 1]
    np.testing.assert_array_equal(dict(some.frames())[1], images[4])
    np.testing.assert_array_equal(
        block.read((slice(1, 5), [7, 3], slice(2, 9))),
        np.array([images[i] for i in range(1, 5)])[:, [7, 3], 2:9],
    )
    assert block.read((2, 5)).shape == (SHAPE[1],)


def test_pickles_are_small_and_tokens_tell_calibrations_apart(night):
    block, _ = one_block(night)
    other, _ = one_block(night, electrons=True)
    again = pickle.loads(pickle.dumps(block))
    assert len(pickle.dumps(block)) < 4000
    assert again.__dask_tokenize__() == block.__dask_tokenize__() != other.__dask_tokenize__()
    np.testing.assert_array_equal(again.read(0), block.read(0))
    assert block.calibration.settings() != other.calibration.settings()


def test_an_unreadable_frame_costs_itself(night, tmp_path):
    block, _ = one_block(night)
    broken = tmp_path / "broken.fits"
    broken.write_bytes(Path(block.paths[1]).read_bytes()[:4000])
    paths = (block.paths[0], str(broken), *block.paths[2:])
    found = dict(replace(block, raw=replace(block.raw, paths=paths)).exposures())
    assert isinstance(found[1], FrameReadError)
    assert sum(isinstance(frame, Exposure) for frame in found.values()) == 5
    with pytest.raises(FrameReadError):
        replace(block, raw=replace(block.raw, paths=paths)).read()


def test_dark_current_of_the_header(night):
    frames = night[2]
    header = DarkNoiseCorrector("unused", from_header=True, instrument=CAMERA)
    block, _ = one_block(night, dark_noise_corrector=header, flat_corrector=None)
    plain, _ = one_block(night, dark_noise_corrector=None, flat_corrector=None)
    assert np.nanmedian(plain.read(1) - block.read(1)) == pytest.approx(0.4 * 4 * SECONDS / GAIN, abs=0.01)
    unknown = frames.assign(dark_current=np.nan)
    options = CalibrationOptions(dark_noise_corrector=header)
    with pytest.raises(InputError, match="no dark current in the headers"):
        calibrations_for(unknown, options, say=lambda line: None)


def test_nothing_asked_for_is_nothing_done(night):
    frames = night[2]
    found = calibrations_for(frames, CalibrationOptions(), say=lambda line: None)
    assert found == {"1:g": None}
    blocks = split_blocks(frames)
    assert calibrated(blocks, None) == blocks


def test_what_does_not_fit_is_told(night, tmp_path):
    _, _, frames, correctors = night

    def plan(rows=frames, **options):
        return calibrations_for(rows, CalibrationOptions(**options), say=lambda line: None)

    with pytest.raises(InputError, match=r"no master flat for 1:r.*there are: 1:g"):
        plan(frames.assign(camera="1:r"), **correctors)
    with pytest.raises(InputError, match=r"no master bias for 1 with 94x124"):
        plan(frames.assign(shape="94x124"), bias_corrector=correctors["bias_corrector"])
    with pytest.raises(InputError, match="binning 4x4"):
        plan(frames.assign(binning="4x4"), bias_corrector=correctors["bias_corrector"])
    with pytest.raises(InputError, match="beyond the frame"):
        plan(region_of_interest=((0, 48), (0, 10)))
    with pytest.raises(InputError, match="region_of_interest must be"):
        plan(region_of_interest=(1, 2))
    with pytest.raises(InputError, match="rebin_factor"):
        plan(rebin_factor=0)
    with pytest.raises(InputError, match="larger than the frame"):
        plan(rebin_factor=50)
    with pytest.raises(InputError, match="bad_pixels has the shape"):
        plan(bad_pixels=np.zeros((3, 3), bool))
    with pytest.raises(InputError, match="got a BiasCorrector"):
        plan(flat_corrector=correctors["bias_corrector"])
    alone = DarkNoiseCorrector(tmp_path, night[0] / "d", instrument=CAMERA, verbose=False)
    with pytest.raises(InputError, match=r"darks of 20 s.*cannot be scaled to 30 s"):
        plan(dark_noise_corrector=alone)
    block, _ = one_block(night, image_filter=lambda image: image[1:])
    with pytest.raises(InputError, match="must return an image of shape"):
        list(block.frames())
    with pytest.raises(InputError, match="do not fit the calibration"):
        calibrated([replace(block.raw, camera="2:r")], block.calibration)


def test_masks_of_bad_pixels_from_files(night, tmp_path):
    mask = np.zeros(SHAPE, np.uint8)
    mask[5, 6] = 3
    fits.writeto(tmp_path / "primary.fits", mask)
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(mask)]).writeto(tmp_path / "extension.fits")
    for name in ("primary.fits", "extension.fits"):
        block, _ = one_block(
            night, bad_pixels=tmp_path / name, flat_corrector=None, dark_noise_corrector=None
        )
        assert np.flatnonzero(np.isnan(block.read(1))).tolist() == [5 * SHAPE[1] + 6]
    (tmp_path / "no.fits").write_text("text")
    with pytest.raises(InputError, match="no mask of bad pixels"):
        one_block(night, bad_pixels=tmp_path / "no.fits")


def test_packed_masks_come_back():
    mask = np.random.default_rng(0).random((7, 13)) < 0.2
    assert (unpack(pack(mask), (7, 13)) == mask).all()
    assert pack(np.zeros((7, 13), bool)) == b""


def test_a_changed_master_is_noticed_on_workers(night):
    block, _ = one_block(night)
    ref = replace(block.calibration.pedestal.bias, digest="another")
    pedestal = replace(block.calibration.pedestal, bias=ref)
    with pytest.raises(InputError, match="changed since this run began"):
        list(replace(block, calibration=replace(block.calibration, pedestal=pedestal)).frames())
