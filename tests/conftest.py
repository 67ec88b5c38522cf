"""Shared by all tests: one thread per library, and one cluster of processes for those that need it."""

import os

import pytest

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
# Seconds a reduction, and hundreds of reductions: tests of figures ask for them.
os.environ.setdefault("DASK_OPTICAM__FIGURES", "false")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Keep the tests of a file on one process: nights that they share are simulated and reduced once."""
    from xdist.scheduler import LoadFileScheduling

    config.option.loadscopereorder = False  # files of few tests are often the long ones: not all of them last
    return LoadFileScheduling(config, log)


@pytest.fixture(scope="session")
def cluster():
    """A client of two worker processes."""
    from opticam_dask.cluster import connect

    with connect("local", n_workers=2, memory_limit="1500MB") as client:
        yield client
