"""Engine settings, kept in ``dask.config`` under ``opticam``.

They change how work is cut and scheduled, never a result, and so are not arguments of the public functions.
Each is also read from the environment (``DASK_OPTICAM__BLOCK_BYTES=32MiB``) or a dask YAML file.
"""

from __future__ import annotations

from typing import Any

import dask.config
from dask.utils import parse_bytes

DEFAULTS: dict[str, Any] = {
    # Pixels of one task [byte]: large against the cost of a task, small against a worker's memory.
    "block-bytes": 64 * 2**20,
    # A lost file server or a full node deserves another try; a wrong setting fails quickly enough.
    "retries": 2,
    # Above this many sources per camera the CSV export has to be asked for.
    "export-csv-max-sources": 1000,
    # Sources in one task of the CSV export: bounds its memory.
    "export-csv-group": 50,
    # How long a scheduler is waited for [s].
    "connect-timeout": 30.0,
}

dask.config.update_defaults({"opticam": DEFAULTS})


def block_bytes() -> int:
    """Get the pixels of one task [byte]."""
    return int(parse_bytes(dask.config.get("opticam.block-bytes")))


def retries() -> int:
    """Get how often a failed task is tried again."""
    return int(dask.config.get("opticam.retries"))


def export_csv_max_sources() -> int:
    """Get the number of sources per camera above which the CSV export has to be asked for."""
    return int(dask.config.get("opticam.export-csv-max-sources"))


def export_csv_group() -> int:
    """Get the number of sources in one task of the CSV export."""
    return int(dask.config.get("opticam.export-csv-group"))


def connect_timeout() -> float:
    """Get how long a scheduler is waited for [s]."""
    return float(dask.config.get("opticam.connect-timeout"))
