"""Benchmarks: tiny as plain tests, so that they cannot rot; full with ``-m benchmark tests/benchmarks``.

Both sides of a comparison run in turns in this one process. The full run prints one table at its end.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from opticam_dask.testing import benchmark

_COMPARISONS: list[benchmark.Comparison] = []


def pytest_generate_tests(metafunc):
    """Every benchmark runs tiny by default, and full under its marker."""
    if "full" in metafunc.fixturenames:
        scales = [pytest.param(False, id="tiny"), pytest.param(True, id="full", marks=_full_marks())]
        metafunc.parametrize("full", scales, scope="session")


def _full_marks():
    return [pytest.mark.benchmark, pytest.mark.timeout(1800)]


@pytest.fixture
def record(full, capfd) -> Callable[[benchmark.Comparison], benchmark.Comparison]:
    """Put a comparison into the table; tiny runs only show that it works."""

    def add(line: benchmark.Comparison) -> benchmark.Comparison:
        if full:
            _COMPARISONS.append(line)
            with capfd.disabled():
                sys.stderr.write(f"\n{' | '.join(line.cells())}\n")
        return line

    return add


@pytest.fixture
def compare(full, record) -> Callable[..., benchmark.Comparison]:
    """Run `opticam_dask.testing.benchmark.compare` (number, case, ours, reference, goal) and record it."""

    def run(*args, rounds=7, **options):
        return record(benchmark.compare(*args, rounds=rounds if full else 1, **options))

    return run


@pytest.fixture(scope="session")
def night(tmp_path_factory) -> Callable[..., list[str]]:
    """Frames of one camera: ``night(n, shape, compression, **scene)`` gives the paths of simulated ones."""
    return partial(_night, tmp_path_factory.mktemp("nights"), {})


def _night(root: Path, made: dict, n: int, shape: tuple[int, int], compression: str = "none", **options):
    from opticam_dask.simulate import Scene, simulate_night

    key = (n, shape, compression, repr(sorted(options.items())))
    if key not in made:
        # stars 4 x 2.5 pixels wide, inclined, and drifting: round and still would hide what costs time
        scene = {
            "n_frames": n, "shape": shape, "compression": compression, "cameras": [{"filter": "g"}],
            "n_stars": 30, "margin_px": 8.0, "semimajor_sigma": 3.0, "semiminor_sigma": 2.5,
            "orientation": 37.0, "binning": 1, "drift_px_per_hour": [40.0, -25.0], "min_separation_px": 4.0,
        }  # fmt: skip
        folder = root / f"night{len(made)}"
        made[key] = [str(path) for path in simulate_night(Scene.from_mapping(scene | options), folder).paths]
    return made[key]


def pytest_terminal_summary(terminalreporter):
    """One table of everything that ran full."""
    if _COMPARISONS:
        terminalreporter.section("benchmarks")
        terminalreporter.write_line(benchmark.table(_COMPARISONS))
