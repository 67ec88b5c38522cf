"""Which files are complete: by what they say of themselves, whatever the clock says and however they come."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from opticam_dask.follow.arrivals import Arrivals
from opticam_dask.follow.completeness import shortfall
from opticam_dask.io.head_reader import HeadReader

RNG = np.random.default_rng(4)
IMAGE = RNG.poisson(100.0, (67, 91)).astype(np.uint16)


class Clock:
    """Seconds as the test has them."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def written(path: Path, kind: str) -> bytes:
    """Bytes of a whole file of some kind."""
    if kind == "fz":
        fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(IMAGE)]).writeto(path)
    elif kind == "cube":
        fits.writeto(path, RNG.poisson(50.0, (5, 31, 47)).astype(np.int16))
    elif kind == "extensions":
        primary = fits.PrimaryHDU()
        primary.header["NEXTEND"] = 2
        fits.HDUList([primary, fits.ImageHDU(IMAGE), fits.ImageHDU(IMAGE)]).writeto(path)
    else:
        fits.writeto(path, IMAGE)
    content = path.read_bytes()
    path.unlink()
    return gzip.compress(content, 1, mtime=0) if kind == "gz" else content


def told(arrivals: Arrivals, looks: int = 3) -> list[str]:
    return [Path(arrival.path).name for _ in range(looks) for arrival in arrivals.look()]


@pytest.mark.parametrize("kind", ["plain", "gz", "fz", "cube", "extensions"])
def test_a_file_is_complete_at_its_last_pixel_and_not_before(tmp_path: Path, kind: str) -> None:
    path, reader = tmp_path / "frame.fits", HeadReader()
    content = written(path, kind)
    data_end = len(content) if kind in ("gz",) else _last_data_byte(tmp_path, content)
    cuts = sorted({0, 1, 79, 2879, 2880, 5760, *RNG.integers(1, data_end, 60).tolist(), data_end - 1})
    for cut in cuts:
        if cut < data_end:
            path.write_bytes(content[:cut])
            assert shortfall(str(path), reader), cut
    path.write_bytes(content)
    assert shortfall(str(path), reader) == ""


def _last_data_byte(folder: Path, content: bytes) -> int:
    """Offset after the last byte that is no padding."""
    whole = folder / "whole"
    whole.write_bytes(content)
    with fits.open(whole, disable_image_compression=True) as hdus:
        last = hdus[-1]
        end = last.fileinfo()["datLoc"] + last.size
    whole.unlink()
    return int(end)


def test_a_compressed_image_lacks_tiles_while_its_table_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "frame.fits.fz"
    content = bytearray(written(path, "fz"))
    path.write_bytes(content)
    with fits.open(path, disable_image_compression=True) as hdus:
        start, width = hdus[1].fileinfo()["datLoc"], hdus[1].header["NAXIS1"]
    content[start + 40 * width : start + 67 * width] = bytes(27 * width)
    path.write_bytes(content)
    assert shortfall(str(path), HeadReader()) == "truncated: 27 of 67 tiles are not there"


def test_a_file_is_told_once_after_two_looks_that_agree(tmp_path: Path) -> None:
    content = written(tmp_path / "a.fits", "plain")
    arrivals = Arrivals(tmp_path, clock=Clock())
    (tmp_path / "a.fits").write_bytes(content)
    assert told(arrivals, 1) == []
    os.utime(tmp_path / "a.fits", ns=(1, 1))  # written to again, whatever its clock says
    assert told(arrivals, 1) == []
    assert told(arrivals, 1) == ["a.fits"]
    assert told(arrivals, 3) == []


def test_hidden_temporary_and_other_names_are_no_frames_until_renamed(tmp_path: Path) -> None:
    content = written(tmp_path / "a.fits", "plain")
    arrivals = Arrivals(tmp_path, clock=Clock())
    for name in (".a.fits.x1Y2z3", "a.fits.part", "notes.txt"):
        (tmp_path / name).write_bytes(content)
    assert told(arrivals) == []
    (tmp_path / ".a.fits.x1Y2z3").rename(tmp_path / "a.fits")
    assert told(arrivals) == ["a.fits"]
    assert arrivals.incomplete() == {}


def test_a_file_that_grows_is_waited_for_and_one_that_goes_is_told(tmp_path: Path) -> None:
    content = written(tmp_path / "a.fits", "plain")
    arrivals = Arrivals(tmp_path, clock=Clock())
    for size in (0, 100, 2880, 6000):
        for name in ("a.fits", "b.fits"):
            (tmp_path / name).write_bytes(content[:size])
        assert told(arrivals, 2) == []
    (tmp_path / "a.fits").write_bytes(content)
    (tmp_path / "b.fits").unlink()
    assert told(arrivals) == ["a.fits"]
    assert arrivals.incomplete() == {str(tmp_path / "b.fits"): "gone before it was complete"}


def test_a_complete_file_under_its_new_name_leaves_no_trace_of_the_old(tmp_path: Path) -> None:
    content = written(tmp_path / "a.fits", "plain")
    arrivals = Arrivals(tmp_path, clock=Clock())
    (tmp_path / "tmp.fits").write_bytes(content[:6000])
    assert told(arrivals) == []
    (tmp_path / "tmp.fits").write_bytes(content)
    (tmp_path / "tmp.fits").rename(tmp_path / "a.fits")
    assert told(arrivals) == ["a.fits"]
    assert arrivals.incomplete() == {}


def test_a_file_put_back_is_told_again_when_it_changes_and_is_no_news(tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    path.write_bytes(written(path, "plain"))
    clock = Clock()
    arrivals = Arrivals(tmp_path, clock=clock)
    told(arrivals)
    arrivals.put_back(str(path), "damaged")
    assert told(arrivals, 5) == []
    assert arrivals.incomplete() == {str(path): "damaged"}
    os.utime(path, ns=(5, 5))
    assert [arrival.again for _ in range(3) for arrival in arrivals.look()] == [True]
    arrivals.put_back(str(path), "damaged")
    clock.now += 60.0  # a file server may show old bytes for a while
    assert [arrival.again for arrival in arrivals.look()] == [True]


def test_the_folder_may_come_later_and_known_files_are_left_alone(tmp_path: Path) -> None:
    content = written(tmp_path / "a.fits", "plain")
    folder = tmp_path / "later"
    arrivals = Arrivals(folder, known=[str(folder / "old.fits")], clock=Clock())
    assert told(arrivals) == []
    folder.mkdir()
    for name in ("old.fits", "new.fits"):
        (folder / name).write_bytes(content)
    assert told(arrivals) == ["new.fits"]
