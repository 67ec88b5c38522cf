"""What every worker loads as it starts: ``dask worker --preload opticam_dask.preload ...``."""

from __future__ import annotations

from distributed import Worker


def dask_setup(worker: Worker) -> None:
    """Prepare."""
