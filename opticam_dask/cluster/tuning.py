"""Settings of dask that suit tasks of a block of frames each, where the user has none of their own."""

from __future__ import annotations

from typing import Any

import dask.config

SATURATION = "distributed.scheduler.worker-saturation"
"""Tasks that each thread of a worker is given at a time.

By dask's default a worker has one more in store. Ours take far longer than handing one out does: the one in
store is what idle workers wait for at the end.
"""
SAMPLING = "distributed.worker.profile.interval"
"""How often dask looks what each thread does, for its dashboard.

At dask's default that takes a twelfth of all CPU time.
"""
_OF_DASK = {SATURATION: 1.1, SAMPLING: "10ms"}
_OURS = {SATURATION: 1.0, SAMPLING: "100ms"}


def tuned(*names: str) -> dict[str, Any]:
    """Values of settings: ours for those left as dask has them."""
    asked = {name: dask.config.get(name) for name in names}
    return {name: _OURS[name] if value == _OF_DASK[name] else value for name, value in asked.items()}
