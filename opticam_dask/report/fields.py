"""Pictures of the fields of a survey, each from one of its nights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from opticam_dask.catalog.store import load_catalogs
from opticam_dask.errors import OpticamError
from opticam_dask.kernels.transform import apply, inside, invert
from opticam_dask.matching.columns import AFFINE_NAMES
from opticam_dask.plotting.images import SHOWN_PIXELS
from opticam_dask.report.pictures import grey
from opticam_dask.report.plots import Field
from opticam_dask.survey.arrivals import nights_folder
from opticam_dask.types import Image

if TYPE_CHECKING:
    import pandas as pd

    from opticam_dask.catalog.model import CameraCatalog
    from opticam_dask.matching import Master

MOST_FIELDS = 30
"""Fields with pictures; a survey may have more, those seen in most nights come first."""


_PIXELS = 4_000_000  # of all pictures together: a page has to open anywhere


def survey_fields(out: Path, master: Master) -> list[Field]:
    """Pictures of each field and camera, from the field's reference night if it is in that.

    Parameters
    ----------
    out : Path
        The survey.
    master : Master
        Its fields and objects.

    Returns
    -------
    list of Field
        Objects stand where the field's transform puts them, whether that night shows them or not. A night
        that cannot be read any more is passed over; where none is left, there is no picture.
    """
    own = master.fields[master.fields["joined_to"] == ""]
    ordered = own.sort_values(["n_nights", "field_id"], ascending=[False, True])
    chosen = ordered.head(MOST_FIELDS)[["field_id", "night"]]
    pictures = master.catalogs[master.catalogs["field_id"].isin(chosen["field_id"])]
    number = len(pictures[["field_id", "camera"]].drop_duplicates())
    side = min(SHOWN_PIXELS, math.isqrt(_PIXELS // max(1, number)))
    pairs = chosen.itertuples(index=False, name=None)
    return [field for name, night in pairs for field in _pictures(out, master, name, night, side)]


def _pictures(out: Path, master: Master, field_id: str, reference: str, side: int) -> Iterator[Field]:
    rows = master.catalogs[(master.catalogs["field_id"] == field_id) & (master.catalogs["n_sources"] > 0)]
    lacking = set(rows["camera"])
    for night in sorted(set(rows["night"]), key=lambda each: (each != reference, each)):
        if not lacking:
            return
        catalogs = _catalogs(out, night)
        here = rows[(rows["night"] == night) & rows["camera"].isin(lacking & catalogs.keys())]
        for _, row in here.sort_values("camera").iterrows():
            yield _field(master, row, catalogs[row["camera"]].stacked_image, side)
        lacking -= set(here["camera"])


def _catalogs(out: Path, night: str) -> dict[str, CameraCatalog]:
    try:
        return load_catalogs(nights_folder(out) / night)
    except OpticamError:
        return {}


def _field(master: Master, row: pd.Series, image: Image, side: int) -> Field:
    """Picture of a stacked image with the objects that its camera saw in any night."""
    seen = master.sightings[master.sightings["camera"] == row["camera"]]["object_id"]
    known = (master.objects["field_id"] == row["field_id"]) & master.objects["object_id"].isin(seen)
    objects = master.objects[known]
    into_field = row[list(AFFINE_NAMES)].to_numpy(float).reshape(2, 3)
    xy = apply(invert(into_field), objects[["x", "y"]].to_numpy(float))
    shown = inside(xy, image.shape)
    ids = objects["object_id"][shown].tolist()
    return Field(row["camera"], grey(image, side), image.shape, ids, xy[shown], row["field_id"], row["night"])
