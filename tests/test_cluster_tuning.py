"""Dask's settings as they suit blocks of frames; what the user says holds."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import dask.config
import pytest
from distributed import Worker

from opticam_dask.cluster import connect
from opticam_dask.cluster.tuning import SAMPLING, SATURATION, tuned


def test_only_settings_left_as_dask_has_them_are_ours() -> None:
    assert tuned(SATURATION, SAMPLING) == {SATURATION: 1.0, SAMPLING: "100ms"}
    with dask.config.set({SAMPLING: "50ms", SATURATION: "inf"}):
        assert tuned(SATURATION, SAMPLING) == {SATURATION: "inf", SAMPLING: "50ms"}


def sampled_every(dask_worker: Worker) -> float:
    return float(dask_worker.periodic_callbacks["profile"].callback_time)


def test_a_local_cluster_has_them_and_nothing_else_does() -> None:
    with connect("local", n_workers=1) as client:
        assert list(client.run(sampled_every).values()) == [100.0]
        assert client.cluster.scheduler.WORKER_SATURATION == 1.0
    assert dask.config.get(SATURATION) == 1.1
    # nor is there a traceback of a connection that ends a little later than the cluster
    assert not logging.getLogger("distributed.batched").isEnabledFor(logging.INFO)


# What is freed goes back to the system, or not: pages that the next frame has to ask for again.
FAULTS = """
import resource, sys
import numpy as np
from opticam_dask.preload import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
def frame():
    return np.ones(2**17).sum()
frame()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    frame()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) // 20)
"""


@pytest.mark.parametrize(
    ("how", "environment", "least", "most"),
    [
        ("dask", {}, 200, 300),
        ("kept", {}, 0, 10),
        ("kept", {"MALLOC_MMAP_THRESHOLD_": "131072"}, 200, 300),
    ],
)
def test_workers_use_the_memory_of_a_frame_again(
    how: str, environment: dict[str, str], least: int, most: int
) -> None:
    if not Path("/lib64/ld-linux-x86-64.so.2").exists():
        pytest.skip("not glibc")
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, how],
        env={**os.environ, "MALLOC_TRIM_THRESHOLD_": "65536", **environment},
        check=True,
        capture_output=True,
        text=True,
    )
    assert least <= int(done.stdout) <= most
