"""Labelled lazy cubes: labels, laziness, matching of cameras, xarray's engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

import opticam_dask
from opticam_dask.errors import InputError
from opticam_dask.io import blocks as blocks_module
from opticam_dask.io.cube import open_observation, stack_cameras, utc
from opticam_dask.io.frame_index import scan
from opticam_dask.io.matching import match_times, place_cameras
from opticam_dask.testing.fakes import frame_table
from opticam_dask.testing.scheduler import CountingScheduler

SHAPE = (5, 9)
SECOND = 1_000_000_000


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, int]]]:
    """File name and plane of every frame read."""
    seen: list[tuple[str, int]] = []
    read = blocks_module.read_frame

    def counted(file: Any, shape: Any, out: Any, hdu: int, plane: int, *part: Any) -> None:
        seen.append((Path(file.path).stem, plane))
        read(file, shape, out, hdu, plane, *part)

    monkeypatch.setattr(blocks_module, "read_frame", counted)
    with dask.config.set(scheduler="synchronous"):
        yield seen


def _cube(folder: Path, name: str, count: int) -> tuple[str, np.ndarray]:
    images = np.random.default_rng(len(name) + count).integers(0, 60000, (count, *SHAPE)).astype("uint16")
    path = folder / f"{name}.fits"
    if not path.exists():
        fits.PrimaryHDU(images).writeto(path)
    return str(path), images


def _rows(folder: Path, camera: str, count: int, **options: Any) -> pd.DataFrame:
    path, _ = _cube(folder, camera.replace(":", ""), count)
    return frame_table([path] * count, SHAPE, camera=camera, planes=range(count), **options)


def _opticam_file(path: Path, image: np.ndarray, band: str, second: float) -> None:
    header = fits.Header()
    header["FILTER"], header["BINNING"], header["EXPOSURE"], header["GAIN"] = band, "4x4", 1.0, 1.0
    header["UT"] = f"2024-01-01 00:00:{second:06.3f} "
    header["RA"], header["DEC"], header["DARKCURR"] = "05:00:00", "+10:00:00", 0.1
    fits.PrimaryHDU(image, header).writeto(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    for second in range(5):
        for band in "gri":
            image = rng.integers(0, 60000, SHAPE).astype("uint16")
            _opticam_file(tmp_path / f"240101{band}{second:09d}o.fits", image, band, second)
    (tmp_path / "odd.fits").write_bytes(b"")
    return tmp_path


def test_a_night_opens_with_a_node_per_camera(folder: Path, reads: list[Any]) -> None:
    with dask.config.set(scheduler=CountingScheduler()):
        night = opticam_dask.open_observation(folder)
    assert reads == []
    assert list(night.children) == ["1:g", "2:r", "3:i"]
    image = night["1:g"]["image"]
    assert image.dims == ("time", "y", "x")
    assert (image.shape, image.dtype, image.dtype.isnative) == ((5, *SHAPE), np.dtype("uint16"), True)
    assert image.attrs["units"] == "adu"
    assert {"MJD", "BMJD", "exposure", "airmass", "path", "frame", "flags"} <= set(image.coords)
    assert night["1:g"].attrs["filter"] == "g"
    assert night["1:g"].attrs["binning"] == "4x4"
    assert night.attrs["rejected"] == 1
    assert "check_data" in night.attrs["rejected_frames"]
    np.testing.assert_array_equal(night["2:r"]["frame"], np.arange(5))
    for second in range(5):
        expected = fits.getdata(folder / f"240101r{second:09d}o.fits")
        np.testing.assert_array_equal(night["2:r"]["image"][second], expected)


def test_time_is_utc_at_mid_exposure(folder: Path, reads: list[tuple[str, int]]) -> None:
    night = open_observation(folder)
    times = night["1:g"]["time"].to_numpy()
    assert times.dtype == "datetime64[ns]"
    np.testing.assert_array_equal(
        times, np.datetime64("2024-01-01T00:00:00.5", "ns") + np.arange(5) * np.timedelta64(1, "s")
    )
    chosen = night["1:g"]["image"].sel(time="2024-01-01T00:00:03")
    np.testing.assert_array_equal(np.squeeze(chosen), fits.getdata(folder / "240101g000000003o.fits"))
    assert [name for name, _ in reads] == ["240101g000000003o"]


@given(st.integers(0, 86_400_000_000 - 1))
def test_times_are_right_to_the_microsecond(microsecond: int) -> None:
    expected = np.datetime64("2024-01-01", "us") + np.timedelta64(microsecond, "us")
    found = utc(np.array([60310 + microsecond / 86_400_000_000]))[0]
    assert abs(found - expected) <= np.timedelta64(1, "us")


def test_ten_thousand_frames_open_without_a_pixel_and_one_is_read(tmp_path: Path, reads: list[Any]) -> None:
    count = 10_000
    frames = _rows(tmp_path, "1:g", count)
    with dask.config.set(scheduler=CountingScheduler()):
        night = open_observation(frames=frames, block_bytes=256 * 5 * 9 * 2)
    image = night["1:g"]["image"]
    assert len(image.data.dask) == image.data.npartitions == 40
    when = image["time"][7321].to_numpy()
    one = image.sel(time=when)
    assert reads == []
    np.testing.assert_array_equal(one, _cube(tmp_path, "1g", count)[1][7321])
    assert reads == [("1g", 7321)]
    reads.clear()
    few = night["1:g"].to_dataset().isel(time=[9000, 17, 4000])
    np.testing.assert_array_equal(few["frame"], [9000, 17, 4000])
    np.testing.assert_array_equal(few["image"], _cube(tmp_path, "1g", count)[1][[9000, 17, 4000]])
    assert sorted(reads) == [("1g", 17), ("1g", 4000), ("1g", 9000)]
    reads.clear()
    image.isel(time=slice(100, 900)).sel(x=slice(2, 4)).isel(time=slice(7, None, 50)).isel(time=3).compute()
    assert reads == [("1g", 257)]


def test_frames_of_equal_times_are_kept(tmp_path: Path) -> None:
    frames = _rows(tmp_path, "1:g", 6, cadence_s=0.0)
    night = open_observation(frames=frames)
    assert night["1:g"]["image"].sel(time=night["1:g"]["time"][0].to_numpy()).shape == (6, *SHAPE)


def test_nights_follow_each_other(tmp_path: Path) -> None:
    later = _rows(tmp_path, "1:g", 4, night="2024-01-02", start_mjd=60311.2)
    night = open_observation(frames=pd.concat([later, _rows(tmp_path, "1:g", 4)]))
    image = night["1:g"]["image"]
    assert image.chunks[0] == (4, 4)
    assert image["time"].to_index().is_monotonic_increasing
    assert list(image["night"].to_numpy()) == ["2024-01-01"] * 4 + ["2024-01-02"] * 4


def test_nothing_to_open_is_told(tmp_path: Path) -> None:
    rows = _rows(tmp_path, "1:g", 3).assign(status="rejected", reason="no FILTER")
    with pytest.raises(InputError, match="none of 3 frames can be used; most often: no FILTER"):
        open_observation(frames=rows)
    with pytest.raises(InputError, match="no frame"):
        open_observation(frames=rows.iloc[:0])
    with pytest.raises(InputError, match="give a folder"):
        open_observation()


@settings(max_examples=15, deadline=None)
@given(size=st.integers(1, 9))
def test_any_chunking_gives_the_same_values(tmp_path_factory: pytest.TempPathFactory, size: int) -> None:
    folder = tmp_path_factory.getbasetemp()
    night = open_observation(frames=_rows(folder, "1:g", 8), block_bytes=size * 90)
    assert night["1:g"]["image"].chunks[0][0] == min(size, 8)
    np.testing.assert_array_equal(night["1:g"]["image"].compute(scheduler="sync"), _cube(folder, "1g", 8)[1])


# stacking


def _night(folder: Path, count: int, drop: dict[str, list[int]] | None = None, **options: Any) -> xr.DataTree:
    tables = []
    for offset, camera in enumerate(("1:g", "2:r", "3:i")):
        rows = _rows(folder, camera, count, start_mjd=60310 + 0.1 * offset / 86400)
        tables.append(rows.drop(index=(drop or {}).get(camera, [])))
    return open_observation(frames=pd.concat(tables), **options)


def test_complete_cameras_stack_without_a_copy_of_type(tmp_path: Path) -> None:
    with dask.config.set(scheduler=CountingScheduler()):
        cube = stack_cameras(_night(tmp_path, 6), tolerance="0.5s")
    assert (cube.dims, cube.shape, cube.dtype) == (("camera", "time", "y", "x"), (3, 6, *SHAPE), np.uint16)
    np.testing.assert_array_equal(cube.sel(camera="2:r"), _cube(tmp_path, "2r", 6)[1])
    np.testing.assert_allclose(
        (cube["MJD"].sel(camera="3:i") - cube["MJD"].sel(camera="1:g")) * 86400, 0.2, atol=2e-6
    )
    assert cube["BMJD"].dims == ("camera", "time")


def test_missing_frames_are_nan_and_nothing_is_lost(tmp_path: Path, reads: list[tuple[str, int]]) -> None:
    drop = {"1:g": [2], "2:r": [4, 5], "3:i": [0]}
    cube = stack_cameras(_night(tmp_path, 7, drop, block_bytes=3 * 90))
    assert reads == []
    assert (cube.sizes["time"], cube.dtype) == (7, np.float32)
    for number, (camera, gone) in enumerate(drop.items()):
        expected = _cube(tmp_path, camera.replace(":", ""), 7)[1].astype("float32")
        expected[gone] = np.nan
        np.testing.assert_array_equal(cube[number], expected)
        np.testing.assert_array_equal(np.flatnonzero(cube["frame"][number] < 0), gone)
        np.testing.assert_array_equal(np.flatnonzero(np.isnan(cube["MJD"][number])), gone)
    reads.clear()
    cube.sel(camera="2:r").isel(time=6).compute()
    assert reads == [("2r", 6)]
    reads.clear()
    assert np.isnan(cube.sel(camera="2:r").isel(time=4).compute()).all()
    assert reads == []


def test_the_reference_may_rule(tmp_path: Path) -> None:
    night = _night(tmp_path, 7, {"1:g": [2]})
    cube = stack_cameras(night, cameras=["1:g", "3:i"], join="reference")
    assert list(cube["camera"].to_numpy()) == ["1:g", "3:i"]
    np.testing.assert_array_equal(cube["frame"].sel(camera="3:i"), [0, 1, 3, 4, 5, 6])
    assert cube.dtype == np.uint16


def test_processed_images_stack_too(tmp_path: Path) -> None:
    drop = {"2:r": [1, 2]}
    night = _night(tmp_path, 6, drop, block_bytes=2 * 90)
    processed = night.map_over_datasets(
        lambda node: node.assign(image=node["image"] * 2.0) if "image" in node else node
    )
    with dask.config.set(scheduler=CountingScheduler()):
        cube = stack_cameras(processed)
    plain = stack_cameras(night)
    np.testing.assert_array_equal(
        cube.compute(scheduler="sync"), 2.0 * plain.astype("f8").compute(scheduler="sync")
    )


def test_tasks_of_a_stack_grow_with_blocks_only(tmp_path: Path) -> None:
    drop = {"1:g": [7, 800], "2:r": list(range(100, 3000, 3)), "3:i": [2999]}
    night = _night(tmp_path, 3000, drop, block_bytes=300 * 90)
    cube = stack_cameras(night)
    assert cube.sizes["time"] == 3000
    (optimised,) = dask.optimize(cube.data)
    assert len(cube.data.dask) <= 2 * 3 * 11
    assert len(optimised.dask) <= 2 * 3 * 11
    np.testing.assert_array_equal(np.isnan(cube[:, :, 0, 0].compute(scheduler="sync")), cube["frame"] < 0)


def test_cadences_may_differ(tmp_path: Path) -> None:
    fast = _rows(tmp_path, "2:r", 20)
    slow = _rows(tmp_path, "1:g", 5, cadence_s=4.0)
    cube = stack_cameras(open_observation(frames=pd.concat([fast, slow])))
    assert cube.sizes["time"] == 20
    np.testing.assert_array_equal(np.flatnonzero(cube["frame"].sel(camera="1:g") >= 0), np.arange(0, 20, 4))


def test_what_cannot_be_stacked_is_told(tmp_path: Path) -> None:
    night = _night(tmp_path, 3)
    with pytest.raises(InputError, match=r"no camera 9:x in this night; it has 1:g, 2:r, 3:i"):
        stack_cameras(night, cameras=["9:x"])
    with pytest.raises(InputError, match="time span"):
        stack_cameras(night, tolerance="soon")
    with pytest.raises(InputError, match="negative"):
        stack_cameras(night, tolerance="-1s")
    with pytest.raises(InputError, match="join"):
        stack_cameras(night, join="inner")
    other = frame_table(["x"], (4, 9), camera="2:r")
    with pytest.raises(InputError, match="1:g 5x9, 2:r 4x9"):
        stack_cameras(open_observation(frames=pd.concat([_rows(tmp_path, "1:g", 3), other])))


_TIMES = st.lists(st.integers(0, 40), max_size=12).map(lambda values: np.sort(np.array(values, np.int64)))


@settings(max_examples=200)
@given(reference=_TIMES, times=_TIMES, tolerance=st.integers(0, 6))
def test_matching_uses_each_frame_once_and_leaves_no_pair(reference: Any, times: Any, tolerance: int) -> None:
    partner = match_times(reference, times, tolerance)
    used = partner[partner >= 0]
    assert len(set(used.tolist())) == used.size
    assert (np.abs(reference[used] - times[partner >= 0]) <= tolerance).all()
    left, free = times[partner < 0], np.delete(reference, used)
    assert not (np.abs(left[:, None] - free[None, :]) <= tolerance).any()


@settings(max_examples=200)
@given(times=st.lists(_TIMES, min_size=1, max_size=4), tolerance=st.integers(0, 6))
def test_places_hold_every_frame_once_in_order(times: Any, tolerance: int) -> None:
    places, frames = place_cameras(times, tolerance, keep_unmatched=True)
    assert (np.diff(places) >= 0).all()
    for camera, index in zip(times, frames, strict=True):
        assert sorted(index[index >= 0].tolist()) == list(range(camera.size))
        assert (np.abs(camera[index[index >= 0]] - places[index >= 0]) <= tolerance).all()
    assert all((np.stack(frames)[:, place] >= 0).any() for place in range(places.size))


# xarray's engine


def test_xarray_opens_a_folder_and_a_file(folder: Path) -> None:
    with dask.config.set(scheduler=CountingScheduler()):
        tree = xr.open_datatree(folder, engine="opticam")
        chunked = xr.open_datatree(folder, engine="opticam", chunks={"time": 2})
        one = xr.open_dataset(folder / "240101g000000002o.fits", engine="opticam", drop_variables=["airmass"])
    assert tree["1:g"]["image"].chunks == ((5,), (5,), (9,))
    assert one["image"].chunks == ((1,), (5,), (9,))
    xr.testing.assert_identical(tree["2:r"].to_dataset(), open_observation(folder)["2:r"].to_dataset())
    assert chunked["1:g"]["image"].chunks[0] == (2, 2, 1)
    assert "airmass" not in one.coords
    np.testing.assert_array_equal(one["image"][0], fits.getdata(folder / "240101g000000002o.fits"))
    assert one["image"].dtype == np.uint16


def test_the_engine_is_guessed_from_the_name(folder: Path) -> None:
    assert xr.open_dataset(folder / "240101g000000002o.fits")["image"].shape == (1, *SHAPE)
    backend = xr.backends.list_engines()["opticam"]
    assert all(
        backend.guess_can_open(name) for name in ("a.fit", "b.FITS.gz", Path("c.fts.fz"), "d.fits.bz2")
    )
    assert not any(backend.guess_can_open(name) for name in ("a.nc", "b.gz", object()))


def test_the_engine_takes_an_instrument(folder: Path) -> None:
    tree = xr.open_datatree(str(folder), engine="opticam", instrument=opticam_dask.OPTICAM_MX, block_bytes=90)
    assert tree["1:g"]["image"].chunks[0] == (1,) * 5
    assert tree.attrs["instrument"] == opticam_dask.OPTICAM_MX.name


def test_several_cameras_are_no_dataset(folder: Path) -> None:
    with pytest.raises(InputError, match=r"several cameras \(1:g, 2:r, 3:i\): use xarray.open_datatree"):
        xr.open_dataset(folder, engine="opticam")


def test_an_index_may_be_scanned_before(folder: Path) -> None:
    night = open_observation(frames=scan(folder))
    xr.testing.assert_identical(night["1:g"].to_dataset(), open_observation(folder)["1:g"].to_dataset())
