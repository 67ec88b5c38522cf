"""Where compiled kernels are kept.

Numba looks only at the file a kernel stands in to tell whether its machine code is stale, though kernels call
others of other files. So the code of each state of all sources has a folder of its own.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from functools import cache
from pathlib import Path

import numba

_PACKAGE = Path(__file__).parent


@cache
def keep_compiled_code() -> Path:
    """Tell numba where to keep what it compiles; to be called before the first kernel is defined.

    Returns
    -------
    Path
        A folder below NUMBA_CACHE_DIR, where that is set, beside the kernels, in the user's cache, or with
        temporary files: the first that can be written to.
    """
    folder = _base() / f"opticam-{_digest()}"
    vars(numba.config)["CACHE_DIR"] = str(folder)
    return folder


def _base() -> Path:
    if told := os.environ.get("NUMBA_CACHE_DIR"):
        return Path(told)
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "opticam-dask"
    places = (_PACKAGE / "kernels" / "__pycache__", user)
    others = Path(tempfile.gettempdir()) / f"opticam-numba-{os.getuid()}"
    return next((place for place in places if _is_writable(place)), others)


def _is_writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def _digest() -> str:
    """Digest of all sources with kernels in them."""
    found = hashlib.sha256()
    for room in ("kernels", "simulate", "catalog"):
        for path in sorted((_PACKAGE / room).glob("*.py")):
            found.update(path.name.encode() + path.read_bytes())
    return found.hexdigest()[:12]
