"""Headers of ingested files: a store is scanned like the folder."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits

from opticam_dask.errors import FrameReadError
from opticam_dask.instrument import GENERIC, OPTICAM_MX
from opticam_dask.io import frame_index
from opticam_dask.io.containers import read_headers
from opticam_dask.io.frame_files import find_files
from opticam_dask.io.frame_index import scan, size_and_time
from opticam_dask.io.zarr_store import headers
from opticam_dask.io.zarr_store.layout import SETTINGS, is_store, split_path
from opticam_dask.tables.atomic import write_text

SHAPE = (9, 14)


def frame(second: int, shape: tuple[int, ...] = SHAPE, **cards: Any) -> fits.PrimaryHDU:
    pixels = np.random.default_rng(second).normal(100, 10, shape).astype("uint16")
    hdu = fits.PrimaryHDU(pixels)
    hdu.header["UT"] = f"2024-01-01 05:00:{second:02d}.500"
    hdu.header["EXPOSURE"], hdu.header["FILTER"], hdu.header["GAIN"] = 1.0, "g", 1.0
    hdu.header["BINNING"] = "4x4"
    hdu.header.update(cards)
    return hdu


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of every kind, sound and not."""
    folder = tmp_path_factory.mktemp("files")
    for second in range(4):
        frame(second).writeto(folder / f"plain{second}.fits")
    frame(4).writeto(folder / "packed.fits.gz")
    whole = frame(5)
    tiles = fits.CompImageHDU(whole.data, whole.header, compression_type="RICE_1")
    fits.HDUList([fits.PrimaryHDU(), tiles]).writeto(folder / "tiles.fits.fz")
    frame(6, (3, *SHAPE)).writeto(folder / "cube.fits")
    frame(10, (5, 6)).writeto(folder / "odd.fits")
    frame(11, IMGTYPE="bias").writeto(folder / "bias.fits")
    scaled = frame(12)
    scaled.data = scaled.data.astype("int16")
    scaled.header["BLANK"] = 99
    scaled.writeto(folder / "blank.fits")
    unknown = frame(13)
    del unknown.header["EXPOSURE"]
    unknown.writeto(folder / "unknown.fits")
    fits.HDUList([frame(14), fits.ImageHDU(frame(15).data, frame(15).header)]).writeto(folder / "two.fits")
    content = (folder / "plain0.fits").read_bytes()
    (folder / "short.fits").write_bytes(content[:-2880])
    (folder / "text.fits").write_bytes(b"not a FITS file" * 400)
    (folder / "empty.fits").write_bytes(b"")
    Path(os.fsdecode(os.fsencode(folder) + b"/frame\xe9.fits")).write_bytes(content)
    (folder / "endless.fits").write_bytes(content[:2000])
    (folder / "damaged.fits.gz").write_bytes(gzip.compress(content)[:-900])
    garbled = content.replace(b"NAXIS1  =                   14", b"NAXIS1  =                   xx")
    (folder / "garbled.fits").write_bytes(garbled)
    return folder


@pytest.fixture(scope="module")
def store(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Store that holds the headers of the files, in two parts, and no pixels."""
    root = str(tmp_path_factory.mktemp("stores") / "night.zarr")
    write_text(Path(root, SETTINGS), "{}")
    files = {path: size_and_time(path) or (0, 0) for path in [*find_files(folder), str(folder / "gone.fits")]}
    parts = []
    for some in (dict(list(files.items())[::2]), dict(list(files.items())[1::2])):
        for batch in headers.plan_parts(some):
            headers.write_part(batch, root)
            parts.append(batch[0])
    headers.write_parts(root, parts)
    return root


def outcome(path: str) -> Any:
    try:
        return read_headers(path)
    except FrameReadError as error:
        return error.detail


def test_every_header_comes_back(folder: Path, store: str) -> None:
    assert is_store(store)
    for path in find_files(folder):
        assert split_path(store + path) == (store, path)
        assert size_and_time(store + path) == size_and_time(path)
        assert outcome(store + path) == outcome(path)


@pytest.mark.parametrize("instrument", [OPTICAM_MX, GENERIC], ids=lambda one: one.name)
def test_a_scan_of_the_store_is_one_of_the_files(folder: Path, store: str, instrument: Any) -> None:
    target = "05:34:31.9 +22:00:52"
    files = [*find_files(folder), str(folder / "gone.fits")]
    expected = scan(files, instrument, target=target)
    found = scan(store, instrument, target=target)
    assert found["path"].str.startswith(store).all()
    found["path"] = found["path"].str.slice(len(store))
    pd.testing.assert_frame_equal(found, expected)
    assert {"accepted", "rejected"} == set(found["status"])


def test_an_unchanged_store_is_not_read_again(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = scan(store)
    read: list[str] = []
    whole = frame_index.scan_headers

    def scan_headers(paths: list[str], instrument: Any) -> Any:
        read.extend(paths)
        return whole(paths, instrument)

    monkeypatch.setattr(frame_index, "scan_headers", scan_headers)
    pd.testing.assert_frame_equal(scan(store, previous=before), before)
    assert [os.fsencode(path).endswith(b"frame\xe9.fits") for path in read] == [True]


def test_a_file_that_is_not_in_the_store_is_told(store: str) -> None:
    with pytest.raises(FrameReadError, match="no such file"):
        read_headers(store + "/elsewhere/a.fits")
    assert size_and_time(store + "/elsewhere/a.fits") is None


def test_of_a_file_in_two_parts_the_later_counts(tmp_path: Path) -> None:
    root, path = str(tmp_path / "night.zarr"), tmp_path / "a.fits"
    write_text(Path(root, SETTINGS), "{}")
    parts = []
    for second in (1, 2):
        frame(second).writeto(path, overwrite=True)
        (batch,) = headers.plan_parts({str(path): (second, second)})
        headers.write_part(batch, root)
        parts.append(batch[0])
        headers.write_parts(root, parts)
    assert headers.stored_paths(root) == [root + str(path)]
    assert read_headers(root + str(path))[0].header["UT"].endswith("02.500")


def test_a_folder_whose_name_looks_like_a_store_is_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "not.zarr"
    folder.mkdir()
    frame(1).writeto(folder / "a.fits")
    assert not is_store(folder)
    assert split_path(str(folder / "a.fits")) is None
    assert len(scan(folder)) == 1
