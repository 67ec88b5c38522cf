"""Flags about time: whole seconds, doubled and disordered stamps, gaps, overlaps; and no false alarm."""

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from opticam_dask.io.cadence import out_of_order, overlaps, time_gaps
from opticam_dask.io.frame_index import scan
from opticam_dask.io.scan_report import scan_report
from opticam_dask.io.time_quality import OUT_OF_ORDER, OVERLAP
from opticam_dask.schema import Flag
from opticam_dask.simulate import generate_gappy_observations
from opticam_dask.simulate.parts import CameraSetup
from opticam_dask.simulate.scene import Scene
from opticam_dask.simulate.sky import camera_run

DAY = 86400.0


def times(seconds):
    return 60310.1 + np.asarray(seconds, float) / DAY


def flagged(seconds, exposure=1.0, quantum=0.0):
    exposures = np.broadcast_to(exposure, len(seconds))
    return np.flatnonzero(time_gaps(times(seconds), exposures, quantum)).tolist()


def cuts(rng, n, lost):
    """Seconds of frames at a cadence of 1 with some lost, and the frames that follow a loss."""
    kept = np.setdiff1d(np.arange(n), lost)
    return kept, np.flatnonzero(np.diff(kept) > 1) + 1


def test_every_lost_frame_is_seen_at_an_even_cadence():
    kept, after = cuts(None, 400, [1, 50, 51, 52, 200, 202, 398])
    assert flagged(kept) == after.tolist()
    assert flagged(kept * 0.01, 0.009) == after.tolist()
    assert flagged(kept * 30.0, 25.0) == after.tolist()


@pytest.mark.parametrize("law", ["normal", "uniform", "exponential"])
@pytest.mark.parametrize("size", [0.01, 0.05, 0.1])
def test_jitter_is_no_gap_and_hides_none(law, size):
    rng = np.random.default_rng(17)
    kept, after = cuts(rng, 3000, rng.choice(np.arange(1, 2999), 40, replace=False))
    late = {"normal": rng.normal, "exponential": lambda _, s, n: rng.exponential(s, n)}.get(
        law, lambda _, s, n: rng.uniform(-s, s, n)
    )(0, size, 3000)
    found = flagged(np.sort(kept + late[kept]), 0.8)
    if size < 0.1:
        assert found == after.tolist()
    else:  # as uneven as that, a wait of half a cadence may be either
        assert len(set(found) - set(after)) < 0.005 * 3000
        assert len(set(after) - set(found)) < 0.2 * 40


@pytest.mark.parametrize("size", [0.3, 1.0, 5.0])
def test_dead_times_at_random_raise_hardly_an_alarm(size):
    # Waits of an exponential law are not gaps, however uneven; a wait far beyond them is.
    waits = np.random.default_rng(5).exponential(size, 4000)
    waits[2000] = 60.0 * size
    found = flagged(np.cumsum(1.0 + waits))
    assert 2000 in found
    assert len(found) < 0.01 * 4000


def test_a_changed_cadence_is_no_gap():
    exposure = np.repeat([1.0, 10.0, 0.1], [60, 30, 80])
    middle = np.cumsum(exposure + 0.2) - exposure / 2
    assert flagged(middle, exposure) == []
    slower = np.cumsum(np.repeat([1.0, 7.0], [60, 40]))
    assert flagged(slower, 1.0) == []
    # A third of the intervals are pauses (a filter wheel, say): the rhythm of the night.
    assert flagged(np.cumsum(np.tile([1.0, 1.0, 5.0], 40))) == []


def test_stamps_cut_to_seconds_raise_no_alarm():
    for cadence in (1.0, 1.1, 1.3, 1.5, 2.7, 10.4):
        assert flagged(np.floor(np.arange(500) * cadence), 1.0, quantum=1.0) == []
    assert len(flagged(np.floor(np.arange(500) * 1.1), 1.0)) > 40  # the quantum is what keeps them out
    kept, after = cuts(None, 500, [100, 101, 300, 301, 302])
    assert flagged(np.floor(kept * 1.3), 1.2, quantum=1.0) == after.tolist()


def test_few_frames_tell_nothing():
    assert [flagged(seconds) for seconds in ([], [0], [0, 9], [0, 1, 9])] == [[]] * 4
    assert flagged([0, 1, 2, 9]) == [3]
    assert flagged([0, 9, 10, 11]) == [1]


@given(st.lists(st.floats(0, 1e4), max_size=60), st.floats(0.001, 100))
@settings(max_examples=60, deadline=None)
def test_any_times_are_judged_without_complaint(seconds, exposure):
    seconds = np.sort(seconds)
    exposures = np.full(len(seconds), exposure)
    assert not time_gaps(times(seconds), exposures)[:1].any()
    assert overlaps(times(seconds), exposures).shape == seconds.shape
    assert not out_of_order(seconds).any()


