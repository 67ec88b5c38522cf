"""Blocks of frames: cutting, reading, streaming, pickling."""

from __future__ import annotations

import gzip
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from dask import config
from dask.base import tokenize
from hypothesis import given, settings
from hypothesis import strategies as st

from opticam_dask.errors import FrameReadError, InputError
from opticam_dask.io.blocks import FrameBlock, split_blocks
from opticam_dask.io.byte_streams import ByteStream
from opticam_dask.testing.fakes import frame_table

SHAPE = (7, 11)


def _write(folder: Path, count: int) -> tuple[list[str], np.ndarray]:
    images = np.random.default_rng(3).integers(0, 60000, (count, *SHAPE)).astype("uint16")
    paths = [str(folder / f"frame_{number:03d}.fits") for number in range(count)]
    for path, image in zip(paths, images, strict=True):
        fits.PrimaryHDU(image).writeto(path)
    return paths, images


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, np.ndarray]:
    paths, images = _write(tmp_path_factory.mktemp("night"), 10)
    return frame_table(paths, SHAPE), images


def _one(frames: pd.DataFrame) -> FrameBlock:
    (block,) = split_blocks(frames)
    return block


@settings(max_examples=50, deadline=None)
@given(
    counts=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    size=st.integers(1, 12),
    seed=st.integers(0, 9),
)
def test_blocks_hold_each_frame_once_in_order_and_never_two_nights(
    counts: list[int], size: int, seed: int
) -> None:
    tables = [
        frame_table([f"{n}_{i}" for i in range(c)], SHAPE, night=f"2024-01-0{n}")
        for n, c in enumerate(counts, 1)
    ]
    shuffled = pd.concat(tables).sample(frac=1, random_state=seed)
    blocks = split_blocks(shuffled, frames_per_block=size)
    assert [path for block in blocks for path in block.paths] == [
        f"{n}_{i}" for n, c in enumerate(counts, 1) for i in range(c)
    ]
    assert all(len(block) <= size and block.stop - block.start == len(block) for block in blocks)
    assert all({path[0] for path in block.paths} == {block.night[-1]} for block in blocks)
    assert len(blocks) == sum(-(-count // size) for count in counts)


def test_blocks_are_sized_in_bytes(night: tuple[pd.DataFrame, np.ndarray]) -> None:
    frame_bytes = 7 * 11 * 2
    assert [len(block) for block in split_blocks(night[0], 3 * frame_bytes + 1)] == [3, 3, 3, 1]
    assert [len(block) for block in split_blocks(night[0], 1)] == [1] * 10
    with config.set({"opticam.block-bytes": "1 kB"}):
        assert [len(block) for block in split_blocks(night[0])] == [6, 4]
    assert [len(block) for block in split_blocks(night[0])] == [10]
    assert split_blocks(night[0].iloc[:0]) == []


@pytest.mark.parametrize("bad", [{"block_bytes": 0}, {"block_bytes": "lots"}, {"frames_per_block": 0}])
def test_a_bad_size_is_told(night: tuple[pd.DataFrame, np.ndarray], bad: dict[str, object]) -> None:
    with pytest.raises(InputError, match="must be"):
        split_blocks(night[0], **bad)


def test_several_cameras_are_told(night: tuple[pd.DataFrame, np.ndarray]) -> None:
    other = night[0].assign(camera="2:r")
    with pytest.raises(InputError, match="one camera, not of 1:g, 2:r"):
        split_blocks(pd.concat([night[0], other]))


@pytest.mark.parametrize(
    "key",
    [
        (),
        (slice(2, 5),),
        (slice(8, 1, -3), slice(1, 6)),
        (slice(None), slice(None, None, 2), slice(3, 4)),
        (4,),
        (-1, 2, 3),
        ([7, 0, 7],),
        (..., slice(1, 3)),
        (slice(4, 4),),
    ],
)
def test_reading_indexes_like_numpy(night: tuple[pd.DataFrame, np.ndarray], key: tuple[object, ...]) -> None:
    image = _one(night[0]).read(key)
    np.testing.assert_array_equal(image, night[1][key])
    assert image.dtype == np.uint16


def test_lists_on_several_axes_select_a_grid(night: tuple[pd.DataFrame, np.ndarray]) -> None:
    got = _one(night[0]).read(([1, 3], [0, 6], np.arange(11) % 2 == 0))
    np.testing.assert_array_equal(got, night[1][np.ix_([1, 3], [0, 6], np.arange(0, 11, 2))])


@pytest.mark.parametrize("key", [(10,), (0, 7), (0, 0, -12), (0, 0, 0, 0), ([3, 10],)])
def test_an_index_outside_is_an_error(
    night: tuple[pd.DataFrame, np.ndarray], key: tuple[object, ...]
) -> None:
    with pytest.raises(IndexError):
        _one(night[0]).read(key)


def test_selecting_keeps_the_numbers_of_each_frame(night: tuple[pd.DataFrame, np.ndarray]) -> None:
    block = _one(night[0])
    for index in (3, slice(2, 9, 3), [5, 1], np.arange(10) > 6):
        chosen = block.select(index)
        np.testing.assert_array_equal(chosen.meta["frame"], np.atleast_1d(np.arange(10)[index]))
        np.testing.assert_array_equal(
            chosen.read(), np.atleast_3d(night[1][np.atleast_1d(np.arange(10)[index])])
        )
    assert block.select(slice(2, 5)).key == ("2024-01-01", "1:g", 2, 5)


def test_streaming_gives_bad_frames_as_errors_and_goes_on(tmp_path: Path) -> None:
    paths, images = _write(tmp_path, 5)
    Path(paths[1]).write_bytes(Path(paths[1]).read_bytes()[:2900])
    Path(paths[2]).unlink()
    fits.PrimaryHDU(np.zeros((8, 11), "uint16")).writeto(paths[2])
    Path(paths[3]).write_bytes(b"")
    block = _one(frame_table(paths, SHAPE))
    found = dict(block.frames())
    assert list(found) == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(found[4], images[4])
    told = {position: str(error) for position, error in found.items() if isinstance(error, FrameReadError)}
    assert set(told) == {1, 2, 3}
    assert "truncated: the data need 154 bytes, the file has 20" in told[1]
    assert "expected 7x11 pixels, the file has 8x11" in told[2]
    assert "empty" in told[3]
    with pytest.raises(FrameReadError, match="frame_001"):
        block.read()
    with pytest.raises(FrameReadError, match="expected pixels of type int16, the file has uint16"):
        _one(frame_table(paths, SHAPE, "int16")).read(0)


def test_streamed_images_do_not_share_memory(night: tuple[pd.DataFrame, np.ndarray]) -> None:
    images = [image for _, image in _one(night[0]).frames()]
    np.testing.assert_array_equal(np.stack(images), night[1])


def test_a_compressed_cube_is_inflated_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cube = np.random.default_rng(1).integers(0, 9, (6, *SHAPE)).astype("int16")
    fits.PrimaryHDU(cube).writeto(tmp_path / "cube.fits")
    path = tmp_path / "cube.fits.gz"
    path.write_bytes(gzip.compress((tmp_path / "cube.fits").read_bytes()))
    rewinds = []
    rewind = ByteStream._rewind
    monkeypatch.setattr(ByteStream, "_rewind", lambda self: (rewinds.append(self.path), rewind(self))[1])
    block = _one(frame_table([str(path)] * 6, SHAPE, "int16", planes=range(6)))
    np.testing.assert_array_equal(np.stack([image for _, image in block.frames()]), cube)
    np.testing.assert_array_equal(block.read(), cube)
    assert len(rewinds) == 2


def test_blocks_pickle_small_and_whole(night: tuple[pd.DataFrame, np.ndarray]) -> None:
    paths = [f"/nights/2024-01-01/240101g{number:09d}o.fits" for number in range(2000)]
    block = _one(frame_table(paths, SHAPE))
    packed = pickle.dumps(block)
    assert len(packed) < 30 * 2000
    again = pickle.loads(packed)
    assert (again.paths, again.key, again.shape, again.dtype, again.filter) == (
        block.paths,
        block.key,
        SHAPE,
        "uint16",
        "g",
    )
    assert again.meta.tobytes() == block.meta.tobytes()
    assert tokenize(again) == tokenize(block) != tokenize(block.select(slice(0, 1999)))
    assert len(pickle.loads(pickle.dumps(block.select([])))) == 0


def test_frames_of_several_types_share_one_that_holds_them(tmp_path: Path) -> None:
    images = [np.arange(12, dtype=kind).reshape(3, 4) + 60000 for kind in ("uint16", "float32", "uint16")]
    paths = []
    for number, image in enumerate(images):
        paths.append(tmp_path / f"{number}.fits")
        fits.writeto(paths[-1], image)
    frames = frame_table([str(path) for path in paths], (3, 4), "uint16")
    frames["dtype"] = ["uint16", "float32", "uint16"]
    (block,) = split_blocks(frames)
    assert block.dtype == "float32"
    assert np.array_equal(block.read(), np.stack(images).astype("f4"))


@pytest.mark.parametrize("keep", [0.4, 0.7, 0.97])
def test_damage_in_a_gzip_stream_is_never_read_as_pixels(tmp_path: Path, keep: float) -> None:
    rng = np.random.default_rng(8)
    plain = tmp_path / "a.fits"
    fits.writeto(plain, rng.poisson(100, (131, 149)).astype("u2"))
    whole = gzip.compress(plain.read_bytes())
    cut = int(keep * len(whole))
    packed = tmp_path / "a.fits.gz"
    for filler in (bytes(len(whole) - cut), rng.bytes(len(whole) - cut), b""):
        packed.write_bytes(whole[:cut] + filler)
        (block,) = split_blocks(frame_table([str(packed)], (131, 149), "uint16"))
        ((_, image),) = block.frames()
        assert isinstance(image, FrameReadError), keep
