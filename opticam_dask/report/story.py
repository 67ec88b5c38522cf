"""What a page shows, of a reduction or of a survey."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opticam_dask.report.curves import Folder
from opticam_dask.report.plots import Field

if TYPE_CHECKING:
    import pandas as pd

Map = Callable[[Callable[..., Any], Sequence[Any], int], list[Any]]
"""Runs ``function(item, constant)`` on items, and returns what comes back, in order."""


@dataclass(frozen=True, kw_only=True)
class Story:
    """What a page shows besides the light curves themselves.

    Parameters
    ----------
    out : Path
        Output directory.
    thing : str
        What a light curve is of: ``source``, or ``object`` in a survey.
    unit : str
        Unit of fluxes.
    columns : mapping of str to str
        Columns of the table of nights and cameras, and what readers call them.
    nights : sequence of mapping
        Its rows; those that hold a ``status`` other than ``reduced`` stand out.
    lost : DataFrame
        Rejected frames: ``night``, ``camera``, ``file``, ``reason``.
    folders : sequence of Folder
        Where the light curves are; none of them is empty.
    fields : sequence of Field
        Pictures to pick from.
    quality : str
        Text of an image's source; empty if nothing is known.
    noise : mapping of str to str
        Such a text for each label.
    remarks : sequence of str
        What readers have to know first.
    versions, settings : mapping
        What it was made with.
    command : str
        The same.
    """

    out: Path
    thing: str
    unit: str
    columns: Mapping[str, str]
    nights: Sequence[Mapping[str, Any]]
    lost: pd.DataFrame
    folders: Sequence[Folder]
    fields: Sequence[Field]
    quality: str
    noise: Mapping[str, str]
    remarks: Sequence[str] = ()
    versions: Mapping[str, str]
    command: str
    settings: Mapping[str, Any]
