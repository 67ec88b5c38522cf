"""A store made of a night gives what the night gives: the same index, pixels and light curves."""

from __future__ import annotations

import gzip
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from astropy.io import fits

import opticam_dask as opticam
from opticam_dask.errors import FrameReadError, InputError, SettingsChangedError
from opticam_dask.ingestion import ingest, verify_store
from opticam_dask.instrument import GENERIC, OPTICAM_MX
from opticam_dask.io.blocks import split_blocks
from opticam_dask.io.frame_index import scan
from opticam_dask.io.zarr_store.layout import record_path, shard_path
from opticam_dask.schema import LIGHT_CURVE_KEY
from opticam_dask.simulate import CameraSetup
from opticam_dask.tables.digest import frames_digests

SHAPE = (131, 149)
BAD_GZIP = "c_bad.fits.gz"


def header(second: float, **cards: Any) -> fits.Header:
    known = {
        "FILTER": "g", "BINNING": "4x4", "GAIN": 1.0, "EXPOSURE": 1.0, "DARKCURR": 0.0,
        "INSTRUME": "OPTICAM", "RA": 0.0, "DEC": 20.0, "SATLEVEL": 60000.0,
        "UT": f"2024-01-01 03:00:{second:06.3f}",
    }  # fmt: skip
    return fits.Header(known | cards)


def pixels(seed: int, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).normal(100, 10, shape).astype("uint16")


