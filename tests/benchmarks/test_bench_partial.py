"""Photometry of plain FITS files that reads only rows near sources, against reading whole frames."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from opticam_dask.io.blocks import FrameBlock, split_blocks
from opticam_dask.photometers import DefaultLocalBackground, OptimalPhotometer
from opticam_dask.testing.benchmark import Comparison
from opticam_dask.testing.fakes import frame_table
from opticam_dask.types import PsfModel

PSF = PsfModel(3.0, 2.5, 37.0)  # that of the simulated nights
COUNTS = Path("/proc/self/io")


@dataclass
class Pass:
    """A photometry pass over a block of frames."""

    block: FrameBlock
    xy: np.ndarray
    affine: np.ndarray
    photometer: OptimalPhotometer

    @property
    def partial(self) -> FrameBlock:
        """The same frames, read near sources only."""
        reach = np.full(len(self.block), self.photometer.sight(PSF))
        return self.block.reading_near(self.xy, self.affine, reach)

    def measure(self, block: FrameBlock) -> np.ndarray:
        """Rows of all frames."""
        rows = []
        for i, frame in block.exposures():
            places = self.xy @ self.affine[i, :, :2].T + self.affine[i, :, 2]
            rows.append(self.photometer.measure(frame, places, PSF))
        return np.stack(rows)

    def read(self, block: FrameBlock) -> None:
        """Read and decode, and no more."""
        for _, image in block.frames():
            assert isinstance(image, np.ndarray)


def pass_over(paths: list[str], shape: tuple[int, int], *, forced: bool) -> Pass:
    truth = pd.read_parquet(next(Path(paths[0]).parent.rglob("truth.parquet")))
    places = truth.pivot_table(index="frame", columns="star", values=["x", "y"])
    xy = places.loc[[0]].to_numpy().reshape(2, -1).T
    shift = (places - places.iloc[0]).to_numpy().reshape(len(places), 2, -1).mean(axis=2)
    affine = np.concatenate([np.broadcast_to(np.eye(2), (len(shift), 2, 2)), shift[:, :, None]], axis=2)
    (block,) = split_blocks(frame_table(paths, shape), frames_per_block=len(paths))
    photometer = OptimalPhotometer(forced=forced, local_background_estimator=DefaultLocalBackground())
    return Pass(block, xy, affine, photometer)


def bytes_read(function, *args) -> int:
    """Bytes that this process asks the operating system for meanwhile."""

    def count() -> int:
        return int(COUNTS.read_text().partition("rchar:")[2].split()[0])

    before, used = count(), len(COUNTS.read_text())
    function(*args)
    return count() - before - used


@pytest.mark.skipif(not COUNTS.exists(), reason="bytes are counted by Linux")
@pytest.mark.parametrize("forced", [True, False], ids=["forced", "re-centred"])
def test_rows_near_sources(full, night, record, compare, forced):
    n, shape = (24, (2048, 2048)) if full else (3, (1024, 96))
    work = pass_over(night(n, shape, "none", n_stars=10, binning=1), shape, forced=forced)
    whole, partial = work.block, work.partial
    np.testing.assert_array_equal(work.measure(whole), work.measure(partial))
    assert np.isfinite(work.measure(partial)["flux"]).mean() > 0.8
    taken, all_bytes = (bytes_read(work.measure, block) / n / 1e6 for block in (partial, whole))
    how = "forced" if forced else "re-centred"
    line = Comparison(14, f"bytes of 10 stars' rows ({how}) / whole frames", taken, all_bytes, 0.4, unit="MB")
    assert record(line).ratio < 1.0
    names = f"photometry of 10 stars ({how}), rows near them read"
    compare(
        14,
        f"{names} / reading whole frames",
        lambda: work.measure(partial),
        lambda: work.read(whole),
        0.8,
        per=n,
    )
    compare(
        14, f"{names} / the same, whole frames read", lambda: work.measure(partial),
        lambda: work.measure(whole), 0.8, per=n,
    )  # fmt: skip
    compare(
        14, f"reading rows near 10 stars ({how}) / reading whole frames", lambda: work.read(partial),
        lambda: work.read(whole), 0.8, per=n,
    )  # fmt: skip
