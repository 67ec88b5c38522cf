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
    "block-bytes": 128 * 2**20,
    # A short night is cut into so many tasks a camera all the same, so that several workers share it.
    "blocks-at-least": 8,
    # Frames of one task instead, where that is easier to say.
    "frames-per-block": None,
    # A lost file server or a full node deserves another try; a wrong setting fails quickly enough.
    "retries": 2,
    # Sources in one task of the CSV export: bounds its memory.
    "export-csv-group": 50,
    # Parts of one night and camera from which they are merged when all are there; 0 leaves them as they are.
    "compact-from": 16,
    # Whether photometry reads only the rows near sources, where it uses no others and the files allow it.
    "partial-reads": True,
    # Whether a reduction draws figures of itself into diag/; seconds, while the workers work.
    "figures": True,
    # How long a scheduler is waited for [s].
    "connect-timeout": 30.0,
}

dask.config.update_defaults({"opticam": DEFAULTS})


def _get(name: str) -> Any:
    # A `dask.config.set` around the import of this module takes our defaults away again when it ends.
    return dask.config.get(f"opticam.{name}", DEFAULTS[name])


def frames_per_block() -> int | None:
    """Get the frames of one task; None cuts by bytes."""
    value = _get("frames-per-block")
    return None if value is None else int(value)


def blocks_at_least() -> int:
    """Get the number of tasks that a short night of a camera is cut into."""
    return max(1, int(_get("blocks-at-least")))


def block_bytes() -> int:
    """Get the pixels of one task [byte]."""
    return int(parse_bytes(_get("block-bytes")))


def retries() -> int:
    """Get how often a failed task is tried again."""
    return int(_get("retries"))


def export_csv_group() -> int:
    """Get the number of sources in one task of the CSV export."""
    return int(_get("export-csv-group"))


def compact_from() -> int:
    """Get the number of parts of a night and camera from which they are merged; 0 for never."""
    return int(_get("compact-from"))


def partial_reads() -> bool:
    """Get whether photometry may read frames in part."""
    return bool(_get("partial-reads"))


def figures() -> bool:
    """Get whether a reduction draws figures of itself unless told."""
    return bool(_get("figures"))


def connect_timeout() -> float:
    """Get how long a scheduler is waited for [s]."""
    return float(_get("connect-timeout"))
