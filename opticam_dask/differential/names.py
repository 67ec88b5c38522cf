"""Names of targets, comparison stars and results, as users give them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, TypeAlias

from opticam_dask.differential.make import Comparisons
from opticam_dask.differential.rows import StarName
from opticam_dask.errors import InputError

Chosen: TypeAlias = 'StarName | Sequence[StarName] | Literal["auto"]'


def comparison_names(target: StarName, comparisons: Chosen) -> Comparisons:
    """Comparison stars as a tuple; None for the automatic choice."""
    if isinstance(comparisons, str) and comparisons == "auto":
        return None
    chosen = (comparisons,) if isinstance(comparisons, int | str) else tuple(comparisons)
    if not chosen:
        raise InputError("give at least one comparison star, or comparisons='auto'")
    if len(set(chosen)) < len(chosen):
        raise InputError(f"a comparison star is named twice: {', '.join(map(str, chosen))}")
    if target in chosen:
        raise InputError(f"the target {target} cannot be compared with itself; leave it out of comparisons")
    if len({isinstance(one, str) for one in (target, *chosen)}) > 1:
        raise InputError("name target and comparisons alike: all by source ID, or all by object_id")
    return tuple(one if isinstance(one, str) else int(one) for one in chosen)


def default_name(camera: str, target: StarName, chosen: Comparisons) -> str:
    """Name of results for which the user gave none."""
    against = "auto" if chosen is None else "vs_" + "_".join(map(str, chosen))
    return f"{camera}_source_{target}_{against}"


def folder_name(name: str) -> str:
    """Turn a name into that of one folder, wherever it came from."""
    cleaned = re.sub(r"[^\w:+.-]", "_", name).lstrip(".")
    if not cleaned:
        raise InputError(f"prefix {name!r} makes no name; use letters and digits")
    return cleaned
