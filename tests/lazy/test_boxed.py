"""Results of tasks: one object, whose size is known and which reaches another process."""

import numpy as np
import pytest
from dask.sizeof import sizeof
from distributed.protocol import deserialize, serialize

from opticam_dask.catalog.tracking import FRAME_ROW, Partial
from opticam_dask.kernels.stack import Stack
from opticam_dask.lazy.boxed import Boxed, boxed
from opticam_dask.lazy.chunks import map_blocks_of_frames
from opticam_dask.lazy.stack import merge_tree

SHAPE = (70, 90)
BYTES = 20 * SHAPE[0] * SHAPE[1]


def partial(number: int = 3) -> Partial:
    return Partial(np.zeros(number, FRAME_ROW), {}, Stack.empty(SHAPE))


def first(parts):
    return parts[0]


def test_dask_knows_the_size_of_a_partial_stack():
    size = sizeof(boxed(partial()))
    assert BYTES < size < BYTES + 3 * FRAME_ROW.itemsize + 200
    assert sizeof(boxed(None)) < 100


@pytest.mark.parametrize("through_a_tree", [False, True])
def test_what_tasks_return_is_boxed(through_a_tree):
    tasks = map_blocks_of_frames(partial, [1, 2, 3])
    results = merge_tree(tasks, first) if through_a_tree else tasks
    chunk = results.blocks[0].compute(scheduler="synchronous")
    assert isinstance(chunk, Boxed)
    assert sizeof(chunk) > BYTES
    assert isinstance(chunk.item(), Partial)


def test_a_box_reaches_another_process_as_it_is():
    header, frames = serialize(boxed(partial()))
    copy = deserialize(header, frames)
    assert isinstance(copy, Boxed)
    assert sizeof(copy) == sizeof(boxed(partial()))
    assert copy.item().stack.total.shape == SHAPE
