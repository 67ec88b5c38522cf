"""What it costs to import the package, each time in a fresh process."""

import subprocess
import sys

import pytest

LIBRARIES = "import numpy, pandas, xarray, dask"
NAMES = "Reducer", "open_observation", "OptimalPhotometer"
HEAVY = {"astropy", "photutils", "scipy", "matplotlib", "numba", "pandas", "dask", "distributed", "skimage"}
WORKING = f"{LIBRARIES}, dask.array, distributed, numba"
CASES = {
    "import opticam_dask": ("import opticam_dask", LIBRARIES),
    f"look up {', '.join(NAMES)}": (
        f"import opticam_dask; {'; '.join(f'opticam_dask.{name}' for name in NAMES)}",
        WORKING,
    ),
    "opticam-dask --help": (
        "import sys; from opticam_dask.cli import main; sys.argv[1:] = ['--help']; main()",
        LIBRARIES,
    ),
}


def fresh(code: str) -> str:
    """Run code in a process of its own, and give what it prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize("case", CASES)
def test_import(full, compare, case):
    code, reference = CASES[case]
    if not full:
        fresh(code)
        return
    compare(12, f"{case} / {reference}", lambda: fresh(code), lambda: fresh(reference), 1.3, rounds=5)


def test_the_package_alone_imports_nothing_heavy():
    loaded = fresh("import sys, opticam_dask; print(*{name.partition('.')[0] for name in sys.modules})")
    assert HEAVY.isdisjoint(loaded.split())
