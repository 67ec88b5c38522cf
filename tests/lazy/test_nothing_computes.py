"""Nothing computes in the lazy layer, nor in what hands out lazy things; tasks grow with blocks only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask
import numpy as np
import pyarrow as pa
import pytest

import opticam_dask as opticam
from opticam_dask.io.blocks import split_blocks
from opticam_dask.io.cube import open_observation, stack_cameras
from opticam_dask.lazy.chunks import join_tasks, map_blocks_of_frames
from opticam_dask.lazy.frames import frame_array
from opticam_dask.lazy.stack import merge_tree
from opticam_dask.schema import LIGHT_CURVES
from opticam_dask.tables.parts import write_part
from opticam_dask.testing.fakes import frame_table
from opticam_dask.testing.scheduler import CountingScheduler

# Files that do not exist: reading a single pixel would fail too.
PATHS = [f"nowhere/{number}.fits" for number in range(60)]


def refuse(*_: Any) -> Any:
    raise AssertionError("called while the graph was built")


def blocks(size: int) -> list[Any]:
    return split_blocks(frame_table(PATHS, (7, 11), "uint16"), frames_per_block=size)


LAZY = {
    "map_blocks_of_frames": lambda some: map_blocks_of_frames(refuse, some),
    "join_tasks": lambda some: join_tasks([map_blocks_of_frames(refuse, some)] * 2),
    "merge_tree": lambda some: merge_tree(map_blocks_of_frames(refuse, some), refuse),
    "frame_array": frame_array,
}


@pytest.mark.parametrize("function", LAZY.values(), ids=LAZY.keys())
def test_lazy_functions_build_graphs_only(function: Any) -> None:
    with dask.config.set(scheduler=CountingScheduler(0)):
        lazy = function(blocks(3))
        assert len(dict(lazy.__dask_graph__())) <= 6 * 20
        # Ten times as many frames in as many blocks make as many tasks.
        few = function(blocks(6))
        assert len(dict(few.__dask_graph__())) < len(dict(lazy.__dask_graph__()))


def test_cubes_and_stacks_are_lazy() -> None:
    frames = frame_table(PATHS, (7, 11), "uint16", camera="1:g")
    with dask.config.set(scheduler=CountingScheduler(0)):
        night = open_observation(frames=frames)
        image = night["1:g"]["image"]
        assert image.isel(time=3).shape == (7, 11)
        assert stack_cameras(night).shape == (1, 60, 7, 11)
    with pytest.raises(opticam.errors.FrameReadError, match="nowhere"):
        image.isel(time=3).compute()


def test_light_curves_open_lazily(tmp_path: Path) -> None:
    text = {"night": "2024-01-01", "camera": "1:g", "filter": "g"}
    columns = [pa.array([text.get(f.name, 0)], f.type) for f in LIGHT_CURVES]
    table = pa.table(columns, schema=LIGHT_CURVES)
    write_part(table, tmp_path / "lcs/optimal/light_curves", ("2024-01-01", "1:g", 0, 1))
    with dask.config.set(scheduler=CountingScheduler(0)):
        lazy = opticam.open_light_curves(tmp_path)
        assert list(lazy.columns)[:3] == ["night", "camera", "filter"]
    assert np.array_equal(lazy["source"].compute(), [0])
