"""Shards: the bytes of a Zarr array, written and read without loss, and damage that is found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from opticam_dask.errors import InputError
from opticam_dask.io.indexing import axis_indices
from opticam_dask.io.zarr_store.layout import (
    ArrayLayout,
    array_folder,
    read_cameras,
    read_layout,
    shard_path,
    write_array,
    write_store,
)
from opticam_dask.io.zarr_store.shards import Shard, ShardError, decode_frame, encode_frame, write_shard

SHAPE = (301, 523)
CAMERA = "1:g'/x"


def layout_of(dtype: str, frames: int = 3) -> ArrayLayout:
    return ArrayLayout.of_frames(SHAPE, dtype, frames * SHAPE[0] * SHAPE[1] * np.dtype(dtype).itemsize)


def images_of(dtype: str, count: int = 2) -> np.ndarray:
    noise = np.random.default_rng(5).normal(100, 10, (count, *SHAPE))
    images = np.rint(noise).astype(dtype) if np.dtype(dtype).kind in "iu" else noise.astype(dtype)
    if images.dtype.kind == "f":
        bits = images.view(f"u{images.itemsize}")
        bits[:, 7, :20] = np.array(np.nan, dtype).view(bits.dtype) + np.arange(20, dtype=bits.dtype)
        images[:, 8, :2] = -0.0, -np.inf
    return images


def store_of(root: Path, images: np.ndarray, absent: tuple[int, ...] = ()) -> ArrayLayout:
    layout = layout_of(images.dtype.name)
    write_store(root, [CAMERA])
    write_array(root, CAMERA, layout, 4)
    tiles = [[] if i in absent else encode_frame(image, layout) for i, image in enumerate(images)]
    tiles += [[]] * (layout.frames_per_shard - len(tiles))
    path = shard_path(root, CAMERA, 0)
    path.parent.mkdir(parents=True)
    write_shard(path, tiles, layout)
    return layout


def read(shard: Shard, place: int, key: Any = ()) -> np.ndarray:
    rows, columns = axis_indices(key, SHAPE)
    out = np.empty((rows.size, columns.size), shard_dtype(shard))
    shard.read_into(out, place, rows, columns)
    return out


def shard_dtype(shard: Shard) -> str:
    return shard._layout.dtype


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "uint32", "float32", "float64"])
def test_zarr_and_we_read_the_very_bits(tmp_path: Path, dtype: str) -> None:
    images = images_of(dtype)
    root = tmp_path / "night.zarr"
    layout = store_of(root, images)
    assert read_layout(root, CAMERA) == (layout, 4)
    assert read_cameras(root) == [CAMERA]
    ours = decode_frame(encode_frame(images[0], layout), layout)
    assert ours.tobytes() == images[0].tobytes()
    with Shard(shard_path(root, CAMERA, 0), layout) as shard:
        assert all(read(shard, i).tobytes() == images[i].tobytes() for i in range(2))
    array = zarr.open_array(array_folder(root, CAMERA), mode="r")
    assert array[:2].tobytes() == images.tobytes()
    assert array.shape == (4, *SHAPE)
    fill = array[3]
    assert np.isnan(fill).all() if fill.dtype.kind == "f" else not fill.any()


def test_zarr_lists_the_store_without_a_warning(tmp_path: Path) -> None:
    root = tmp_path / "night.zarr"
    store_of(root, images_of("uint16"))
    (root / "files" / "anything").write_text("x")
    (camera,) = [name for name, _ in zarr.open_group(root, mode="r").groups()]
    names = [name for name, _ in zarr.open_group(root, mode="r").members(max_depth=None)]
    assert sorted(names) == sorted([camera, f"{camera}/image", "files"])
    assert zarr.open_group(root, mode="r")[f"{camera}/image"].metadata.dimension_names == ("time", "y", "x")


positions = st.one_of(
    st.slices(300),
    st.integers(0, 300),
    st.lists(st.integers(0, 300), max_size=5),
)


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> tuple[Shard, np.ndarray]:
    images, root = images_of("uint16"), tmp_path_factory.mktemp("s") / "night.zarr"
    return Shard(shard_path(root, CAMERA, 0), store_of(root, images)), images


@settings(max_examples=80, deadline=None)
@given(rows=positions, columns=positions)
def test_any_part_is_that_of_the_frame(shard: tuple[Shard, np.ndarray], rows: Any, columns: Any) -> None:
    opened, images = shard
    down, along = axis_indices((rows, columns), SHAPE)
    expected = images[1][down.positions()][:, along.positions()]
    assert np.array_equal(read(opened, 1, (rows, columns)), expected.reshape(down.size, along.size))


def test_only_tiles_that_hold_the_part_are_read(shard: tuple[Shard, np.ndarray], monkeypatch: Any) -> None:
    opened, _ = shard
    sizes: list[int] = []
    whole = opened._read
    monkeypatch.setattr(opened, "_read", lambda start, size: sizes.append(size) or whole(start, size))
    read(opened, 0)
    assert len(sizes) == 1
    read(opened, 0, (slice(0, 20), slice(0, 20)))
    assert len(sizes) == 2
    assert sizes[1] < 0.6 * sizes[0]


@pytest.mark.parametrize("where", [0.01, 0.3, 0.7, 0.99])
def test_a_flipped_byte_costs_the_frame_it_is_in(tmp_path: Path, where: float) -> None:
    images = images_of("uint16", 3)
    layout = store_of(tmp_path / "night.zarr", images)
    path = shard_path(tmp_path / "night.zarr", CAMERA, 0)
    content = bytearray(path.read_bytes())
    with Shard(path, layout) as shard:
        ends = (shard._index.sum(axis=2).max(axis=1)).tolist()
    at = int(where * ends[-1])
    content[at] ^= 0x10
    path.write_bytes(content)
    hit = next(place for place, end in enumerate(ends) if at < end)
    with Shard(path, layout) as shard:
        for place in range(3):
            if place == hit:
                with pytest.raises(ShardError, match="checksum"):
                    read(shard, place)
            else:
                assert np.array_equal(read(shard, place), images[place])


def test_a_damaged_index_and_a_truncated_shard_are_told(tmp_path: Path) -> None:
    layout = store_of(tmp_path / "night.zarr", images_of("uint16"))
    path = shard_path(tmp_path / "night.zarr", CAMERA, 0)
    content = path.read_bytes()
    for bad in (content[:-1], content[:40], b"", content[:-20] + b"\1" + content[-19:]):
        path.write_bytes(bad)
        with pytest.raises(ShardError, match="truncated or damaged"):
            Shard(path, layout)
    path.unlink()
    with pytest.raises(ShardError, match="cannot be opened"):
        Shard(path, layout)


def test_an_absent_frame_has_no_pixels(tmp_path: Path) -> None:
    layout = store_of(tmp_path / "night.zarr", images_of("uint16"), absent=(0,))
    with Shard(shard_path(tmp_path / "night.zarr", CAMERA, 0), layout) as shard:
        assert [shard.holds(place) for place in range(3)] == [False, True, False]
        assert shard.packed(0) == []
        assert len(shard.packed(1)) == layout.tiles[0] * layout.tiles[1]


def test_an_array_of_another_kind_is_refused(tmp_path: Path) -> None:
    folder = array_folder(tmp_path, CAMERA)
    with pytest.raises(InputError, match="is not the array"):
        read_layout(tmp_path, CAMERA)
    zarr.create_array(folder, shape=(4, *SHAPE), chunks=(1, *SHAPE), shards=(2, *SHAPE), dtype="u2")
    with pytest.raises(InputError, match="another program"):
        read_layout(tmp_path, CAMERA)


@pytest.mark.parametrize(
    ("length", "tile"), [(1, 1), (130, 130), (512, 256), (500, 250), (2048, 256), (400, 200)]
)
def test_tiles_fit_the_frame(length: int, tile: int) -> None:
    layout = ArrayLayout.of_frames((length, 3), "uint16", 1)
    assert layout.tile[0] == tile
    assert layout.frames_per_shard == 1
    assert layout.tiles[0] * tile - length < layout.tiles[0]
