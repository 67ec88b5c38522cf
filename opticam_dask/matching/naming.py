"""IDs of new fields and stars, in canonical order, and what joined fields change in older rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from opticam_dask.kernels.transform import apply
from opticam_dask.matching.columns import AFFINE_NAMES
from opticam_dask.matching.field import Star
from opticam_dask.matching.registration import Join, Registration
from opticam_dask.matching.solve import compose

if TYPE_CHECKING:
    import pandas as pd


def name_fields(registrations: Sequence[Registration], taken: Iterable[str]) -> None:
    """Give IDs to new fields, in order of their first catalogue."""
    number = max((int(name[1:]) for name in taken), default=0)
    for registration in registrations:
        state = registration.field
        if state is not None and not state.name:
            number += 1
            state.name = f"F{number:03d}"


def name_stars(registrations: Sequence[Registration], taken: Iterable[str]) -> list[Star]:
    """Give IDs to new stars, in order of night, camera and source; returns them."""
    last: dict[str, int] = {}
    for name in taken:
        field_id, _, number = name.partition("-")
        last[field_id] = max(last.get(field_id, 0), int(number))
    fresh = []
    for registration in registrations:
        for number in np.argsort(registration.catalog.source, kind="stable"):
            star = registration.stars[number] if registration.stars else ""
            if isinstance(star, Star) and not star.resolved().name:
                fresh.append(_named(star.resolved(), last))
    return fresh


def _named(star: Star, last: dict[str, int]) -> Star:
    field_id = star.field.name
    last[field_id] = last.get(field_id, 0) + 1
    star.name = f"{field_id}-{last[field_id]:04d}"
    return star


def joined_catalogs(catalogs: pd.DataFrame, joins: Sequence[Join]) -> pd.DataFrame:
    """Rows of catalogues whose field is part of another now, with transforms into that."""
    out = catalogs.copy()
    for join in joins:
        own = (out["field_id"] == join.gone.name).to_numpy() & (join.gone.name != "")
        before = out.loc[own, list(AFFINE_NAMES)].to_numpy(float).reshape(-1, 2, 3)
        after = [compose(join.affine, affine).ravel() for affine in before]
        out.loc[own, list(AFFINE_NAMES)] = np.array(after).reshape(-1, 6)
        out.loc[own, "field_id"] = join.root.name
    return out


def joined_objects(objects: pd.DataFrame, joins: Sequence[Join], lost: Sequence[Star]) -> pd.DataFrame:
    """Rows of objects whose field is part of another now, or that turned out to be known by another ID."""
    out = objects.copy()
    for join in joins:
        own = (out["field_id"] == join.gone.name).to_numpy() & (join.gone.name != "")
        out.loc[own, ["x", "y"]] = apply(join.affine, out.loc[own, ["x", "y"]].to_numpy(float))
        out.loc[own, "field_id"] = join.root.name
    other = {star.name: star.resolved().name for star in lost if star.name}
    pairs = zip(out["object_id"].tolist(), out["same_as"].tolist(), strict=True)
    out["same_as"] = [other.get(name, same) for name, same in pairs]
    return out


def new_objects(stars: Sequence[Star]) -> pd.DataFrame:
    """Rows of new objects, so far as they do not follow from the sightings."""
    import pandas as pd

    rows: list[tuple[Any, ...]] = [(star.name, star.field.name, "", *star.xy) for star in stars]
    return pd.DataFrame(rows, columns=["object_id", "field_id", "same_as", "x", "y"])