def write_night(folder: Path) -> None:
    """Two cameras, one of a cube and of tiles, and every way to be bad."""
    folder.mkdir()
    for second in range(6):
        fits.PrimaryHDU(pixels(second), header(second)).writeto(folder / f"a{second}.fits")
    fits.PrimaryHDU(pixels(7, (4, *SHAPE)), header(10, FILTER="r")).writeto(folder / "b_cube.fits")
    tiles = fits.CompImageHDU(pixels(8), header(20, FILTER="r"), compression_type="RICE_1")
    fits.HDUList([fits.PrimaryHDU(), tiles]).writeto(folder / "b_tiles.fits.fz")
    fits.PrimaryHDU(pixels(9), header(30, FILTER="r")).writeto(folder / "b_packed.fits.gz")
    fits.PrimaryHDU(pixels(10), header(40, IMGTYPE="bias")).writeto(folder / "bias.fits")
    fits.PrimaryHDU(pixels(11, (60, 50)), header(41)).writeto(folder / "odd.fits")
    content = (folder / "a0.fits").read_bytes()
    (folder / "short.fits").write_bytes(content[:-2880])
    fits.PrimaryHDU(pixels(12), header(3.5)).writeto(folder / "c.fits")
    packed = bytearray(gzip.compress((folder / "c.fits").read_bytes()))
    packed[len(packed) // 2] ^= 0xFF
    (folder / BAD_GZIP).write_bytes(packed)
    (folder / "c.fits").unlink()


def blank_night(folder: Path) -> None:
    """Frames whose camera needs a wider type: floats with NaN, and pixels equal to BLANK."""
    folder.mkdir()
    for second in range(3):
        fits.PrimaryHDU(pixels(second), header(second)).writeto(folder / f"a{second}.fits")
    floats = pixels(3).astype("float32")
    floats.view("u4")[:3] = 0x7FC00001 + np.arange(SHAPE[1])
    fits.PrimaryHDU(floats, header(3)).writeto(folder / "floats.fits")
    blank = fits.PrimaryHDU(pixels(4).astype("int16"), header(4, BLANK=100))
    blank.writeto(folder / "blank.fits")


def ingested(folder: Any, root: Path, **options: Any) -> pd.DataFrame:
    return ingest(folder, root, cluster="threads", number_of_processors=1, verbose=False, **options)


def small_shards() -> Any:
    """Three frames a shard."""
    return dask.config.set({"opticam.block-bytes": 3 * 2 * SHAPE[0] * SHAPE[1]})


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("night") / "raw"
    write_night(folder)
    root = folder.parent / "night.zarr"
    with small_shards():
        ingested(folder, root)
    return folder, root


@pytest.fixture
def copied(night: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    return night[0], shutil.copytree(night[1], tmp_path / "night.zarr")


def without_root(frames: pd.DataFrame, root: Path) -> pd.DataFrame:
    assert frames["path"].str.startswith(f"{root}/").all()
    return frames.assign(path=frames["path"].str.slice(len(str(root))))


def outcomes(frames: pd.DataFrame, root: str = "") -> dict[tuple[Any, ...], Any]:
    """What reading each accepted frame gives: its bits, or the reason."""
    found = {}
    for _, rows in frames[frames["status"] == "accepted"].groupby("camera"):
        for block in split_blocks(rows):
            for i, image in block.frames():
                key = (block.paths[i][len(root) :], int(block.meta["hdu"][i]), int(block.meta["plane"][i]))
                is_bad = isinstance(image, FrameReadError)
                found[key] = image.detail if is_bad else (image.dtype, image.tobytes())
    return found


def test_index_and_pixels_are_those_of_the_files(night: tuple[Path, Path]) -> None:
    folder, root = night
    for instrument in (OPTICAM_MX, GENERIC):
        files, stored = scan(folder, instrument), scan(root, instrument)
        pd.testing.assert_frame_equal(without_root(stored, root), files)
    files, stored = scan(folder), scan(root)
    assert frames_digests(stored[stored["frame"] >= 0]) == frames_digests(files[files["frame"] >= 0])
    assert (stored["status"] == "rejected").sum() == 3
    expected = outcomes(files)
    assert outcomes(stored, str(root)) == expected
    (bad,) = [value for value in expected.values() if isinstance(value, str)]
    assert "gzip" in bad
    assert len(expected) == 13


def test_floats_and_blank_pixels_keep_their_bits(tmp_path: Path) -> None:
    blank_night(tmp_path / "raw")
    frames = ingested(tmp_path / "raw", tmp_path / "n.zarr")
    expected = outcomes(scan(tmp_path / "raw"))
    assert outcomes(frames, str(tmp_path / "n.zarr")) == expected
    assert {value[0].name for value in expected.values()} == {"float32"}


def test_shards_hold_the_frames_in_order_and_nothing_else_is_left(night: tuple[Path, Path]) -> None:
    _, root = night
    assert [shard_path(root, "1:g", number).is_file() for number in range(4)] == [True] * 3 + [False]
    assert not list(root.rglob("*.tmp"))
    tree = xr.open_datatree(root, engine="zarr", consolidated=False)
    files = opticam.open_observation(night[0])
    assert np.array_equal(tree["1%3Ag/image"].to_numpy()[:4], files["1:g"]["image"][:4].to_numpy())
    assert tree["2%3Ar/image"].dims == ("time", "y", "x")
    assert np.array_equal(tree["2%3Ar/image"].to_numpy(), files["2:r"]["image"].to_numpy())
    assert not tree["1%3Ag/image"].to_numpy()[4].any()


def test_xarray_opens_a_store_like_a_folder(night: tuple[Path, Path]) -> None:
    folder, root = night
    files = opticam.open_observation(folder)["2:r"].to_dataset()
    stored = xr.open_datatree(root, engine="opticam")["2:r"].to_dataset()
    xr.testing.assert_identical(stored.drop_vars("path"), files.drop_vars("path"))
    assert xr.backends.list_engines()["opticam"].guess_can_open(str(root))
    assert not xr.backends.list_engines()["opticam"].guess_can_open(str(folder))
    part = stored["image"].isel(time=2, y=slice(5, 90, 3), x=[3, 140]).to_numpy()
    assert np.array_equal(part, files["image"].to_numpy()[2, 5:90:3][:, [3, 140]])


def test_a_second_run_does_nothing(copied: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    folder, root = copied
    (folder / BAD_GZIP).rename(folder / "aside")  # the frame that fails is tried each time
    try:
        before = {path: path.stat().st_mtime_ns for path in root.rglob("c/*/0/0")}
        with small_shards():
            ingest(folder, root, cluster="threads", number_of_processors=1)
        said = capsys.readouterr().out
    finally:
        (folder / "aside").rename(folder / BAD_GZIP)
    assert "12 files, 12 ingested before and unchanged" in said
    assert "1 files ingested before are not in this source; the store keeps them" in said
    assert f"unreadable: {folder / BAD_GZIP} [hdu 0, plane 0]: truncated: the data need" in said
    after = {path: path.stat().st_mtime_ns for path in root.rglob("c/*/0/0")}
    assert sum(after[path] != before[path] for path in before) <= 1
    assert verify_store(root, cluster="threads", verbose=False) == []


def test_a_frame_that_failed_is_read_when_it_has_come_right(copied: tuple[Path, Path]) -> None:
    folder, root = copied
    packed = (folder / BAD_GZIP).read_bytes()
    status = (folder / BAD_GZIP).stat()
    try:
        fits.PrimaryHDU(pixels(12), header(3.5)).writeto(folder / "whole.fits")
        (folder / BAD_GZIP).write_bytes((folder / "whole.fits").read_bytes())
        (folder / "whole.fits").unlink()
        frames = ingested(folder, root)
        assert not any(isinstance(value, str) for value in outcomes(frames, str(root)).values())
    finally:
        (folder / BAD_GZIP).write_bytes(packed)
        os.utime(folder / BAD_GZIP, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_damage_costs_the_frame_and_is_mended(copied: tuple[Path, Path]) -> None:
    folder, root = copied
    path = shard_path(root, "1:g", 0)
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    expected, found = outcomes(scan(folder)), outcomes(scan(root), str(root))
    (hit,) = [key for key in expected if found[key] != expected[key]]
    assert hit[0].endswith("a0.fits")
    assert found[hit] == (
        "array 1%3Ag/image, frame 0, shard 0: damaged: the checksum of a tile does not fit; ingest it again"
    )
    (line,) = verify_store(root, cluster="threads", verbose=False)
    assert str(path) in line
    assert "frame 0" in line
    assert "a0.fits" in line
    ingested(folder, root)  # does not look
    assert len(verify_store(root, cluster="threads", verbose=False)) == 1
    with small_shards():
        ingested(folder, root, verify=True)
    assert verify_store(root, cluster="threads", verbose=False) == []
    assert outcomes(scan(root), str(root)) == expected


@pytest.mark.parametrize("left", [0, 50, -1])
def test_a_truncated_or_lost_shard_costs_its_frames(copied: tuple[Path, Path], left: int) -> None:
    folder, root = copied
    path = shard_path(root, "2:r", 0)
    path.write_bytes(path.read_bytes()[:left])
    if not left:
        path.unlink()
    expected, found = outcomes(scan(folder)), outcomes(scan(root), str(root))
    lost = {key: found[key] for key in expected if found[key] != expected[key]}
    assert len(lost) == 3
    assert all("array 2%3Ar/image" in reason for reason in lost.values())
    assert len(verify_store(root, cluster="threads", verbose=False)) == 1
    ingested(folder, root)
    assert outcomes(scan(root), str(root)) == expected


def test_frames_outlive_their_files(copied: tuple[Path, Path], tmp_path: Path) -> None:
    """A shard that has to be written again keeps the frames whose files are gone."""
    folder, root = copied
    expected = outcomes(scan(folder))
    (tmp_path / "new").mkdir()
    fits.PrimaryHDU(pixels(20), header(50)).writeto(tmp_path / "new" / "d.fits")
    record_path(root, "1:g", 1).unlink()
    with small_shards():
        frames = ingested([folder, tmp_path / "new"], root)
    found = outcomes(frames, str(root))
    assert len(found) == len(expected) + 1
    assert {key: found[key] for key in expected} == expected
    hidden = folder.with_name("hidden")
    folder.rename(hidden)
    try:
        frames = ingested(tmp_path / "new", root)
        assert outcomes(frames, str(root)) == found
    finally:
        hidden.rename(folder)


def test_a_night_that_grew_and_changed(tmp_path: Path) -> None:
    folder, root = tmp_path / "raw", tmp_path / "night.zarr"
    write_night(folder)
    late = tmp_path / "late"
    late.mkdir()
    for name in ("a4.fits", "a5.fits", "b_packed.fits.gz"):
        (folder / name).rename(late / name)
    with small_shards():
        ingested(folder, root)
        for path in late.iterdir():
            path.rename(folder / path.name)
        fits.PrimaryHDU(pixels(33), header(1)).writeto(folder / "a1.fits", overwrite=True)
        os.utime(folder / "a1.fits", ns=(1, 1))
        frames = ingested(folder, root)
    pd.testing.assert_frame_equal(without_root(frames, root), scan(folder))
    assert outcomes(frames, str(root)) == outcomes(scan(folder))
    assert verify_store(root, cluster="threads", verbose=False) == []


def test_two_nights_in_one_store_and_in_two(tmp_path: Path) -> None:
    for night in (1, 2):
        folder = tmp_path / f"n{night}"
        folder.mkdir()
        for second in range(3):
            card = {"UT": f"2024-01-0{night} 03:00:0{second}.000"}
            hdu = fits.PrimaryHDU(pixels(10 * night + second), header(0, **card))
            hdu.writeto(folder / f"a{second}.fits")
        ingested(folder, tmp_path / f"n{night}.zarr")
        ingested(folder, tmp_path / "both.zarr")
    expected = opticam.open_observation([tmp_path / "n1", tmp_path / "n2"])["1:g"].to_dataset()
    assert len(np.unique(expected["night"])) == 2
    for source in ([tmp_path / "n1.zarr", tmp_path / "n2.zarr"], tmp_path / "both.zarr"):
        found = opticam.open_observation(source)["1:g"].to_dataset()
        xr.testing.assert_identical(found.drop_vars("path"), expected.drop_vars("path"))
    assert len(scan(tmp_path, recursive=True)) == 4 * 3 + 6 - 0


def test_what_cannot_be_a_store_is_refused(night: tuple[Path, Path], tmp_path: Path) -> None:
    folder, root = night
    with pytest.raises(InputError, match=r"must end in \.zarr"):
        ingested(folder, tmp_path / "night")
    taken = tmp_path / "taken.zarr"
    taken.mkdir()
    (taken / "precious").write_text("x")
    with pytest.raises(InputError, match="is no store of frames"):
        ingested(folder, taken, overwrite=True)
    assert (taken / "precious").exists()
    with pytest.raises(SettingsChangedError, match="instrument"):
        ingested(folder, root, instrument=GENERIC)
    with pytest.raises(InputError, match="is no store"):
        verify_store(folder)
    with pytest.raises(InputError, match="no FITS file"):
        ingested(taken, tmp_path / "empty.zarr")


def test_frames_of_another_shape_need_a_store_of_their_own(copied: tuple[Path, Path], tmp_path: Path) -> None:
    _, root = copied
    for second in range(10):
        fits.PrimaryHDU(pixels(second, (60, 50)), header(second)).writeto(tmp_path / f"small{second}.fits")
    with pytest.raises(InputError, match=r"131x149 uint16, those to ingest are 60x50 uint16: .*--overwrite"):
        ingested(str(tmp_path / "small*.fits"), root)
    ingested(str(tmp_path / "small*.fits"), root.with_name("other.zarr"))


def test_overwrite_makes_a_store_again(copied: tuple[Path, Path]) -> None:
    folder, root = copied
    (root / "stale").write_text("x")
    frames = ingested(folder, root, instrument=GENERIC, overwrite=True)
    pd.testing.assert_frame_equal(without_root(frames, root), scan(folder, GENERIC))
    assert not (root / "stale").exists()
    assert outcomes(frames, str(root)) == outcomes(scan(folder, GENERIC))


def light_curves(out: Path) -> pd.DataFrame:
    curves = opticam.open_light_curves(out).compute()
    return curves.sort_values(list(LIGHT_CURVE_KEY), ignore_index=True)


def test_light_curves_and_catalogues_are_the_same_to_the_bit(tmp_path: Path) -> None:
    scene = opticam.Scene(
        n_frames=9, shape=(143, 301), n_stars=6, compression="gz", flux_range=(5e3, 5e4), margin_px=15.0,
        min_separation_px=14.0, semimajor_sigma=1.9, semiminor_sigma=1.4, orientation=40.0, jitter_px=0.5,
        pointing=(83.6, 22.0), seed=4,
        cameras=(CameraSetup(filter="g"), CameraSetup(filter="r")),
    )  # fmt: skip
    opticam.simulate_night(scene, tmp_path / "raw")
    files = sorted((tmp_path / "raw").glob("*.gz"))
    content = bytearray(files[3].read_bytes())
    content[len(content) // 2] ^= 0xFF
    files[3].write_bytes(content)
    with dask.config.set({"opticam.block-bytes": 4 * 2 * 143 * 301, "opticam.blocks-at-least": 2}):
        ingested(tmp_path / "raw", tmp_path / "night.zarr")
        for name, source in (("files", "raw"), ("stored", "night.zarr")):
            with opticam.Reducer(
                tmp_path / name, tmp_path / source, cluster="threads", show_plots=False, verbose=False
            ) as reducer:
                reducer.create_catalogs()
                annulus = opticam.DefaultLocalBackground()
                reducer.photometry(opticam.OptimalPhotometer(local_background_estimator=annulus))
    expected, found = light_curves(tmp_path / "files"), light_curves(tmp_path / "stored")
    assert len(expected) > 60
    assert expected["flux"].isna().any()
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    for catalogue in (tmp_path / "files" / "cat").glob("*.ecsv"):
        rows = catalogue.read_text().splitlines()
        again = (tmp_path / "stored" / "cat" / catalogue.name).read_text().splitlines()
        assert [row for row in rows if "digest" not in row and "raw" not in row] == [
            row for row in again if "digest" not in row and "night.zarr" not in row
        ]


KILLED = """
import os, signal, sys, time
import dask
from opticam_dask.io.zarr_store import write

done, make = [], write._make

def slow(job):
    if len(done) == 2:
        temporary = job.path.parent.parent.parent.parent.parent.parent / ".0.half.tmp"
        temporary.write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)
    done.append(job)
    return make(job)

write._make = slow
from opticam_dask.ingestion import ingest
with dask.config.set({"opticam.block-bytes": int(sys.argv[3])}):
    ingest(sys.argv[1], sys.argv[2], cluster="threads", number_of_processors=1, verbose=False)
"""


def test_killed_and_run_again_it_does_what_is_missing(night: tuple[Path, Path], tmp_path: Path) -> None:
    folder, whole = night
    root = tmp_path / "night.zarr"
    arguments = [str(folder), str(root), str(3 * 2 * SHAPE[0] * SHAPE[1])]
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(KILLED), *arguments], check=False)
    assert killed.returncode == -signal.SIGKILL
    done = {path: path.stat().st_mtime_ns for path in root.rglob("c/*/0/0")}
    assert len(done) == 2
    assert list(root.glob(".*.tmp"))
    failed = [value for value in outcomes(scan(root), str(root)).values() if isinstance(value, str)]
    assert sum("run the ingest again" in reason or "ingest it again" in reason for reason in failed) >= 6
    time.sleep(0.02)
    with small_shards():
        ingested(folder, root)
    assert not list(root.glob(".*.tmp"))
    for path in whole.rglob("c/*/0/0"):
        assert (root / path.relative_to(whole)).read_bytes() == path.read_bytes()
    assert sum(path.stat().st_mtime_ns == stamp for path, stamp in done.items()) >= 1
    assert verify_store(root, cluster="threads", verbose=False) == []


@pytest.mark.parametrize("refused", [True, False])
def test_old_pixels_never_meet_the_header_of_a_changed_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: bool
) -> None:
    folder, store = tmp_path / "night", tmp_path / "night.zarr"
    folder.mkdir()
    for second in range(8):
        fits.PrimaryHDU(pixels(second), header(second)).writeto(folder / f"a{second}.fits")
    ingest(folder, store, cluster="threads", verbose=False)
    for second in range(6):
        data = pixels(50 + second).astype("float32" if refused else "uint16")
        changed = fits.PrimaryHDU(data, header(second, EXPOSURE=5.0))
        changed.writeto(folder / f"a{second}.fits", overwrite=True)
    if not refused:
        monkeypatch.setattr("opticam_dask.stages.ingest.make_shard", _stop)
    with pytest.raises(opticam.errors.OpticamError):
        ingest(folder, store, cluster="threads", verbose=False)
    index = scan(str(store))
    changed = index[(index["status"] == "accepted") & (index["exposure"] == 5.0)]
    assert len(changed) == 6
    for _, row in changed.iterrows():
        (block,) = split_blocks(pd.DataFrame([row]))
        with pytest.raises(FrameReadError, match="run the ingest again"):
            block.read()


def _stop(*_: Any, **__: Any) -> None:
    raise InputError("stopped here")
