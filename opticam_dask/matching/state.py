"""From the master tables to what matching works on, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from opticam_dask.kernels.transform import apply
from opticam_dask.matching.columns import AFFINE_NAMES, CATALOGS, FIELDS, SIGHTINGS, SKY_NAMES
from opticam_dask.matching.field import FieldState, Placed, Star
from opticam_dask.matching.model import NightCatalog
from opticam_dask.matching.registration import Join, Registration
from opticam_dask.matching.sky import TangentPlane
from opticam_dask.types import Affine

if TYPE_CHECKING:
    import pandas as pd

Tables = Mapping[str, "pd.DataFrame"]


def field_states(tables: Tables) -> list[FieldState]:
    """Fields as matching takes them, in order of ID; those joined to another are left out."""
    states: dict[str, FieldState] = {}
    for row in _rows(tables["fields"].sort_values("field_id")):
        if not row.joined_to:
            states[row.field_id] = _field_state(row)
    for row in _rows(tables["catalogs"].sort_values(["night", "camera"])):
        if row.field_id:
            key = (row.night, row.camera)
            arm = row.camera.partition(":")[0]
            states[row.field_id].placed[key] = Placed(
                key, arm, row.binning, affine_in(row, AFFINE_NAMES), row.n_matched
            )
    bright = tables["sightings"].groupby("object_id")["flux"].median()
    for row in _rows(tables["objects"].sort_values("object_id")):
        if not row.same_as:
            state = states[row.field_id]
            flux = float(bright.get(row.object_id, 0.0))
            state.stars.append(Star(state, np.array([row.x, row.y]), flux, row.n_sightings, row.object_id))
    return list(states.values())


def _rows(table: pd.DataFrame) -> Iterator[Any]:
    return table.itertuples(index=False)


def _field_state(row: Any) -> FieldState:
    plane = affine_in(row, SKY_NAMES)
    sky = TangentPlane((row.ra, row.dec), plane) if np.isfinite(plane).all() else None
    shape = (int(row.ny), int(row.nx))
    return FieldState(row.field_id, (row.night, row.camera), shape, row.binning, row.pixel_scale, plane=sky)


def affine_in(row: Any, names: Sequence[str]) -> Affine:
    """Transform, shape (2, 3), in six columns of a row."""
    return np.array([getattr(row, name) for name in names], np.float64).reshape(2, 3)


def catalogs_of(tables: Tables, keys: Sequence[tuple[str, str]]) -> list[NightCatalog]:
    """Catalogues as they were registered, from their sightings."""
    wanted, rows = set(keys), {(row.night, row.camera): row for row in _rows(tables["catalogs"])}
    tables_by_key = tables["sightings"].groupby(["night", "camera"], sort=True)
    return [
        NightCatalog(
            *(row.night, row.camera, row.filter, table.reset_index(drop=True), (int(row.ny), int(row.nx))),
            binning=float(row.binning),
            pixel_scale=float(row.pixel_scale),
            pointing=(float(row.ra), float(row.dec)),
        )
        for key, table in tables_by_key
        if key in wanted and (row := rows[key])
    ]


def catalog_rows(registrations: Sequence[Registration]) -> pd.DataFrame:
    """Rows of the table of catalogues."""
    import pandas as pd

    rows = [
        (
            *(*r.catalog.key, r.catalog.filter, r.status, r.field.name if r.field else "", r.reason),
            *(len(r.catalog.source), r.n_matched, r.residual, r.log_nfa, *r.catalog.shape),
            *(r.catalog.binning, r.catalog.pixel_scale, *r.catalog.pointing),
            *r.affine.ravel(),
        )
        for r in registrations
    ]
    return pd.DataFrame(rows, columns=CATALOGS.names)


def sighting_rows(registrations: Sequence[Registration]) -> pd.DataFrame:
    """Rows of the table of sightings; residuals are filled in when the objects' places are known."""
    import pandas as pd

    parts = [_sightings(registration) for registration in registrations if len(registration.catalog.source)]
    if not parts:
        return pd.DataFrame(columns=SIGHTINGS.names)
    return pd.concat(parts, ignore_index=True)


def _sightings(r: Registration) -> pd.DataFrame:
    import pandas as pd

    stars: list[Star | str] = r.stars or [r.reason] * len(r.catalog.source)
    xy, sky = r.catalog.xy, r.catalog.sky
    place = apply(r.affine, xy)
    return pd.DataFrame(
        {
            "night": r.catalog.night,
            "camera": r.catalog.camera,
            "filter": r.catalog.filter,
            "source": r.catalog.source.astype(np.int32),
            "object_id": [star.resolved().name if isinstance(star, Star) else "" for star in stars],
            "field_id": r.field.name if r.field else "",
            "reason": ["" if isinstance(star, Star) else star for star in stars],
            "x": xy[:, 0],
            "y": xy[:, 1],
            "flux": r.catalog.flux,
            "blended": r.catalog.blended,
            "ra": sky[:, 0],
            "dec": sky[:, 1],
            "field_x": place[:, 0],
            "field_y": place[:, 1],
            "dx": np.nan,
            "dy": np.nan,
            "separation": np.nan,
        }
    )


def field_rows(states: Sequence[FieldState], joins: Sequence[Join]) -> pd.DataFrame:
    """Rows of the table of fields: those that stand, and those with an ID that are part of another now."""
    import pandas as pd

    nothing = np.full(6, np.nan)
    rows = [(*_field_row(state), "", *nothing) for state in states]
    rows += [
        (*_field_row(join.gone), join.root.name, *join.affine.ravel()) for join in joins if join.gone.name
    ]
    return pd.DataFrame(rows, columns=FIELDS.names)


def _field_row(state: FieldState) -> tuple[Any, ...]:
    """Row of the table of fields, without what it is joined to; the counts are filled in later."""
    plane = state.plane
    return (
        *(state.name, *state.reference, *state.shape, state.binning, state.pixel_scale, 0, 0, 0),
        *(plane.centre if plane else (np.nan, np.nan)),
        *(plane.affine.ravel() if plane else np.full(6, np.nan)),
    )
