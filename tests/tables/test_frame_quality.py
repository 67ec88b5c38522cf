"""The frame-quality table of a reduced night with clouds and a frame that cannot be read."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import opticam_dask as opticam
from opticam_dask.errors import InputError
from opticam_dask.io.frame_index import accepted, read_frames
from opticam_dask.schema import Flag
from opticam_dask.simulate.parts import CameraSetup, Cloud
from opticam_dask.tables.quality import COLUMNS, frame_quality


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scene = opticam.Scene(
        **dict(seed=4, n_frames=16, shape=(131, 149), n_stars=6, flux_range=(9e3, 5e4), margin_px=20.0),
        **dict(min_separation_px=20.0, semimajor_sigma=2.2, semiminor_sigma=1.6, orientation=-40.0),
        **dict(cameras=(CameraSetup(filter="g"), CameraSetup(filter="r")), pointing=(83.6, 22.0)),
        clouds=(Cloud(start=4, stop=7, extinction_mag=1.0), Cloud(start=9, stop=10)),
    )
    data, folder = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("reduced")
    opticam.simulate_night(scene, data)
    with opticam.Reducer(folder, data, verbose=False, show_plots=False, cluster="threads") as reducer:
        spoilt = Path(accepted(read_frames(folder / "frames.parquet")).query("frame == 12")["path"].iloc[0])
        spoilt.write_bytes(spoilt.read_bytes()[:-3000])
        reducer.create_catalogs()
    return folder


def test_every_accepted_frame_has_a_row_that_agrees_with_both_tables(out):
    table = frame_quality(out)
    assert tuple(table.columns) == COLUMNS
    frames = accepted(read_frames(out / "frames.parquet")).sort_values(["camera", "night", "frame"])
    assert len(table) == len(frames) == 32
    for name in ("camera", "night", "frame", "MJD", "BMJD", "airmass", "exposure"):
        np.testing.assert_array_equal(table[name], frames[name])
    alignment = pd.read_parquet(out / "alignment.parquet").sort_values(["camera", "night", "frame"])
    for name in ("fwhm", "background", "transparency", "cloud", "shift_x", "rotation", "n_matched"):
        np.testing.assert_array_equal(table[name], alignment[name])


def test_clouds_and_lost_frames_are_flagged_and_nothing_else(out):
    table = frame_quality(out)
    for _, camera in table.groupby("camera"):
        cloud = camera.loc[camera["flags"] & int(Flag.CLOUD) > 0, "frame"]
        assert cloud.tolist() == [4, 5, 6, 9]
        lost = camera.loc[camera["flags"] & int(Flag.NOT_ALIGNED) > 0, "frame"]
        assert set(lost) - {12} == {9}
        clear = camera[camera["status"].eq("aligned")]
        np.testing.assert_allclose(clear["fwhm"], 2.3548 * np.sqrt(2.22 * 1.63), rtol=0.05)
        np.testing.assert_allclose(clear["ellipticity"], 1 - 1.63 / 2.22, atol=0.08)
        np.testing.assert_allclose(clear["background"], 100, atol=1)
        assert (clear["reason"] == "").all()
    unreadable = table[table["flags"] & int(Flag.UNREADABLE) > 0]
    assert unreadable["frame"].tolist() == [12]
    assert unreadable["status"].tolist() == ["unreadable"]
    assert unreadable["cloud"].isna().all()


def test_frames_without_alignment_keep_their_row(out, tmp_path):
    (tmp_path / "frames.parquet").write_bytes((out / "frames.parquet").read_bytes())
    with pytest.raises(InputError, match=r"alignment\.parquet: no such file; call create_catalogs"):
        frame_quality(tmp_path)
    pd.read_parquet(out / "alignment.parquet").query("frame != 3").to_parquet(tmp_path / "alignment.parquet")
    table = frame_quality(tmp_path).query("frame == 3")
    assert table["status"].tolist() == ["not catalogued"] * 2
    assert table["n_matched"].tolist() == [0, 0]
    assert table["fwhm"].isna().all()
    (tmp_path / "alignment.parquet").write_bytes(b"no table")
    with pytest.raises(InputError, match="cannot be read as an alignment table"):
        frame_quality(tmp_path)
    with pytest.raises(InputError, match=r"frames\.parquet: no such file; scan"):
        frame_quality(tmp_path / "nothing")
