"""Parts merged at the end of a reduction: the same bytes whatever the blocks, and what is done stays done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask
import pytest
from click.testing import CliRunner

import opticam_dask as opticam
from opticam_dask.cli.compact import command
from opticam_dask.simulate import CameraSetup
from opticam_dask.tables.parts import existing_parts
from opticam_dask.tables.store import dataset_root


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("night")
    scene = opticam.Scene(
        n_frames=18,
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


FIRST = opticam.AperturePhotometer(3.0, forced=True, aperture_correction=False)
SECOND = opticam.AperturePhotometer(3.0, aperture_correction=False)


def reduce(night: Path, out: Path, per_block: int, compact_from: int, *more: Any) -> Any:
    settings = {"opticam.frames-per-block": per_block, "opticam.compact-from": compact_from}
    with (
        dask.config.set(settings),
        opticam.Reducer(out, night, verbose=False, show_plots=False, cluster="threads") as reducer,
    ):
        reducer.create_catalogs()
        return reducer.photometry([FIRST, *more])


def parts(out: Path, label: str = FIRST.label) -> dict[str, bytes]:
    root = dataset_root(out, label)
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*.parquet")}


def texts(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.rglob("*_source_*.csv")}


def spans(out: Path, label: str = FIRST.label) -> list[tuple[str, int, int]]:
    return sorted((camera, a, b) for _, camera, a, b in existing_parts(dataset_root(out, label)))


@pytest.fixture(scope="module")
def merged(night: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("merged")
    reduce(night, out, 1, 16)
    return out


def test_many_parts_are_merged_at_the_end_and_few_are_not(night: Path, merged: Path, tmp_path: Path) -> None:
    assert spans(merged) == [("1:g", 0, 18), ("2:r", 0, 18)]
    assert "36 parts merged into 2" in (merged / "opticam.log").read_text()
    reduce(night, tmp_path, 3, 16)
    assert len(spans(tmp_path)) == 12
    assert texts(tmp_path) == texts(merged)


@pytest.mark.parametrize("per_block", [5, 18])
def test_merged_parts_are_the_same_bytes_whatever_the_blocks(
    night: Path, merged: Path, tmp_path: Path, per_block: int
) -> None:
    reduce(night, tmp_path, per_block, 2)
    assert parts(tmp_path) == parts(merged)
    assert texts(tmp_path) == texts(merged)


def test_what_is_merged_is_known_to_be_done(night: Path, tmp_path: Path) -> None:
    reduce(night, tmp_path, 3, 2)
    before = parts(tmp_path)
    for per_block in (3, 4):
        assert len(reduce(night, tmp_path, per_block, 2)) == 0
    assert parts(tmp_path) == before
    # a second set of light curves in the same pass measures what it lacks, and the first stays
    again = reduce(night, tmp_path, 4, 0, SECOND)
    assert set(again["label"]) == {SECOND.label}
    assert parts(tmp_path) == before
    # a merged part lost is measured again, and nothing else
    lost = next(dataset_root(tmp_path, FIRST.label).rglob("camera=2*/*.parquet"))
    lost.write_bytes(lost.read_bytes()[:-50])
    again = reduce(night, tmp_path, 5, 2, SECOND)
    assert set(again["label"]) == {FIRST.label}
    assert again["rows"].sum() == 18 * 4
    assert parts(tmp_path) == before


def test_only_frames_that_are_missing_are_measured_whatever_the_blocks(night: Path, tmp_path: Path) -> None:
    reduce(night, tmp_path, 4, 0)
    root = dataset_root(tmp_path, FIRST.label)
    next(root.rglob("camera=1*/part-00000004-*.parquet")).unlink()
    again = reduce(night, tmp_path, 6, 0)
    assert again["rows"].sum() == 4 * 4
    assert spans(tmp_path)[:4] == [("1:g", 0, 4), ("1:g", 4, 6), ("1:g", 6, 8), ("1:g", 8, 12)]


def test_the_command_merges_and_says_so(night: Path, merged: Path, tmp_path: Path) -> None:
    reduce(night, tmp_path, 3, 0)
    done = CliRunner().invoke(command, [str(tmp_path), "--cluster", "threads", "--workers", "1"])
    assert done.exit_code == 0, done.output
    assert "1:g: 6 parts into 1, 72 rows" in done.output
    assert parts(tmp_path) == parts(merged)
    root = dataset_root(tmp_path, FIRST.label)
    path = next(root.rglob("camera=1*/*.parquet"))
    path.rename(path.with_name("part-00000000-00000017.parquet"))
    (path.parent / "part-00000017-00000018.parquet").write_bytes(b"")
    done = CliRunner().invoke(command, [str(tmp_path), "--cluster", "threads", "--workers", "1"])
    assert done.exit_code == 1
    assert "part-00000017-00000018.parquet" in done.output


def test_light_curves_that_cannot_be_merged_are_complete_all_the_same(
    night: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise opticam.errors.InputError("no space left")

    monkeypatch.setattr("opticam_dask.stages.light_curve_set.compact_dataset", full)
    settings = {"opticam.frames-per-block": 3, "opticam.compact-from": 2}
    with (
        dask.config.set(settings),
        opticam.Reducer(tmp_path, night, show_plots=False, cluster="threads") as reducer,
    ):
        reducer.create_catalogs()
        summary = reducer.photometry(FIRST)
    assert len(summary) == 12
    assert "complete, but not merged: no space left" in capsys.readouterr().out
    assert texts(tmp_path)
