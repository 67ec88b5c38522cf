"""A block that fails for good costs only its frames, is told, and is tried again by the next run."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import opticam_dask as opticam
from opticam_dask.catalog import tracking
from opticam_dask.cli.verify import command as verify_command
from opticam_dask.errors import BusyError, OpticamError
from opticam_dask.lazy.chunks import map_blocks_of_frames
from opticam_dask.lazy.outcomes import Failure, going_on
from opticam_dask.runner import run_tasks
from opticam_dask.simulate import CameraSetup
from opticam_dask.tables import light_curves
from opticam_dask.tables.failures import failed_blocks
from opticam_dask.tables.lock import NAME
from opticam_dask.tables.store import dataset_root
from opticam_dask.tables.verify_reduction import verify

PHOTOMETER = opticam.AperturePhotometer(3.0, forced=True, aperture_correction=False)
FAILED = int(opticam.Flag.BLOCK_FAILED)


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("night")
    scene = opticam.Scene(
        n_frames=12,
        shape=(83, 117),
        n_stars=4,
        flux_range=(2e4, 6e4),
        semimajor_sigma=2.1,
        semiminor_sigma=1.6,
        orientation=-28.0,
        min_separation_px=20.0,
        cameras=(CameraSetup(filter="g"), CameraSetup(filter="r")),
        compression="none",
        seed=8,
    )
    opticam.simulate_night(scene, folder)
    return folder


def reduce(night: Path, out: Path, compact_from: int = 2, **more: Any) -> Any:
    settings = {"opticam.frames-per-block": 3, "opticam.compact-from": compact_from, "opticam.retries": 1}
    with (
        dask.config.set(settings),
        opticam.Reducer(out, night, verbose=False, show_plots=False, cluster="threads") as reducer,
    ):
        reducer.create_catalogs(**more)
        return reducer.photometry(PHOTOMETER, **more)


def results(out: Path) -> dict[str, bytes]:
    """Light curves and catalogues, but for figures."""
    paths = [*(out / "lcs").rglob("*"), *(out / "cat").rglob("*"), out / "alignment.parquet"]
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in paths
        if path.is_file() and path.suffix != ".pdf"
    }


@pytest.fixture(scope="module")
def undisturbed(night: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed")
    reduce(night, out)
    return out


def failing(function: Callable[..., Any], number: int, tries: list[int]) -> Callable[..., Any]:
    """A function of a frame and its block that fails for one frame of camera 1:g, and for all if it is -1."""

    def fails(frame: Any, block: Any, i: int, *rest: Any) -> Any:
        own = int(block.frames.meta["frame"][i])
        if number < 0 or (block.frames.camera, own) == ("1:g", number):
            tries.append(own)
            raise ZeroDivisionError(f"frame {own} of {block.frames.camera}")
        return function(frame, block, i, *rest)

    return fails


def test_a_failing_block_gives_flagged_rows_and_the_next_run_makes_it_good(
    night: Path, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, tries = tmp_path / "out", list[int]()
    with monkeypatch.context() as patch:
        patch.setattr(light_curves, "_measure_frame", failing(light_curves._measure_frame, 4, tries))
        summary = reduce(night, out)
        assert len(tries) == 2
        failed = summary[summary["failed"] != ""]
        assert failed["rows"].tolist() == [12]
        assert summary["rows"].sum() == 96
        log = (out / "opticam.log").read_text()
        assert "1:g: night " in log
        assert "frames 3 to 5 failed on all tries (ZeroDivisionError: frame 4 of 1:g)" in log
        assert "run again" in log
        curve = opticam.light_curve(out, camera="1:g", source=1)
        spoilt = (curve["flags"] & FAILED) != 0
        assert curve["frame"][spoilt].tolist() == [3, 4, 5]
        assert np.array_equal(curve["flux"].isna(), spoilt)
        assert np.isfinite(curve["MJD"]).all()
        # it is tried again, and fails again, for nothing but its own block
        again = reduce(night, out)
        assert again["key"].tolist() == failed["key"].tolist()
        assert len(tries) == 4
        (block,) = failed_blocks(out)
        assert (block.start, block.stop, block.label) == (3, 6, PHOTOMETER.label)
        assert [one.kind for one in verify(out)] == ["failed"]
        # a camera with such a part waits to be merged
        assert len(list(dataset_root(out, PHOTOMETER.label).rglob("camera=1*/*.parquet"))) == 4
    again = reduce(night, out)
    assert again["rows"].sum() == 12
    assert results(out) == results(undisturbed)
    assert verify(out) == []


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def zeroed(path: Path) -> None:
    path.write_bytes(bytes(len(path.read_bytes())))


def exchanged(path: Path) -> None:
    path.write_bytes(path.with_name("part-00000006-00000009.parquet").read_bytes())


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[pq.ParquetFile(path).metadata.row_group(0).column(7).data_page_offset + 40] ^= 16
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [cut, zeroed, exchanged, flipped])
def test_a_spoilt_part_is_found_and_only_its_block_is_measured_again(
    night: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    out = tmp_path / "out"
    reduce(night, out, compact_from=0)
    whole = results(out)
    path = next(dataset_root(out, PHOTOMETER.label).rglob("camera=2*/part-00000003-*.parquet"))
    damage(path)
    found = verify(out)
    assert [one.kind for one in found] == ["foreign" if damage is exchanged else "torn", "missing"]
    if damage is flipped:
        # a footer tells nothing of it: whoever doubts asks verify
        assert len(reduce(night, out, compact_from=0)) == 0
        done = CliRunner().invoke(verify_command, [str(out), "--repair"])
        assert (done.exit_code, path.exists()) == (1, False)
        assert f"removed {path}" in done.output
    again = reduce(night, out, compact_from=0)
    assert again["rows"].tolist() == [12]
    assert results(out) == whole
    done = CliRunner().invoke(verify_command, [str(out)])
    assert (done.exit_code, "all rows are there" in done.output) == (0, True)


def test_where_every_block_fails_the_run_stops_with_the_reason(
    night: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(light_curves, "_measure_frame", failing(light_curves._measure_frame, -1, []))
    with pytest.raises(OpticamError, match=r"photometry.*none succeeded.*ZeroDivisionError"):
        reduce(night, tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.parquet"))[2:]
    assert not (tmp_path / "out" / NAME).exists()


def test_a_block_that_cannot_be_followed_gives_rows_of_alignment_that_say_so(
    night: Path, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, track = tmp_path / "out", tracking._track_block

    def fails(block: Any, *rest: Any) -> Any:
        if (block.camera, block.start) == ("2:r", 6):
            raise MemoryError("too much")
        return track(block, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(tracking, "_track_block", fails)
        reduce(night, out)
    rows = opticam.frame_quality(out)
    lost = rows[rows["reason"].str.startswith("block failed: ")]
    assert lost["camera"].tolist() == ["2:r"] * 3
    assert lost["frame"].tolist() == [6, 7, 8]
    assert set(lost["status"]) == {"predicted"}
    assert (rows["status"] == "aligned").sum() == 21
    (block,) = failed_blocks(out)
    assert "2:r: night" in str(block)
    assert "frames 6 to 8: not aligned (MemoryError: too much)" in (out / "opticam.log").read_text()
    # forced photometry measures them all the same, at the places their neighbours predict
    curve = opticam.light_curve(out, camera="2:r", source=1)
    assert curve["flux"].notna().all()
    reduce(night, out, overwrite=True)
    assert failed_blocks(out) == []
    assert results(out) == results(undisturbed)


def test_a_failure_that_passes_while_it_is_looked_for_changes_nothing(
    night: Path, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    track, tries = tracking._track_block, list[int]()

    def fails_twice(block: Any, *rest: Any) -> Any:
        if (block.camera, block.start) == ("2:r", 6) and len(tries) < 2:
            tries.append(block.start)
            raise OSError("the file server is away")
        return track(block, *rest)

    monkeypatch.setattr(tracking, "_track_block", fails_twice)
    reduce(night, tmp_path / "out")
    assert len(tries) == 2
    assert results(tmp_path / "out") == results(undisturbed)


def test_a_second_run_on_the_same_folder_says_who_is_at_work(night: Path, tmp_path: Path) -> None:
    (tmp_path / NAME).write_text('{"host": "elsewhere", "process": 7, "what": "reduce", "since": "noon"}')
    with pytest.raises(BusyError, match=r"reduce \(process 7 on elsewhere, since noon\) is at work"):
        reduce(night, tmp_path)


@pytest.mark.slow
@pytest.mark.cluster
def test_a_block_that_kills_its_workers_is_given_up_and_no_other(cluster: Any) -> None:
    def dies(i: int) -> int:
        if i == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return i

    tasks = going_on(map_blocks_of_frames(dies, list(range(5))))
    found = run_tasks(cluster, tasks, "survive", progress=False)
    assert isinstance(found[2], Failure)
    assert "its worker died again and again" in found[2].reason
    assert [one for i, one in enumerate(found) if i != 2] == [0, 1, 3, 4]
    cluster.wait_for_workers(2, timeout=60)


@pytest.mark.cluster
def test_eight_failures_alike_before_a_success_stop_what_is_left(cluster: Any, tmp_path: Path) -> None:
    def fails(i: int) -> None:
        (tmp_path / str(i)).touch()
        raise KeyError("radius")

    tasks = going_on(map_blocks_of_frames(fails, list(range(400))))
    with pytest.raises(OpticamError, match=r"measuring: block \d+ of 400 \(and .*none succeeded\).*radius"):
        run_tasks(cluster, tasks, "measuring", progress=False)
    assert len(list(tmp_path.iterdir())) < 400
    hopeful = going_on(map_blocks_of_frames(fails, list(range(9))), hopeful=True)
    found = run_tasks(cluster, hopeful, "measuring", progress=False)
    assert {one.reason for one in found} == {"KeyError: 'radius'"}
