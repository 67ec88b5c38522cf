"""Files to native arrays: our reader against the better of astropy and fitsio on the same files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import fitsio
import numpy as np
import pytest
from astropy.io import fits

from opticam_dask.io.blocks import FrameBlock, split_blocks
from opticam_dask.testing.benchmark import Comparison, seconds
from opticam_dask.testing.fakes import frame_table

GOALS = {"none": 0.35, "gz": 0.3, "fz": 0.6}
NAMES = {"none": ".fits", "gz": ".fits.gz", "fz": ".fits.fz, Rice"}


def by_astropy(path: str, hdu: int) -> Any:
    with fits.open(path) as hdus:
        return np.ascontiguousarray(hdus[hdu].data, np.uint16)


def by_fitsio(path: str, hdu: int) -> Any:
    return fitsio.read(path, ext=hdu)


def block_of(paths: Sequence[str], shape: tuple[int, int], hdu: int) -> FrameBlock:
    (block,) = split_blocks(frame_table(paths, shape, hdu=hdu), frames_per_block=len(paths))
    return block


def each_frame(block: FrameBlock) -> None:
    for _, image in block.frames():
        if isinstance(image, Exception):
            raise image


def against_best(
    number: int,
    case: str,
    ours: Callable[[], Any],
    references: Sequence[Callable[[], Any]],
    goal: float,
    *,
    per: int,
    rounds: int,
) -> Comparison:
    """Compare in turns with the fastest of several ways: of all rounds, not of each."""
    turns = [[1e3 * seconds(way) / per for way in (ours, *references)] for _ in range(rounds + 1)][1:]
    best = min(range(1, len(turns[0])), key=lambda way: median(turn[way] for turn in turns))
    pairs = tuple((turn[0], turn[best]) for turn in turns)
    ours_ms, best_ms = (median(column) for column in zip(*pairs, strict=True))
    return Comparison(number, case, ours_ms, best_ms, goal, rounds=pairs)


@pytest.mark.parametrize("side", [512, 2048])
@pytest.mark.parametrize("wrapping", GOALS)
def test_read_and_decode(full, night, record, wrapping, side):
    n, shape = (max(6, 20 * 512 // side), (side, side)) if full else (3, (side // 8, side // 8 + 5))
    paths, hdu = night(n, shape, wrapping, n_stars=5), int(wrapping == "fz")
    block = block_of(paths, shape, hdu)
    for (_, image), path in zip(block.frames(), paths, strict=True):
        for other in (by_astropy(path, hdu), by_fitsio(path, hdu)):
            assert image.dtype == other.dtype == np.uint16
            np.testing.assert_array_equal(image, other)
    record(
        against_best(
            2,
            f"reading {NAMES[wrapping]} {side} x {side} / best of astropy and fitsio",
            lambda: each_frame(block),
            [lambda way=way: [way(path, hdu) for path in paths] for way in (by_astropy, by_fitsio)],
            GOALS[wrapping],
            per=n,
            rounds=9 if full else 1,
        )
    )
