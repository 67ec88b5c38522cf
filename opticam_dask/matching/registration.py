"""What registering gives: the field and the stars of a catalogue, and fields that turned out to be one."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np

from opticam_dask.matching.field import FieldState, Star
from opticam_dask.matching.model import NightCatalog
from opticam_dask.types import Affine


@dataclass(eq=False)
class Registration:
    """What became of one catalogue.

    Parameters
    ----------
    catalog : NightCatalog
        The catalogue.
    field : FieldState, optional
        Its field; None while it is pending.
    status, reason : str
        As in the table of catalogues.
    affine : ndarray, shape (2, 3)
        From the catalogue into the field.
    n_matched, residual, log_nfa
        As in the table of catalogues.
    stars : list of Star or str
        For each source its star, or why there is none.
    """

    catalog: NightCatalog
    field: FieldState | None = None
    status: str = "pending"
    reason: str = ""
    affine: Affine = dataclasses.field(default_factory=lambda: np.full((2, 3), np.nan))
    n_matched: int = 0
    residual: float = math.nan
    log_nfa: float = math.nan
    stars: list[Star | str] = dataclasses.field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Join:
    """One field that turned out to be part of another, and the transform into that."""

    gone: FieldState
    root: FieldState
    affine: Affine
