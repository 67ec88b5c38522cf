"""The ``opticam`` engine of ``xarray.open_datatree(folder)`` and ``xarray.open_dataset(file)``."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from xarray import Variable
from xarray.backends import BackendEntrypoint
from xarray.core.indexing import ExplicitlyIndexed

from opticam_dask.errors import InputError
from opticam_dask.io.zarr_store.layout import is_store

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from astropy.coordinates import SkyCoord

    from opticam_dask.instrument import Instrument

_SUFFIXES = (".fits", ".fit", ".fts")
_WRAPPINGS = (".gz", ".bz2", ".fz")


class OpticamBackend(BackendEntrypoint):
    """Opens FITS frames lazily; options as for `opticam_dask.open_observation`, and an instrument by name."""

    description = "FITS frames of time-series cameras, one lazy cube per camera"
    open_dataset_parameters = (
        "filename_or_obj",
        "drop_variables",
        "instrument",
        "recursive",
        "target",
        "frames",
        "block_bytes",
    )
    supports_groups = True

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Whether the name is that of a FITS file, or of a store that `opticam_dask.ingest` made."""
        if not isinstance(filename_or_obj, str | os.PathLike):
            return False
        if is_store(filename_or_obj):
            return True
        name = Path(filename_or_obj).name.lower()
        for wrapping in _WRAPPINGS:
            name = name.removesuffix(wrapping)
        return name.endswith(_SUFFIXES)

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        instrument: Instrument | str | None = None,
        recursive: bool = False,
        target: SkyCoord | str | None = None,
        frames: pd.DataFrame | None = None,
        block_bytes: int | str | None = None,
    ) -> xr.Dataset:
        """Open the frames of one camera: those of a file, or of a folder with one camera.

        Raises
        ------
        InputError
            If there is no frame, or there are several cameras.
        """
        nodes = self.open_groups_as_dict(
            filename_or_obj,
            drop_variables=drop_variables,
            instrument=instrument,
            recursive=recursive,
            target=target,
            frames=frames,
            block_bytes=block_bytes,
        )
        cameras = [name for name in nodes if name != "/"]
        if len(cameras) > 1:
            told = ", ".join(cameras)
            raise InputError(f"{filename_or_obj} holds several cameras ({told}): use xarray.open_datatree")
        return nodes[cameras[0]]

    def open_groups_as_dict(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        **options: Any,
    ) -> dict[str, xr.Dataset]:
        """Open every camera as a dataset, by name."""
        tree = self.open_datatree(filename_or_obj, drop_variables=drop_variables, **options)
        return {"/": tree.to_dataset()} | {name: node.to_dataset() for name, node in tree.children.items()}

    def open_datatree(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        instrument: Instrument | str | None = None,
        recursive: bool = False,
        target: SkyCoord | str | None = None,
        frames: pd.DataFrame | None = None,
        block_bytes: int | str | None = None,
    ) -> xr.DataTree:
        """Open the frames of a folder or a file as a tree with a node per camera."""
        from opticam_dask.io.cube import open_observation

        night = open_observation(
            os.fspath(filename_or_obj),
            _instrument(instrument),
            recursive=recursive,
            target=target,
            frames=frames,
            block_bytes=block_bytes,
        )
        night = night.map_over_datasets(_keeping_dask)
        names = [drop_variables] if isinstance(drop_variables, str) else list(drop_variables or ())
        return (
            night.map_over_datasets(lambda node: node.drop_vars(names, errors="ignore")) if names else night
        )


class DaskVariable(Variable):
    """Variable that stays a dask array.

    xarray wraps what an engine opens, dask arrays included, for its own lazy loading; the wrapper would hide
    the chunks.
    """

    __slots__ = ()

    @property
    def data(self) -> Any:
        """Pixels, lazy."""
        return super().data

    @data.setter
    def data(self, data: Any) -> None:
        if isinstance(data, ExplicitlyIndexed):
            data = data.get_duck_array()
        cast("property", Variable.data).__set__(self, data)


def _keeping_dask(node: xr.Dataset) -> xr.Dataset:
    images = {name: DaskVariable(v.dims, v.variable.data, v.attrs) for name, v in node.data_vars.items()}
    return node.assign(images)


def _instrument(instrument: Instrument | str | None) -> Instrument:
    from opticam_dask.instrument import OPTICAM_MX, get_instrument

    if instrument is None:
        return OPTICAM_MX
    return get_instrument(instrument) if isinstance(instrument, str | os.PathLike) else instrument
