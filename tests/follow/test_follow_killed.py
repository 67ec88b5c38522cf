"""The command itself, killed again and again while frames arrive: no row is lost or doubled in the end."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

import opticam_dask as opticam
from opticam_dask.schema import LIGHT_CURVE_KEY
from opticam_dask.simulate import CameraSetup

N_FRAMES = 40


def command(folder: Path, out: Path, *options: str) -> list[str]:
    code = "from opticam_dask.cli import main; main()"
    follow = ["reduce", str(folder), str(out), "--follow", "--cluster", "threads", "--forced"]
    return [sys.executable, "-c", code, *follow, "--catalog-after", "10", "--quiet-time", "10s", *options]


def measured(out: Path) -> int:
    path = out / "follow" / "status.json"
    return int(json.loads(path.read_text())["measured"]) if path.exists() else 0


def wait_for(true: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    for _ in range(4000):
        if true() or process.poll() is not None:
            return
        time.sleep(0.05)
    raise TimeoutError


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_at_any_moment_it_goes_on_and_ends_with_every_frame_once(tmp_path: Path) -> None:
    night, folder, out = tmp_path / "night", tmp_path / "arriving", tmp_path / "out"
    scene = opticam.Scene(
        n_frames=N_FRAMES,
        shape=(121, 133),
        n_stars=6,
        flux_range=(5e3, 5e4),
        min_separation_px=15.0,
        semimajor_sigma=1.9,
        semiminor_sigma=1.5,
        orientation=30.0,
        cameras=(CameraSetup(filter="g"), CameraSetup(filter="r")),
        compression="gz",
        pointing=(83.6, 22.0),
        seed=6,
    )
    opticam.simulate_night(scene, night)
    folder.mkdir()
    writer_code = Path(__file__).with_name("arriving.py")
    writer = subprocess.Popen([sys.executable, writer_code, night, folder, "--every", "0.15", "--seed", "2"])
    try:
        for least in (1, 21, 41, 61):
            with subprocess.Popen(command(folder, out), stdout=subprocess.PIPE) as process:
                wait_for(lambda least=least: measured(out) >= least, process)
                time.sleep(0.01 * least)
                process.send_signal(signal.SIGKILL)
        with subprocess.Popen(command(folder, out), stdout=subprocess.PIPE) as process:
            wait_for((out / ".opticam.lock").exists, process)
            time.sleep(8.0)
            process.send_signal(signal.SIGTERM)
            assert process.wait(120) == 128 + signal.SIGTERM
    finally:
        writer.wait(300)
    ended = subprocess.run(command(folder, out), capture_output=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr.decode()
    assert "quiet time is over" in ended.stdout.decode()
    frames = pd.read_parquet(out / "frames.parquet")
    assert (frames["status"] == "accepted").all()
    assert sorted(Path(path).name for path in frames["path"]) == sorted(p.name for p in night.glob("*.gz"))
    rows = opticam.open_light_curves(out).compute()
    assert not rows.duplicated(list(LIGHT_CURVE_KEY)).any()
    assert rows.groupby(["camera", "source"]).size().tolist() == [N_FRAMES] * 12
    assert rows["flux"].notna().all()
    plain = subprocess.run(command(folder, out)[:6], capture_output=True, timeout=300, check=False)
    assert plain.returncode == 1
    assert b"a night was followed into it" in plain.stderr
