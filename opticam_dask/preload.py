"""What every worker loads as it starts: ``dask worker --preload opticam_dask.preload ...``.

Workers that are started here or by a batch queue do so by themselves. One thread for each numerical library,
Earth-orientation tables from the package and never from the network, and the kernels of the main path loaded
while the worker joins; where they were never compiled, one process on all machines that share the cache does.
"""

from __future__ import annotations

import ctypes
import os
import threading
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distributed import Worker

# Before the libraries are loaded, who look at these then. What is set already is the user's wish.
for _name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "NUMBA"):
    os.environ.setdefault(f"{_name}_NUM_THREADS", "1")

# Parameters of glibc's mallopt, and what glibc would come to by itself, seeing frames come and go [byte].
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEPT, _LARGE = 64 * 2**20, 32 * 2**20
_OF_DASK = "65536"


def dask_setup(worker: Worker) -> None:
    """Prepare a worker.

    Modules are imported before it joins: tasks that import the same at the same time, in a thread of their
    own, might find them half made.
    """
    from astropy.utils import iers

    from opticam_dask.kernel_cache import SafeCache, cache_folder, load_kernels

    import_module("opticam_dask.stages")
    iers.conf.auto_download = False
    keep_freed_memory()
    cache = SafeCache(cache_folder())
    cache.install()
    threading.Thread(target=load_kernels, args=(cache,), name="opticam-kernels", daemon=True).start()


def keep_freed_memory() -> None:
    """Have the memory of one frame serve for the next, instead of going back to the system in between.

    Dask's nannies set glibc's trim threshold to 64 kB, by which every buffer of a frame comes as fresh pages:
    a quarter more CPU time for reading and measuring. Another value in the environment is the user's wish.
    """
    asked = {os.environ.get(f"MALLOC_{name}_THRESHOLD_", _OF_DASK) for name in ("TRIM", "MMAP")}
    tune = getattr(ctypes.CDLL(None), "mallopt", None)
    if tune is not None and asked == {_OF_DASK}:
        tune(_MMAP_THRESHOLD, _LARGE)
        tune(_TRIM_THRESHOLD, _KEPT)
