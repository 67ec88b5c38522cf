"""The disk cache of compiled kernels, shared by many processes that may all find it empty at once.

Numba's files appear whole, but two processes that add to one index at the same moment may give different code
the same name. Here an entry is added under a lock of the whole cache; and where a cache is cold, one process
compiles the kernels of the main path for all, in a rehearsal, while the others wait for it.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import logging
import platform
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import cloudpickle
import numba
from numba.core import event
from numba.core.dispatcher import Dispatcher

from opticam_dask.kernels.clipping import median_of_sorted
from opticam_dask.tables.atomic import replacing

logger = logging.getLogger(__name__)

# In the names of a worker's threads that run tasks; that of the worker may stand before it.
_TASKS = "Dask-"
# A rehearsal compiles for a minute or two on a slow node; what it does not finish, tasks compile as they go.
_PATIENCE_S = 600.0


class SafeCache(event.Listener):
    """Keeps numba's cache consistent, and tasks from compiling what is about to be in it.

    Parameters
    ----------
    folder : Path
        Folder of the cache, for the lock's file.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ready = threading.Event()
        self._held = threading.local()

    def install(self) -> None:
        """Listen to numba's compiler, from now on."""
        register: Any = event.register
        for kind in ("numba:compile", "numba:compiler_lock"):
            register(kind, self)

    def on_start(self, happens: event.Event) -> None:
        """Have a task wait before it takes the compiler's lock."""
        if happens.kind == "numba:compiler_lock" and in_task():
            self.ready.wait(_PATIENCE_S)

    def on_end(self, happens: event.Event) -> None:
        """Lock the cache between the end of a compilation and that of its saving."""
        if happens.kind == "numba:compile":
            if not hasattr(self._held, "lock"):
                self._held.lock = locked(self.folder / "opticam.lock")
                self._held.lock.__enter__()
        elif hasattr(self._held, "lock"):
            self._held.lock.__exit__(None, None, None)
            del self._held.lock


def in_task() -> bool:
    """Whether this thread runs tasks of a worker."""
    return _TASKS in threading.current_thread().name


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock against other processes; a file system without locks, or not writable, has none."""
    with ExitStack() as stack:
        with suppress(OSError):
            file = stack.enter_context(path.open("w"))
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def cache_folder() -> Path:
    """Folder of the cache of the kernels, made if need be; see `opticam_dask.compiled`."""
    folder = Path(str(median_of_sorted.stats.cache_path))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def known_kernels(folder: Path) -> Path:
    """File of a cache that lists the kernels of the main path; missing until they are compiled."""
    return folder / f"opticam-{_key()}.kernels"


def load_kernels(cache: SafeCache) -> None:
    """Load the kernels of the main path; compile them first, once for all processes, where they are not."""
    try:
        known = known_kernels(cache.folder)
        if not known.is_file():
            with locked(cache.folder / "opticam-rehearsal.lock"):
                if not known.is_file():
                    asyncio.run(_rehearse(known))
    except (OSError, TimeoutError):
        # A cache that cannot be written to: tasks compile for themselves.
        logger.debug("kernels were not rehearsed", exc_info=True)
    finally:
        cache.ready.set()
    if known.is_file():
        _load(known)


def remember_kernels(path: Path) -> None:
    """Note which kernels this process has compiled or loaded, and for which types."""
    kernels = [
        (module.__name__, name, signature)
        for module in sys.modules.copy().values()
        if getattr(module, "__name__", "").startswith("opticam_dask.")
        for name, kernel in vars(module).items()
        if isinstance(kernel, Dispatcher) and kernel.py_func.__module__ == module.__name__
        for signature in kernel.nopython_signatures
    ]
    with replacing(path) as temporary:
        temporary.write_bytes(cloudpickle.dumps(kernels))


async def _rehearse(known: Path) -> None:
    """Reduce a few tiny frames in a process of its own, which ends with this one."""
    run = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "opticam_dask.rehearsal", str(known)),
        # Nothing is written to it: its end says that we have gone.
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await asyncio.wait_for(run.wait(), _PATIENCE_S)
    finally:
        if run.returncode is None:
            run.kill()


def _load(known: Path) -> None:
    for module, name, signature in cloudpickle.loads(known.read_bytes()):
        kernel: Any = getattr(sys.modules.get(module), name, None)
        if isinstance(kernel, Dispatcher):
            kernel.compile(signature.args)  # the key that calls give it in the cache


def _key() -> str:
    """Digest of what compiled code depends on: the sources, numba, Python, and the kind of processor."""
    sources = [path.stat() for path in sorted((Path(__file__).parent / "kernels").glob("*.py"))]
    processor = import_module("llvmlite.binding")
    parts = (
        numba.__version__,
        platform.python_version(),
        platform.machine(),
        processor.get_host_cpu_name(),
        processor.get_host_cpu_features().flatten(),
        [(state.st_size, state.st_mtime_ns) for state in sources],
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
