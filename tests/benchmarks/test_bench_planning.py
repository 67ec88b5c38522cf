"""Planning a long night: time, memory and tasks of a client that has nothing but the frame index."""

import importlib.util
import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.version import Version

from opticam_dask.testing.benchmark import Comparison

SCRIPT = Path(__file__).with_name("planning_run.py")


def prepare(folder, paths, n_frames):
    """Leave in the folder what the process that plans starts from."""
    spec = importlib.util.spec_from_file_location("planning_run", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.prepare(folder, paths, n_frames)


def plan(folder, *options):
    """Plan in a process of its own."""
    command = [sys.executable, str(SCRIPT), str(folder), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    return json.loads(done.stdout)


@pytest.mark.skipif(
    Version(version("distributed")) < Version("2026.1"),
    reason="looks into how the client of newer versions sends a graph",
)
def test_planning(full, record, night, tmp_path):
    n_frames = 1_000_000 if full else 6_000
    scene = {"semimajor_sigma": 2.0, "semiminor_sigma": 1.6, "n_stars": 12, "flux_range": [2e4, 2e5]}
    still = {"min_separation_px": 6.0, "drift_px_per_hour": [0.0, 0.0]}
    prepare(tmp_path, night(24, (64, 64), **scene, **still), n_frames)
    figures, counted = plan(tmp_path), plan(tmp_path, "--count")
    seconds = figures["catalogue_s"] + figures["photometry_s"]
    blocks = figures["blocks"]
    per_block = (counted["tasks"] - 3 * (24 + 1)) / blocks  # without the frames looked at first
    case = f"planning of {n_frames} frames of 3 cameras, {blocks} blocks: "
    record(Comparison(8, f"{case}time of the client", seconds, 1.0, 10.0, unit="s"))
    memory = figures["peak_bytes"] / 1e9
    record(Comparison(8, f"{case}its peak memory, imports included", memory, 1.0, 1.0, unit="GB"))
    record(Comparison(8, f"{case}tasks of both stages per block", per_block, 1.0, 5.0, unit="tasks"))
    assert per_block < 4.0
    assert figures["sent_bytes"] < 200 * n_frames + 1e6
