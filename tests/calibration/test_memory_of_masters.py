"""Masters of many large frames fit a small worker."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("memory_of_masters.py")


def measured(n_frames, side):
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(n_frames), str(side)], capture_output=True, text=True, check=True
    )
    _, after, _, mean, scatter = map(float, done.stdout.split())
    return after, mean, scatter


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.timeout(1800)
def test_500_frames_of_2048_pixels_a_side_fit_a_worker_of_1_gb():
    peak, mean, scatter = measured(500, 2048)
    assert peak < 800
    assert mean == pytest.approx(100.0, abs=0.02)
    assert scatter == pytest.approx(3.0 / 500**0.5, rel=0.03)
