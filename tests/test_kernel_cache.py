"""Kernels are compiled once for all processes, and processes that save at once do not mix up their code."""

from __future__ import annotations

import fcntl
import importlib.util
import sys
import threading
from pathlib import Path

import cloudpickle
import numpy as np
import pytest
from numba import njit
from numba.core import event

from opticam_dask.kernel_cache import SafeCache, _load, locked


def taken(path: Path) -> bool:
    """Whether another opener of the lock's file has to wait."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


class Watch(event.Listener):
    """What the lock is, as a compilation ends and after it is saved."""

    def __init__(self, path: Path) -> None:
        self.path, self.seen = path, set()

    def on_start(self, happens: event.Event) -> None:
        """Nothing is looked at."""

    def on_end(self, happens: event.Event) -> None:
        self.seen.add((happens.kind, taken(self.path)))


@pytest.fixture
def cache(tmp_path):
    cache = SafeCache(tmp_path)
    cache.install()
    yield cache
    for kind in ("numba:compile", "numba:compiler_lock"):
        event.unregister(kind, cache)


def test_the_cache_is_locked_from_the_end_of_a_compilation_until_it_is_saved(cache, tmp_path):
    cache.ready.set()
    path = tmp_path / "opticam.lock"
    path.touch()
    watch = Watch(path)
    event.register("numba:compile", watch)
    try:
        assert njit(lambda x: x + 1)(np.int8(1)) == 2
    finally:
        event.unregister("numba:compile", watch)
    # ours listens first
    assert watch.seen == {("numba:compile", True)}
    assert not taken(path)


@pytest.mark.parametrize("name", ["Dask-Default-Threads-7", "0-Dask-Default-Threads-7-1"])
def test_a_task_waits_for_the_rehearsal_and_others_do_not(cache, name):
    done = []
    task = threading.Thread(target=lambda: done.append(njit(lambda x: x + 2)(1)), name=name)
    task.start()
    assert njit(lambda x: x + 3)(1) == 4
    assert done == []
    cache.ready.set()
    task.join(60)
    assert done == [3]


def test_where_no_lock_can_be_had_work_goes_on(tmp_path):
    with locked(tmp_path / "missing" / "lock"):
        pass


def test_kernels_are_loaded_from_the_entries_that_calls_have_made(tmp_path, monkeypatch):
    monkeypatch.setattr("numba.core.config.CACHE_DIR", "")
    name, path = "opticam_dask.example_of_a_kernel", tmp_path / "example_of_a_kernel.py"
    path.write_text("from numba import njit\n\n@njit(cache=True)\ndef twice(value):\n    return 2 * value\n")

    def fresh():
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        return module.twice

    called = fresh()
    called(1.5)
    known = tmp_path / "some.kernels"
    known.write_bytes(cloudpickle.dumps([(name, "twice", called.nopython_signatures[0])]))
    loaded = fresh()
    _load(known)
    assert sum(loaded.stats.cache_hits.values()) == 1
    assert not loaded.stats.cache_misses
