"""What follows from the sightings: mean places of objects, their counts, residuals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from opticam_dask.matching.columns import (
    AFFINE_NAMES,
    FIELDS,
    MAGNITUDE_PREFIX,
    OBJECTS,
    SKY_NAMES,
)
from opticam_dask.matching.sky import from_plane

if TYPE_CHECKING:
    import pandas as pd


def derived(
    fields: pd.DataFrame, catalogs: pd.DataFrame, sightings: pd.DataFrame, objects: pd.DataFrame
) -> dict[str, pd.DataFrame]:
    """Tables with all that follows from transforms and identifications, sorted.

    Objects need their ``object_id``, ``field_id`` and ``same_as`` only, and the last known place for the
    case that no sighting is left.
    """
    catalogs = catalogs.sort_values(["night", "camera"], ignore_index=True)
    sightings = sightings.sort_values(["night", "camera", "source"], ignore_index=True)
    sightings = _placed(sightings, catalogs)
    objects = _objects(objects.sort_values("object_id", ignore_index=True), sightings, fields)
    sightings = _residuals(sightings, objects)
    return {
        "fields": _counted(fields.sort_values("field_id", ignore_index=True), catalogs, objects),
        "catalogs": catalogs,
        "objects": objects,
        "sightings": sightings,
    }


def _placed(sightings: pd.DataFrame, catalogs: pd.DataFrame) -> pd.DataFrame:
    """Sightings with their field and their place in it, by the transforms of their catalogues."""
    known = sightings[["night", "camera"]].merge(
        catalogs[["night", "camera", "field_id", *AFFINE_NAMES]], how="left", on=["night", "camera"]
    )
    a11, a12, a13, a21, a22, a23 = (known[name].to_numpy(float) for name in AFFINE_NAMES)
    x, y = sightings["x"].to_numpy(float), sightings["y"].to_numpy(float)
    return sightings.assign(
        field_id=known["field_id"].to_numpy(),
        field_x=a11 * x + a12 * y + a13,
        field_y=a21 * x + a22 * y + a23,
    )


def _objects(objects: pd.DataFrame, sightings: pd.DataFrame, fields: pd.DataFrame) -> pd.DataFrame:
    seen = sightings[sightings["object_id"] != ""]
    groups = seen.groupby("object_id")
    out = objects[["object_id", "field_id", "same_as", "x", "y"]].set_index("object_id")
    mean = groups[["field_x", "field_y"]].mean().reindex(out.index)
    out["x"], out["y"] = mean["field_x"].fillna(out["x"]), mean["field_y"].fillna(out["y"])
    count = groups.size().reindex(out.index, fill_value=0)
    spread = groups[["field_x", "field_y"]].var(ddof=0).sum(axis=1).reindex(out.index)
    out["scatter"] = np.sqrt(spread.where(count > 1).clip(lower=0.0))
    out["n_sightings"] = count.astype(np.int32)
    for name, column in (("n_nights", "night"), ("n_cameras", "camera")):
        out[name] = groups[column].nunique().reindex(out.index, fill_value=0).astype(np.int32)
    out["first_night"] = groups["night"].min().reindex(out.index, fill_value="")
    out["last_night"] = groups["night"].max().reindex(out.index, fill_value="")
    out = _with_sky(out.reset_index(), fields)
    magnitudes = _magnitudes(seen)
    for name in magnitudes.columns:
        out[name] = out["object_id"].map(magnitudes[name])
    return out[[*OBJECTS.names, *magnitudes.columns]]


def _magnitudes(seen: pd.DataFrame) -> pd.DataFrame:
    """Median magnitude of each object, a column for each filter."""
    import pandas as pd

    bright = seen[seen["flux"].to_numpy(float) > 0]
    mag = bright.assign(mag=-2.5 * np.log10(bright["flux"].to_numpy(float)))
    bands = sorted(set(mag["filter"]))
    medians = {
        f"{MAGNITUDE_PREFIX}{band}": mag[mag["filter"] == band].groupby("object_id")["mag"].median()
        for band in bands
    }
    return pd.DataFrame(medians)


def _with_sky(objects: pd.DataFrame, fields: pd.DataFrame) -> pd.DataFrame:
    """Objects with sky coordinates, by the plane of their field."""
    objects["ra"], objects["dec"] = np.nan, np.nan
    known: Iterator[Any] = fields[fields["s11"].notna()].itertuples(index=False)
    for row in known:
        own = (objects["field_id"] == row.field_id).to_numpy()
        affine = np.array([getattr(row, name) for name in SKY_NAMES], float).reshape(2, 3)
        plane = objects.loc[own, ["x", "y"]].to_numpy(float) @ affine[:, :2].T + affine[:, 2]
        sky = from_plane(plane, (float(row.ra), float(row.dec)))
        objects.loc[own, "ra"], objects.loc[own, "dec"] = sky[:, 0], sky[:, 1]
    return objects


def _residuals(sightings: pd.DataFrame, objects: pd.DataFrame) -> pd.DataFrame:
    places = objects.set_index("object_id")[["x", "y"]].reindex(sightings["object_id"])
    dx = sightings["field_x"].to_numpy(float) - places["x"].to_numpy(float)
    dy = sightings["field_y"].to_numpy(float) - places["y"].to_numpy(float)
    return sightings.assign(dx=dx, dy=dy, separation=np.hypot(dx, dy))


def _counted(fields: pd.DataFrame, catalogs: pd.DataFrame, objects: pd.DataFrame) -> pd.DataFrame:
    groups = catalogs[catalogs["field_id"] != ""].groupby("field_id")
    names = fields["field_id"]
    count = objects[objects["same_as"] == ""].groupby("field_id").size()
    counts = {"n_nights": groups["night"].nunique(), "n_catalogs": groups.size(), "n_objects": count}
    for name, values in counts.items():
        fields[name] = names.map(values).fillna(0).astype(np.int32)
    table: pd.DataFrame = fields[FIELDS.names]
    return table
