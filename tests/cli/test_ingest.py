"""``opticam-dask ingest``: what it does, what it says, how it fails."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

import opticam_dask as opticam
from opticam_dask.cli import INTERRUPTED, main
from opticam_dask.io.zarr_store import write
from opticam_dask.io.zarr_store.layout import shard_path
from opticam_dask.simulate import CameraSetup


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Any:
    def call(*arguments: Any) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["opticam-dask", "ingest", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        said = capfd.readouterr()
        return code, said.out, said.err

    return call


@pytest.fixture
def night(tmp_path: Path) -> Path:
    scene = opticam.Scene(
        n_frames=4, shape=(61, 75), n_stars=3, compression="none", cameras=(CameraSetup(filter="g"),)
    )
    opticam.simulate_night(scene, tmp_path / "night")
    return tmp_path / "night"


HERE = ("--cluster", "threads", "--workers", "1")


def test_ingest_and_verify(run: Any, night: Path, tmp_path: Path) -> None:
    store = tmp_path / "night.zarr"
    code, out, _ = run(night, store, *HERE)
    assert code == 0
    assert "1 shards, 0 of them finished before" in out
    assert "4 files, 0 ingested before and unchanged" in out
    code, out, _ = run(night, store, *HERE)
    assert code == 0
    assert "1 shards, 1 of them finished before" in out
    assert run("--verify", store, *HERE)[0] == 0


def test_damage_is_told_and_mended(run: Any, night: Path, tmp_path: Path) -> None:
    store = tmp_path / "night.zarr"
    run(night, store, *HERE)
    path = shard_path(store, "1:g", 0)
    content = bytearray(path.read_bytes())
    content[5] ^= 4
    path.write_bytes(content)
    code, _, err = run("--verify", store, *HERE)
    assert code == 1
    assert str(path) in err
    assert "ingest again with --verify" in err
    assert run("--verify", night, store, *HERE)[0] == 0
    assert run("--verify", store, *HERE)[0] == 0


def test_options_come_from_a_file(run: Any, night: Path, tmp_path: Path) -> None:
    (tmp_path / "ingest.toml").write_text('cluster = "threads"\nworkers = 1\ninstrument = "GENERIC"\n')
    assert run(night, tmp_path / "night.zarr", "--config", tmp_path / "ingest.toml")[0] == 0
    code, _, err = run(night, tmp_path / "night.zarr", *HERE)
    assert code == 1
    assert "instrument" in err
    assert "--overwrite" in err


@pytest.mark.parametrize(
    ("arguments", "expected", "words"),
    [
        (["night"], 2, "give DATA and STORE"),
        (["night", "store"], 1, "must end in .zarr"),
        (["nowhere", "night.zarr"], 1, "does not exist"),
        (["--verify", "night"], 1, "is no store"),
    ],
)
def test_a_wrong_call_is_told_in_one_line(
    run: Any, night: Path, monkeypatch: Any, arguments: list[str], expected: int, words: str
) -> None:
    monkeypatch.chdir(night.parent)
    code, _, err = run(*arguments, *HERE)
    assert code == expected
    assert words in err
    assert "Traceback" not in err


def test_no_usable_frame_is_a_failure(run: Any, tmp_path: Path) -> None:
    (tmp_path / "bad.fits").write_bytes(b"nothing" * 1000)
    code, _, err = run(tmp_path / "bad.fits", tmp_path / "night.zarr", *HERE)
    assert code == 1
    assert "no usable frame" in err
    assert "not a FITS file" in err


def test_a_full_disk_is_told_in_one_line(run: Any, night: Path, tmp_path: Path, monkeypatch: Any) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(write, "write_shard", full)
    code, _, err = run(night, tmp_path / "night.zarr", *HERE)
    assert code == 1
    assert "No space left on device" in err
    assert "make room and run" in err
    assert "Exception(" not in err
    assert not list((tmp_path / "night.zarr").rglob("*.tmp"))
    monkeypatch.undo()


def test_interrupted_it_says_so_and_goes_on_later(
    run: Any, night: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    def stopped(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("opticam_dask.runner.as_completed", stopped)
        assert run(night, tmp_path / "night.zarr", *HERE)[0] == INTERRUPTED
    assert run(night, tmp_path / "night.zarr", *HERE)[0] == 0