def test_overlapping_exposures():
    def found(seconds, exposure, quantum=0.0):
        return np.flatnonzero(overlaps(times(seconds), np.full(len(seconds), exposure), quantum)).tolist()

    assert found([0, 1, 2, 3], 1.0) == []
    assert found([0, 1, 1.5, 2.5], 1.0) == [2]
    assert found([0, 1, 1, 2], 1.0) == []  # doubled, not overlapping
    assert found(np.floor(np.arange(9) * 1.3), 1.3, quantum=1.0) == []


def test_the_order_that_nearly_all_keep():
    ordered = np.arange(100.0)
    assert not out_of_order(ordered).any()
    late, early = ordered.copy(), ordered.copy()
    late[40], early[60] = 1e4, -5.0  # one clock error costs one frame, whatever its sign
    assert np.flatnonzero(out_of_order(late)).tolist() == [40]
    assert np.flatnonzero(out_of_order(early)).tolist() == [60]
    assert not out_of_order(np.random.default_rng(3).permutation(ordered)).any()  # names tell no order
    assert out_of_order([]).shape == (0,)


def write(path, seconds, **keywords):
    stamp = np.datetime64("2024-01-01T03:00:00.000") + np.timedelta64(round(seconds * 1000), "ms")
    values = {"EXPOSURE": 0.5, "FILTER": "g", "BINNING": "4x4", "GAIN": 1.0, "UT": str(stamp)} | keywords
    fits.PrimaryHDU(np.zeros((3, 5), "i2"), fits.Header(values)).writeto(path)


def flags_of(frames, flag):
    return (frames["flags"].to_numpy() & int(flag)) != 0


def test_flags_of_a_night(tmp_path):
    seconds = np.arange(30) + 0.25
    seconds[17:] += 8.0
    for number, at in enumerate(seconds):
        write(tmp_path / f"g{number}.fits", at)
        write(tmp_path / f"r{number}.fits", np.floor(at), FILTER="r", EXPOSURE=1.0)
    frames = scan(tmp_path, target="10 20")
    per_camera = frames.groupby("camera")
    assert frames["frame"][flags_of(frames, Flag.TIME_GAP)].tolist() == [17, 17]
    assert (flags_of(frames, Flag.QUANTISED_TIME) == (frames["camera"] == "2:r")).all()
    assert not flags_of(frames, Flag.BAD_TIME).any()
    assert per_camera.size().tolist() == [30, 30]
    assert scan_report(frames).count("cadence 1 s, 1 gap\n  gap of 9 s after frame 16\n") == 2
    # A second scan with more frames judges anew.
    for number in range(8):
        write(tmp_path / f"g16_{number}.fits", 17.25 + number)
    again = scan(tmp_path, target="10 20", previous=frames)
    assert again["camera"][flags_of(again, Flag.TIME_GAP)].tolist() == ["2:r"]


def test_a_stamp_out_of_order_is_flagged_and_told(tmp_path):
    for number in range(12):
        write(tmp_path / f"image_{number}.fits", number + 0.25 if number != 6 else 3.5)
    frames = scan(tmp_path)
    odd = frames["path"].str.endswith("image_6.fits").to_numpy()
    assert (flags_of(frames, Flag.BAD_TIME) == odd).all()
    assert OUT_OF_ORDER in frames["notes"][odd].item()
    assert frames["notes"].str.contains(OVERLAP).sum() == 1  # it lies within 0.5 s of image_3
    assert scan_report(frames).count(OUT_OF_ORDER) == 1


def test_gappy_observations_have_the_gaps_they_were_given(tmp_path):
    generate_gappy_observations(tmp_path, n_images=300, binning_scale=16)
    frames = scan(tmp_path)
    for _, group in frames.groupby("camera"):
        second = np.rint((group["MJD"] - group["MJD"].iloc[0]) * DAY).to_numpy()
        wait = np.diff(second, prepend=-1)
        assert set(wait) >= {1, 2}
        # Stamps of whole seconds: a wait of 2 s may be one of 1.01 s.
        assert wait.max() > 10
        assert (flags_of(group, Flag.TIME_GAP) == (wait > 2)).all()


def test_gaps_of_a_long_gappy_night_are_the_truth():
    camera = CameraSetup(filter="g", timing_jitter_s=0.05, dropped_fraction=0.002)
    scene = Scene(n_frames=5000, cameras=(camera,), gap_start=0.005, gap_continue=0.95)
    run = camera_run(scene, camera)
    lost = np.diff(run.index, prepend=run.index[0] - 1) > 1
    assert lost.sum() > 20
    assert flagged(run.seconds, run.exposure_s) == np.flatnonzero(lost).tolist()
