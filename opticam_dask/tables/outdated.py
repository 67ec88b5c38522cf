"""Nights in a dataset whose rows were made of frames, headers or catalogues that are no more.

Such rows are as right as they were, but do not go with what stands beside them. They are kept until somebody
has them removed; a small file beside the dataset names the nights, so that no reader takes them unawares.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path

from opticam_dask.errors import InputError
from opticam_dask.tables.atomic import write_text

NAME = "outdated.json"


class OutdatedRowsWarning(UserWarning):
    """Rows that are read were made of frames, headers or catalogues that are no more."""


def outdated_nights(root: str | Path) -> dict[str, str]:
    """Nights of a dataset that are outdated, and why.

    Parameters
    ----------
    root : path
        The dataset, ``out/lcs/<label>/light_curves``.

    Raises
    ------
    InputError
        If the file that names them cannot be read.
    """
    path = Path(root).parent / NAME
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {str(night): str(why) for night, why in found.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path}: cannot be read ({error}); remove it: the next run writes it anew"
        ) from error


def mark_nights(root: str | Path, nights: Mapping[str, str]) -> None:
    """Say of nights of a dataset why they are outdated, or with empty text that they are not (any more)."""
    path, old = Path(root).parent / NAME, outdated_nights(root)
    new = {night: why for night, why in sorted({**old, **nights}.items()) if why}
    if new and new != old:
        write_text(path, json.dumps(new, indent=1) + "\n")
    elif not new:
        path.unlink(missing_ok=True)


def warn_of_outdated(root: str | Path, night: str | None = None) -> None:
    """Warn whoever reads a dataset, or a night of it, of rows that are outdated."""
    found = {one: why for one, why in outdated_nights(root).items() if night in (None, one)}
    if found:
        named = "; ".join(f"{one}: {why}" for one, why in found.items())
        message = (
            f"{root}: rows of {len(found)} nights are outdated ({named}); "
            "'opticam-dask vacuum --outdated' removes them"
        )
        # 3: where the reader was called
        warnings.warn(message, OutdatedRowsWarning, stacklevel=3)
