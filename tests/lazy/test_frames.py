"""Lazy stacks: nothing is computed while building, and only what is asked for is read."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import dask
import dask.array as da
import numpy as np
import pytest
from astropy.io import fits
from dask.array.utils import assert_eq
from dask.base import tokenize
from hypothesis import given, settings
from hypothesis import strategies as st

from opticam_dask.errors import InputError
from opticam_dask.io import blocks as blocks_module
from opticam_dask.io.blocks import FrameBlock, split_blocks
from opticam_dask.lazy.chunks import join_tasks, map_blocks_of_frames
from opticam_dask.lazy.frames import FrameArray, frame_array, place_frames
from opticam_dask.testing.fakes import frame_table
from opticam_dask.testing.scheduler import CountingScheduler

COUNT, SHAPE = 13, (7, 11)
IMAGES = np.random.default_rng(5).integers(0, 60000, (COUNT, *SHAPE)).astype("uint16")


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("frames")
    for number, image in enumerate(IMAGES):
        fits.PrimaryHDU(image).writeto(folder / f"{number:02d}.fits")
    return [str(path) for path in sorted(folder.iterdir())]


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, int]]]:
    """Names of the files read, with the number of pixels, in order."""
    seen: list[tuple[str, int]] = []
    read = blocks_module.read_frame

    def counted(file: Any, shape: Any, out: Any, *args: Any) -> None:
        seen.append((Path(file.path).stem, out.size))
        read(file, shape, out, *args)

    monkeypatch.setattr(blocks_module, "read_frame", counted)
    with dask.config.set(scheduler="synchronous"):
        yield seen


def _blocks(paths: list[str], size: int = 4) -> list[FrameBlock]:
    return split_blocks(frame_table(paths, SHAPE), frames_per_block=size)


@pytest.mark.parametrize("size", [1, 4, 5, 13, 64])
def test_stack_equals_the_frames_with_one_task_per_block(paths: list[str], size: int) -> None:
    with dask.config.set(scheduler=CountingScheduler()):
        lazy = frame_array(_blocks(paths, size))
    assert_eq(lazy, IMAGES)
    assert len(lazy.dask) == lazy.npartitions == -(-COUNT // size)


@settings(max_examples=40, deadline=None)
@given(data=st.data(), size=st.integers(1, 14))
def test_any_slice_of_any_chunking_equals_numpy(paths: list[str], data: st.DataObject, size: int) -> None:
    key = tuple(
        data.draw(st.one_of(st.integers(-length, length - 1), st.slices(length))) for length in IMAGES.shape
    )
    np.testing.assert_array_equal(
        frame_array(_blocks(paths, size))[key].compute(scheduler="sync"), IMAGES[key]
    )


@pytest.mark.parametrize(
    ("key", "files", "pixels"),
    [
        (5, ["05"], 77),
        ((5, 3), ["05"], 11),
        ((slice(3, 6), slice(2, 4), slice(None, None, 2)), ["03", "04", "05"], 12),
        ((slice(None, None, 6),), ["00", "06", "12"], 77),
        ((-1, 0, 0), ["12"], 1),
    ],
)
def test_slices_reach_the_reader(
    paths: list[str], reads: list[tuple[str, int]], key: Any, files: list[str], pixels: int
) -> None:
    lazy = frame_array(_blocks(paths))[key]
    assert reads == []
    np.testing.assert_array_equal(lazy.compute(), IMAGES[key])
    assert sorted(reads) == [(name, pixels) for name in files]  # blocks come in any order


@settings(max_examples=60, deadline=None)
@given(data=st.data(), size=st.integers(1, 14))
def test_slices_of_slices_equal_numpys(paths: list[str], data: st.DataObject, size: int) -> None:
    lazy, expected = frame_array(_blocks(paths, size)), IMAGES
    for _ in range(3):
        if expected.size:
            key = tuple(
                data.draw(
                    st.one_of(st.slices(n), st.lists(st.integers(-n, n - 1), min_size=1))
                    if not axis
                    else st.slices(n)
                )
                for axis, n in enumerate(expected.shape)
            )
            lazy, expected = lazy[key], expected[key]
    np.testing.assert_array_equal(lazy.compute(scheduler="sync"), expected)
    assert lazy.dtype == expected.dtype
    assert len(dict(lazy.dask)) <= max(len(lazy.chunks[0]), COUNT) + 2 or not expected.size


def test_slices_of_slices_reach_the_reader(paths: list[str], reads: list[tuple[str, int]]) -> None:
    lazy = frame_array(_blocks(paths))[2:12][:, 1:4][::3][[2, 0]][0]
    np.testing.assert_array_equal(lazy.compute(), IMAGES[2:12][:, 1:4][::3][[2, 0]][0])
    assert reads == [("08", 33)]


def test_indexing_dask_alone_knows_still_works(paths: list[str]) -> None:
    lazy = frame_array(_blocks(paths))
    np.testing.assert_array_equal(lazy[None, 3:5].compute(scheduler="sync"), IMAGES[None, 3:5])
    np.testing.assert_array_equal(lazy[lazy > 50000].compute(scheduler="sync"), IMAGES[IMAGES > 50000])
    assert lazy[4:4].compute(scheduler="sync").shape == (0, *SHAPE)
    with pytest.raises(IndexError):
        lazy[COUNT]


def test_slices_reach_the_reader_before_arithmetic(paths: list[str], reads: list[tuple[str, int]]) -> None:
    lazy = (frame_array(_blocks(paths))[6].astype("float64") - 1.5).mean()
    assert lazy.compute() == pytest.approx(IMAGES[6].mean() - 1.5)
    assert [name for name, _ in reads] == ["06"]


@pytest.mark.parametrize("index", [[11, 2, 3, 2], np.arange(COUNT) % 5 == 1, [], [-1]])
def test_taking_frames_reads_only_those(paths: list[str], reads: list[tuple[str, int]], index: Any) -> None:
    wanted = np.arange(COUNT)[np.asarray(index, int) if not len(index) else np.asarray(index)]
    lazy = frame_array(_blocks(paths))[np.asarray(index, int) if not len(index) else index]
    np.testing.assert_array_equal(lazy.compute(), IMAGES[wanted])
    assert sorted(name for name, _ in reads) == sorted(f"{number:02d}" for number in wanted)


def test_taking_frames_of_a_processed_stack_gives_the_same(paths: list[str]) -> None:
    lazy = frame_array(_blocks(paths)) + 1
    assert not isinstance(lazy, FrameArray)
    np.testing.assert_array_equal(lazy[[11, 2]].compute(), IMAGES[[11, 2]] + 1)


@settings(max_examples=40, deadline=None)
@given(
    index=st.lists(st.integers(-1, COUNT - 1), min_size=1, max_size=20),
    size=st.integers(1, 14),
    chunk=st.integers(1, 9),
    processed=st.booleans(),
)
def test_placed_frames_stand_where_they_should(
    paths: list[str], index: list[int], size: int, chunk: int, processed: bool
) -> None:
    chunks = [min(chunk, len(index) - start) for start in range(0, len(index), chunk)]
    stack = frame_array(_blocks(paths, size))
    lazy = place_frames(
        [stack[:] + np.uint16(0) if processed else stack],
        [np.array(index)],
        chunks,
        np.dtype("float32" if -1 in index else "uint16"),
    )[0]
    expected = IMAGES[index].astype("float32" if -1 in index else "uint16")
    if -1 in index:
        expected[np.array(index) < 0] = np.nan
    assert_eq(lazy, expected, scheduler="sync", equal_nan=True)
    assert lazy.chunks[0] == tuple(chunks)
    np.testing.assert_array_equal(lazy[-1, 2].compute(scheduler="sync"), expected[-1, 2])


def test_placed_frames_are_sliced_in_the_reader(paths: list[str], reads: list[tuple[str, int]]) -> None:
    lazy = place_frames([frame_array(_blocks(paths))], [np.array([3, -1, 5, 6])], [4], np.dtype("f8"))[0]
    assert np.isnan(lazy[1].compute()).all()
    assert reads == []
    np.testing.assert_array_equal(lazy[2, 1:3].compute(), IMAGES[5, 1:3])
    assert reads == [("05", 22)]


def test_frames_that_do_not_go_together_are_told(paths: list[str]) -> None:
    other = split_blocks(frame_table(paths, (3, 4)))
    with pytest.raises(InputError, match="several shapes"):
        frame_array([*_blocks(paths), *other])
    with pytest.raises(InputError, match="no block"):
        frame_array([])


def test_names_are_deterministic_and_tell_stacks_apart(paths: list[str]) -> None:
    with dask.config.set({"tokenize.ensure-deterministic": True}):
        assert (
            frame_array(_blocks(paths)).name == frame_array(pickle.loads(pickle.dumps(_blocks(paths)))).name
        )
        assert len({frame_array(_blocks(paths, size)).name for size in (3, 4)}) == 2
        first, second = (map_blocks_of_frames(_describe, _blocks(paths), suffix=text) for text in "ab")
        assert first.name != second.name
        again = map_blocks_of_frames(_describe, _blocks(paths), suffix="a")
        assert tokenize(again) == tokenize(first)
        assert join_tasks([first, second]).name == join_tasks([again, second]).name
        assert join_tasks([first, second]).name != join_tasks([second, first]).name


def _describe(block: FrameBlock, *_: Any, suffix: str = "") -> tuple[tuple[str, str, int, int], str]:
    return block.key, suffix


def test_blocks_are_mapped_in_order_and_lazily(paths: list[str]) -> None:
    blocks = _blocks(paths, 3)
    with dask.config.set(scheduler=CountingScheduler()):
        lazy = map_blocks_of_frames(_describe, blocks, suffix="z")
    assert (lazy.shape, lazy.dtype, lazy.npartitions) == ((5,), object, 5)
    assert list(lazy.compute(scheduler="sync")) == [(block.key, "z") for block in blocks]


def test_joined_tasks_keep_their_order_and_add_none(paths: list[str]) -> None:
    blocks = _blocks(paths, 3)
    parts = [map_blocks_of_frames(_describe, blocks[::step], suffix=str(step)) for step in (1, 2, -1)]
    joined = join_tasks([*parts, map_blocks_of_frames(_describe, []), parts[0]])
    assert len(dict(joined.dask)) == sum(map(len, parts)) + len(blocks) + 3
    found = [item for part in [*parts, parts[0]] for item in part.compute(scheduler="sync")]
    assert list(joined.compute(scheduler="sync")) == found
    assert list(joined[4:6].compute(scheduler="sync")) == found[4:6]
    nothing = join_tasks([map_blocks_of_frames(_describe, [])] * 2)
    assert nothing.shape == nothing.compute(scheduler="sync").shape == (0,)


@pytest.mark.parametrize("result", [None, [1, 2], np.arange(3), {"a": 1}])
def test_a_function_may_return_anything(paths: list[str], result: Any) -> None:
    found = map_blocks_of_frames(lambda block: result, _blocks(paths)).compute(scheduler="sync")
    assert [type(item) for item in found] == [type(result)] * 4


def _optimised(array: da.Array) -> dict[Any, Any]:
    return dict(dask.optimize(array)[0].dask)


def test_tasks_grow_with_blocks_and_constants_are_held_once(paths: list[str]) -> None:
    constant = np.arange(200_000.0)
    sizes = {}
    for size in (13, 1):
        lazy = map_blocks_of_frames(_describe, _blocks(paths, size), constant)
        graph = _optimised(lazy)
        assert len(graph) <= lazy.npartitions + 1
        sizes[lazy.npartitions] = len(cloudpickle.dumps(graph))
    assert sizes[1] > constant.nbytes
    assert sizes[13] < sizes[1] + 13 * 5000


def test_a_hundred_thousand_frames_plan_quickly_and_pack_small() -> None:
    table = frame_table([f"/data/night/240101g{number:09d}o.fits" for number in range(100_000)], (512, 512))
    blocks = split_blocks(table)
    assert len(blocks) == 391
    with dask.config.set(scheduler=CountingScheduler()):
        lazy = map_blocks_of_frames(_describe, blocks)
    assert len(cloudpickle.dumps(dict(lazy.dask))) < 40 * 100_000
