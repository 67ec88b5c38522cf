"""The master source table: which star each source of each night and camera is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from opticam_dask.errors import InputError
from opticam_dask.matching.derive import derived
from opticam_dask.matching.model import Key, NightCatalog
from opticam_dask.matching.naming import (
    joined_catalogs,
    joined_objects,
    name_fields,
    name_stars,
    new_objects,
)
from opticam_dask.matching.registrar import Registrar
from opticam_dask.matching.registration import Registration
from opticam_dask.matching.state import (
    catalog_rows,
    catalogs_of,
    field_rows,
    field_states,
    sighting_rows,
)
from opticam_dask.matching.store import SCHEMAS, read_tables, to_arrow, write_tables

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Master:
    """The master source table, a value: registering gives a new one.

    The same star has one ``object_id`` in every night and camera. Catalogues are matched by their WCS where
    there is one, else by their asterisms; those that do not match, and are too poor to begin a field, wait
    (``status`` pending, with a reason) until what comes later tells where they belong. Catalogues that do
    not overlap end in different fields.

    Parameters
    ----------
    fields, catalogs, objects, sightings : DataFrame
        Columns of `opticam_dask.matching.columns`. ``catalogs`` has a row for each night and camera, with
        its transform into its field.

    Notes
    -----
    An ID once given never changes and is never given again. Catalogues registered in one call get the same
    IDs whatever their order. Registered in several calls, in any order, sources are grouped into the same
    stars, but a star is called after the history: its number tells when it came. When a later catalogue
    shows that two fields are one, stars that have two IDs by then keep them; ``same_as`` tells.
    """

    fields: pd.DataFrame
    catalogs: pd.DataFrame
    objects: pd.DataFrame
    sightings: pd.DataFrame

    @classmethod
    def empty(cls) -> Master:
        """Master table without anything in it."""
        return cls(**{name: schema.empty_table().to_pandas() for name, schema in SCHEMAS.items()})

    @classmethod
    def load(cls, folder: Path | str) -> Master:
        """Master table of a folder; empty if there is none.

        Raises
        ------
        InputError
            If a file is missing or damaged, or the files are not of one moment.
        """
        tables = read_tables(Path(folder))
        return cls.empty() if tables is None else cls(**tables)

    def save(self, folder: Path | str) -> None:
        """Write the tables; whenever this stops, `load` finds all of the old ones or all of the new ones.

        Raises
        ------
        InputError
            If the folder cannot be written to.
        """
        write_tables(Path(folder), self._tables())

    def ids(self, night: str, camera: str) -> dict[int, str]:
        """IDs of the stars of a catalogue by source; sources not known to be some star are left out."""
        table = self.sightings
        own = table[(table["night"] == night) & (table["camera"] == camera) & (table["object_id"] != "")]
        return dict(zip(own["source"].astype(int).tolist(), own["object_id"].tolist(), strict=True))

    def register(self, catalogs: Sequence[NightCatalog]) -> Master:
        """Master table with more catalogues.

        A catalogue that is registered already is left alone if it is the same; else it is matched anew.
        Catalogues that are pending are tried again on what is new.

        Parameters
        ----------
        catalogs : sequence of NightCatalog
            In any order.

        Raises
        ------
        InputError
            If a night and camera are there twice.
        """
        _check_unique(catalogs)
        changed = [catalog for catalog in catalogs if not self._holds(catalog)]
        if not changed:
            return self
        keys = {catalog.key for catalog in changed}
        kept = self._without(keys)
        waiting = catalogs_of(kept._tables(), kept._pending())
        registrar = Registrar(field_states(kept._tables()))
        registrations = registrar.run(changed, waiting)
        rest = kept._without({catalog.key for catalog in waiting})
        return rest._extended(registrations, registrar)

    def same_star(self) -> pd.Series:
        """ID that stands for the star, by every ID given: its own, but for stars found to have two."""
        own = self.objects.set_index("object_id")["same_as"]
        chosen = own.where(own != "", own.index.to_series())
        while not (again := chosen.map(chosen)).equals(chosen):
            chosen = again
        return chosen

    def _tables(self) -> dict[str, pd.DataFrame]:
        return {name: getattr(self, name) for name in SCHEMAS}

    def _holds(self, catalog: NightCatalog) -> bool:
        """Whether the same catalogue is registered."""
        found = catalogs_of(self._tables(), [catalog.key])
        if not found:
            rows = self.catalogs
            here = (rows["night"] == catalog.night) & (rows["camera"] == catalog.camera)
            return bool(here.any()) and len(catalog.source) == 0
        return _same(found[0], catalog)

    def _pending(self) -> list[Key]:
        rows = self.catalogs[(self.catalogs["status"] == "pending") & (self.catalogs["n_sources"] > 0)]
        return list(zip(rows["night"], rows["camera"], strict=True))

    def _without(self, keys: Iterable[Key]) -> Master:
        """Master table without some catalogues; the objects stay."""
        gone = set(keys)
        if not gone:
            return self
        kept = {}
        for name in ("catalogs", "sightings"):
            table = getattr(self, name)
            pairs = zip(table["night"], table["camera"], strict=True)
            kept[name] = table[np.array([key not in gone for key in pairs], bool)]
        return Master(self.fields, kept["catalogs"], self.objects, kept["sightings"])

    def _extended(self, registrations: Sequence[Registration], registrar: Registrar) -> Master:
        joins = registrar.joins
        name_fields(registrations, self.fields["field_id"])
        fresh = name_stars(registrations, self.objects["object_id"])
        older = self.fields[self.fields["joined_to"] != ""]
        tables = derived(
            _stacked(older, field_rows(registrar.fields, joins)),
            _stacked(joined_catalogs(self.catalogs, joins), catalog_rows(registrations)),
            _stacked(self.sightings, sighting_rows(registrations)),
            _stacked(joined_objects(self.objects, joins, registrar.lost), new_objects(fresh)),
        )
        # of the types a table read back has
        return Master(**{name: to_arrow(name, table).to_pandas() for name, table in tables.items()})


def _stacked(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """Rows of both; what is empty has no say in the types."""
    import pandas as pd

    filled = [table for table in (first, second) if len(table)]
    return pd.concat(filled, ignore_index=True) if filled else first


def _check_unique(catalogs: Sequence[NightCatalog]) -> None:
    keys = [catalog.key for catalog in catalogs]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise InputError(f"catalogue of {' '.join(twice[0])} is there twice; give each once")


def _same(one: NightCatalog, other: NightCatalog) -> bool:
    order, turn = (np.argsort(catalog.source, kind="stable") for catalog in (one, other))
    if one.shape != other.shape or one.filter != other.filter or len(order) != len(turn):
        return False
    scales = (one.binning, one.pixel_scale)
    return np.array_equal(scales, (other.binning, other.pixel_scale), equal_nan=True) and all(
        np.array_equal(getattr(one, name)[order], getattr(other, name)[turn], equal_nan=name != "blended")
        for name in ("source", "xy", "flux", "sky", "blended")
    )
