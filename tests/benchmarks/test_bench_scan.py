"""The header scan against opening and reading the start of each file."""

import gzip
from datetime import datetime, timedelta
from io import BufferedReader, FileIO
from pathlib import Path

import pandas as pd
import pytest

from opticam_dask.io.frame_index import scan

START_BYTES = 5760
FIRST = datetime(2024, 1, 1, 3)


def copies(seed: str, folder: Path, n: int, wrap: bool) -> list[str]:
    """Make copies of a frame that differ in their time stamp alone."""
    raw, paths = Path(seed).read_bytes(), []
    at = raw.index(b"UT      =")
    folder.mkdir()
    for number in range(n):
        stamp = (FIRST + timedelta(seconds=number)).isoformat(" ", "milliseconds")
        file = raw[:at] + f"UT      = '{stamp} '".ljust(80).encode() + raw[at + 80 :]
        paths.append(str(folder / f"n{number:06d}.fits{'.gz' if wrap else ''}"))
        Path(paths[-1]).write_bytes(gzip.compress(file, 1) if wrap else file)
    return paths


def read_starts(paths: list[str]) -> int:
    """Open each file and read its first bytes."""
    total = 0
    for path in paths:
        with BufferedReader(FileIO(path)) as file:  # what open() makes of it
            total += len(file.read(START_BYTES))
    return total


@pytest.fixture(scope="session", params=["fits", "fits.gz"])
def files(request, night, tmp_path_factory):
    made = {}

    def some(n):
        if n not in made:
            (seed,) = night(1, (64, 64), binning=8, n_stars=3)
            made[n] = copies(seed, tmp_path_factory.mktemp("scan") / "night", n, request.param == "fits.gz")
        return made[n]

    return request.param, some


def test_scan(full, compare, files):
    ending, some = files
    paths = some(10_000 if full else 40)
    folder = Path(paths[0]).parent
    scan(folder)  # imports, and tables of the Earth's rotation
    line = compare(
        7,
        f"scan of {len(paths)} headers, .{ending} / open and read {START_BYTES} bytes of each",
        lambda: scan(folder),
        lambda: read_starts(paths),
        8.0,
        per=len(paths),
        rounds=5,
    )
    frames = scan(folder)
    assert frames["path"].tolist() == paths
    assert set(frames["status"]) == {"accepted"}
    assert line.ratio > 0


def test_second_scan(full, compare, files):
    ending, some = files
    paths = some(10_000 if full else 40)
    folder = Path(paths[0]).parent
    first = scan(folder)
    compare(
        7,
        f"second scan of {len(paths)} files, .{ending}, none changed / open and read {START_BYTES} bytes",
        lambda: scan(folder, previous=first),
        lambda: read_starts(paths),
        8.0,
        per=len(paths),
        rounds=5,
    )
    pd.testing.assert_frame_equal(scan(folder, previous=first), first)
