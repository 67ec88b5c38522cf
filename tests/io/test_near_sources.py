"""Reading near sources: every pixel of the squares, few of the others, and damage told as by whole frames."""

from __future__ import annotations

import gzip
import pickle
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from opticam_dask.errors import FrameReadError
from opticam_dask.io import blocks as blocks_module
from opticam_dask.io.blocks import FrameBlock, split_blocks
from opticam_dask.io.buffers import frame_array, scratch
from opticam_dask.io.indexing import merged
from opticam_dask.io.near_sources import NearSources
from opticam_dask.io.readers import FrameFile
from opticam_dask.testing.fakes import frame_table

SHAPE = (2000, 31)
IMAGES = np.random.default_rng(1).integers(0, 50000, (3, *SHAPE)).astype(np.uint16)
POISON = 54321
SHIFTED = np.array([[[1.0, 0.0, dx], [0.0, 1.0, dy]] for dx, dy in ((0, 0), (3.2, 700.7), (np.nan, 0))])
XY = np.array([[4.0, 10.0], [12.0, 900.0], [30.0, 905.0], [15.0, 1400.0], [np.nan, 3.0]])


def _write(path: Path, kind: str, image: np.ndarray) -> None:
    hdu = fits.CompImageHDU(image) if kind == "fz" else fits.PrimaryHDU(image)
    hdu.writeto(path)
    if kind == "gz":
        path.write_bytes(gzip.compress(path.read_bytes()))


def _block(folder: Path, kind: str = "plain") -> FrameBlock:
    for number, image in enumerate(IMAGES):
        _write(folder / f"{number}.fits", kind, image)
    paths = [str(path) for path in sorted(folder.iterdir())]
    (block,) = split_blocks(frame_table(paths, SHAPE, hdu=int(kind == "fz")))
    return block.reading_near(XY, SHIFTED, np.array([6.0, 4.5, 5.0]))


@pytest.fixture(autouse=True)
def read(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Rows of every reading, first and last + 1; arrays are full of poison before."""
    seen: list[tuple[int, int]] = []
    fill = FrameFile.read_into

    def counted(self, out, hdu, plane, rows, columns):
        seen.append(rows.span)
        fill(self, out, hdu, plane, rows, columns)

    def poisoned(shape, dtype):
        image = frame_array(shape, dtype)
        image[:] = POISON
        return image

    monkeypatch.setattr(FrameFile, "read_into", counted)
    monkeypatch.setattr(blocks_module, "frame_array", poisoned)
    return seen


def test_squares_are_read_and_what_is_far_is_not(tmp_path: Path, read: list[tuple[int, int]]) -> None:
    block = pickle.loads(pickle.dumps(_block(tmp_path)))
    frames = dict(block.frames())
    assert read == [(4, 17), (894, 912), (1394, 1407), (707, 716), (1597, 1611)]
    for number, shift in enumerate((0.0, 700.7)):
        for y in XY[:4, 1] + shift:
            rows = slice(*(max(0, round(end)) for end in (y - 4, y + 5)))
            np.testing.assert_array_equal(frames[number][rows], IMAGES[number][rows])
    assert (frames[0][100:800] == POISON).all()
    assert (frames[2] == POISON).all()  # no transform, nothing to look at


def test_reading_of_arrays_is_always_whole(tmp_path: Path) -> None:
    block = _block(tmp_path)
    np.testing.assert_array_equal(block.read(), IMAGES)
    np.testing.assert_array_equal(block.read((1, slice(3, 900))), IMAGES[1, 3:900])


@pytest.mark.parametrize("kind", ["gz", "fz"])
def test_files_that_verify_what_they_hold_are_read_whole(tmp_path: Path, kind: str) -> None:
    for number, image in _block(tmp_path, kind).frames():
        np.testing.assert_array_equal(image, IMAGES[number])


def test_frames_that_are_selected_keep_their_squares(tmp_path: Path, read: list[tuple[int, int]]) -> None:
    list(_block(tmp_path).select([1]).frames())
    assert read == [(707, 716), (1597, 1611)]


@pytest.mark.parametrize("place", [0, 2])
def test_a_file_cut_off_far_from_any_source_is_damaged(tmp_path: Path, place: int) -> None:
    block = _block(tmp_path)
    path = Path(block.paths[place])
    path.write_bytes(path.read_bytes()[:-2880])
    whole = dict(split_blocks(frame_table(list(block.paths), SHAPE))[0].frames())
    found = dict(block.frames())
    assert isinstance(found[place], FrameReadError)
    assert str(found[place]) == str(whole[place])


def test_a_file_of_another_shape_is_told(tmp_path: Path) -> None:
    block = _block(tmp_path)
    fits.PrimaryHDU(IMAGES[0, :-1]).writeto(block.paths[2], overwrite=True)
    assert "scan again" in str(dict(block.frames())[2])


@given(
    places=st.lists(st.tuples(st.floats(-40, 90), st.floats(-40, 90)), max_size=5),
    reach=st.floats(0, 30),
)
def test_boxes_hold_all_pixels_within_reach(places: list[tuple[float, float]], reach: float) -> None:
    near = NearSources(np.array(places).reshape(-1, 2), np.eye(2, 3)[None], np.array([reach]))
    held = np.zeros((50, 41), bool)
    for first, stop, left, right in near.boxes(0, held.shape):
        assert 0 <= first < stop <= 50
        assert 0 <= left < right <= 41
        held[first:stop, left:right] = True
    y, x = np.indices(held.shape)
    wanted = np.zeros_like(held)
    for px, py in places:
        wanted |= (abs(x - px) <= reach) & (abs(y - py) <= reach)
    np.testing.assert_array_equal(held, wanted)


@given(spans=st.lists(st.tuples(st.integers(0, 60), st.integers(1, 9)), max_size=9), gap=st.integers(0, 5))
def test_merged_spans_are_sorted_apart_and_complete(spans: list[tuple[int, int]], gap: int) -> None:
    ends = np.array([(start, start + size) for start, size in spans], np.int64).reshape(-1, 2)
    joined = merged(ends, gap)
    assert joined == sorted(joined)
    assert all(after[0] - before[1] > gap for before, after in pairwise(joined))
    covered = {i for start, stop in joined for i in range(start, stop)}
    wanted = {i for start, stop in ends for i in range(start, stop)}
    assert wanted <= covered
    assert all(any(abs(i - j) <= gap for j in wanted) for i in covered)


def test_memory_that_somebody_holds_is_not_used_again() -> None:
    first = frame_array((30, 40), "uint16")
    address = first.ctypes.data
    part = first[3:5]
    del first
    assert frame_array((30, 40), "uint16").ctypes.data != address
    part[:] = 7
    del part
    assert frame_array((30, 40), "uint16").ctypes.data == address
    assert frame_array((40, 30), "uint16").shape == (40, 30)
    assert frame_array((30, 40), "float32").dtype == np.float32


def test_frames_that_are_kept_stay_as_they_are(tmp_path: Path) -> None:
    frames = dict(split_blocks(frame_table(list(_block(tmp_path).paths), SHAPE))[0].frames())
    for number, image in frames.items():
        np.testing.assert_array_equal(image, IMAGES[number])


def test_scratch_is_as_large_as_asked() -> None:
    assert [scratch(size).size for size in (5, 3, 2**20, 0, 2**27)] == [5, 3, 2**20, 0, 2**27]
