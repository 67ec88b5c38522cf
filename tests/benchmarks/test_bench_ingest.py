"""A store against the files it was made from: size, reading, photometry, and reading near stars only."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from opticam_dask.ingestion import ingest
from opticam_dask.io.blocks import split_blocks
from opticam_dask.io.frame_index import accepted, scan
from opticam_dask.io.zarr_store import shards
from opticam_dask.photometers import DefaultLocalBackground, OptimalPhotometer
from opticam_dask.shipping import by_value
from opticam_dask.tables.light_curves import AlignedBlock, PhotometryJob, PhotometryPlan, measure_block
from opticam_dask.tables.source_times import SourceClock
from opticam_dask.testing.benchmark import Comparison
from opticam_dask.types import PsfModel

PSF = PsfModel(3.0, 2.5, 37.0)
COMPRESSIONS = ("none", "gz", "fz")


def scale_of(full):
    """Number of frames, their shape and number of stars."""
    return (16, (2048, 2048), 30) if full else (2, (520, 787), 4)


def folder_of(paths):
    return Path(paths[0]).parent


@pytest.fixture
def store(full, night, tmp_path_factory):
    """Store of a night, and the night: ``store(n_stars)``."""

    def make(n_stars):
        n, shape, _ = scale_of(full)
        paths = night(n, shape, n_stars=n_stars)
        root = folder_of(paths).with_suffix(".zarr")
        if not root.exists():
            ingest(folder_of(paths), root, cluster="threads", number_of_processors=1, verbose=False)
        return root, folder_of(paths)

    return make


def a_block(source):
    """Block of all frames of a source."""
    rows = accepted(scan(source))
    (block,) = split_blocks(rows, frames_per_block=len(rows))
    return block


def stars(folder):
    """Places of the stars in the first frame."""
    truth = pd.read_parquet(folder / "truth.parquet")
    return truth.loc[truth["frame"] == truth["frame"].min(), ["x", "y"]].to_numpy()


def read_all(block):
    """Read and decode the frames."""
    for _, image in block.frames():
        assert not isinstance(image, Exception), image


def the_pass(block, xy, folder, *, partial=True):
    """What a worker does with a block."""
    n, unknown = len(block), np.full(len(xy), np.nan)
    shipped = by_value(OptimalPhotometer(local_background_estimator=DefaultLocalBackground()))
    plan = PhotometryPlan(
        xy=xy,
        source=np.arange(1, len(xy) + 1, dtype=np.int32),
        blended=np.zeros(len(xy), bool),
        background=None,
        box_size=64,
        hot=np.empty(0, np.int64),
        jobs=(PhotometryJob("optimal", folder, shipped, PSF, PSF, False, {}),),
        clock=SourceClock(unknown, unknown),
        unit="adu",
        partial_reads=partial,
    )
    shapes = np.tile([PSF.semimajor_sigma, PSF.semiminor_sigma, PSF.orientation], (n, 1))
    affine = np.tile(np.eye(2, 3), (n, 1, 1))
    aligned = AlignedBlock(block, affine, np.full(n, PSF.fwhm), shapes, np.zeros(n, np.int32), (0,))
    return lambda: measure_block(aligned, plan)


def rows_of(folder):
    return pd.concat([pd.read_parquet(path) for path in sorted(folder.rglob("part-*.parquet"))])


@pytest.mark.parametrize("partial", [True, False])
def test_pass_over_a_store(full, compare, store, tmp_path, partial):
    root, folder = store(scale_of(full)[2])
    block, xy = a_block(root), stars(folder)
    work = the_pass(block, xy, tmp_path / "store", partial=partial)
    work()
    the_pass(a_block(folder), xy, tmp_path / "files")()
    pd.testing.assert_frame_equal(rows_of(tmp_path / "store"), rows_of(tmp_path / "files"), check_exact=True)
    what = "tiles near stars read" if partial else "whole frames read"
    case = f"photometry pass, {len(xy)} stars, {what} / our reader alone, Zarr, {block.shape[0]} px"
    compare(1, case, work, lambda: read_all(block), 1.3, per=len(block), rounds=9)


def test_reading_near_stars(full, compare, record, store, tmp_path, monkeypatch):
    root, folder = store(10 if full else 1)
    block, xy = a_block(root), stars(folder)
    read = []
    real = shards.os.preadv
    monkeypatch.setattr(shards.os, "preadv", lambda *given: read.append(real(*given)) or read[-1])
    work = the_pass(block, xy, tmp_path)
    work()
    near = sum(read)
    read.clear()
    read_all(block)
    whole = sum(read)
    monkeypatch.undo()
    assert near < whole
    case = f"photometry of {len(xy)} stars, tiles near them / whole frames, Zarr, {block.shape[0]} px"
    megabytes = 1e-6 / len(block)
    record(Comparison(14, f"bytes: {case}", near * megabytes, whole * megabytes, 0.4, unit="MB"))
    compare(14, f"time: {case}", work, lambda: read_all(block), 0.8, per=len(block), rounds=9)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_store_against_files(full, compare, record, store, night, compression):
    n, shape, n_stars = scale_of(full)
    root, _ = store(n_stars)
    folder = folder_of(night(n, shape, compression, n_stars=n_stars))
    stored, files = a_block(root), a_block(folder)
    for (_, ours), (_, theirs) in zip(stored.frames(), files.frames(), strict=True):
        assert np.array_equal(ours, theirs)
    name = {"none": ".fits", "gz": ".fits.gz", "fz": ".fits.fz"}[compression]
    sizes = [
        sum(path.stat().st_size for path in where.rglob("*") if path.is_file() and path.suffix != ".parquet")
        for where in (root, folder)
    ]
    case = f"Zarr / {name}, {shape[0]} px"
    record(Comparison(2, f"size: {case}", *(size / n / 1e6 for size in sizes), np.inf, unit="MB"))
    compare(2, f"reading: {case}", lambda: read_all(stored), lambda: read_all(files), np.inf, per=n)


def test_ingest_against_reading(full, compare, night, tmp_path):
    n, shape, n_stars = scale_of(full)
    folder = folder_of(night(n, shape, "gz", n_stars=n_stars))
    block, made = a_block(folder), []

    def work():
        made.append(tmp_path / f"{len(made)}.zarr")
        ingest(folder, made[-1], cluster="threads", number_of_processors=1, verbose=False)

    case = f"ingest, verified and on disk / reading, .fits.gz, {shape[0]} px"
    compare(2, case, work, lambda: read_all(block), np.inf, per=n, rounds=3)
    read_all(a_block(made[-1]))
