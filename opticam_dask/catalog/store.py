"""Catalogues on disk: written beside and renamed, read back equal to the last bit."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from isal import igzip
from numpy.typing import NDArray

from opticam_dask.catalog.alignment import typed
from opticam_dask.catalog.model import CameraCatalog
from opticam_dask.errors import CatalogError
from opticam_dask.schema import ALIGNMENT
from opticam_dask.types import PsfModel

if TYPE_CHECKING:
    import pandas as pd

_SUFFIX = "_catalog.ecsv"
_HOT = "HOT"  # extension with the map of hot pixels, where there are any


def save_catalogs(
    out_directory: Path | str,
    catalogs: Mapping[str, CameraCatalog] | Iterable[CameraCatalog],
    unaligned: Iterable[pd.DataFrame] = (),
) -> None:
    """Write catalogues: ``cat/<camera>_catalog.ecsv``, ``cat/stacked_images`` and ``alignment.parquet``.

    Cameras written before and not among `catalogs` stay as they are. The catalogue file of a camera is
    written last: where it exists, the rest does.

    Parameters
    ----------
    out_directory : path
        The output directory.
    catalogs : mapping or iterable
        Catalogues; keys of a mapping are not used.
    unaligned : iterable of DataFrame
        Alignment rows of cameras that gave no catalogue.
    """
    root = Path(out_directory)
    found = list(catalogs.values() if isinstance(catalogs, Mapping) else catalogs)
    (root / "cat" / "stacked_images").mkdir(parents=True, exist_ok=True)
    tables = [*(catalog.alignment for catalog in found), *unaligned]
    _save_alignment(root / "alignment.parquet", tables)
    for catalog in found:
        _save_stack(stack_path(root, catalog.camera), catalog)
        _save_table(catalog_path(root, catalog.camera), catalog)


def load_catalogs(out_directory: Path | str) -> dict[str, CameraCatalog]:
    """Catalogues of an output directory by camera, in order of name; empty if there are none.

    Raises
    ------
    CatalogError
        If a file is missing or damaged; it is named.
    """
    root = Path(out_directory)
    paths = sorted((root / "cat").glob(f"*{_SUFFIX}"))
    if not paths:
        return {}
    alignment = _guarded(_read_alignment, root / "alignment.parquet")
    loaded = [_load(root, path, alignment) for path in paths]
    return {catalog.camera: catalog for catalog in loaded}


def catalog_path(root: Path, camera: str) -> Path:
    """File of a camera's source catalogue."""
    return root / "cat" / f"{_clean(camera)}{_SUFFIX}"


def stack_path(root: Path, camera: str) -> Path:
    """File of a camera's stacked image; ':' has a meaning in paths elsewhere, so '-' stands for it."""
    return root / "cat" / "stacked_images" / f"{_clean(camera).replace(':', '-')}.fits.gz"


def _clean(camera: str) -> str:
    """Camera as a file name: header text must not climb out of the directory."""
    return re.sub(r"[^\w:+'.-]", "_", camera).lstrip(".")


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    """Write beside, then rename: readers see the old file or the new one, never half of it."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _save_table(path: Path, catalog: CameraCatalog) -> None:
    table = catalog.table.copy()
    table.meta = {
        "camera": catalog.camera,
        "psf": {
            "semimajor_sigma": catalog.psf.semimajor_sigma,
            "semiminor_sigma": catalog.psf.semiminor_sigma,
            "orientation": catalog.psf.orientation,
        },
        "reference_frame": list(catalog.reference_frame),
    }
    _replace(path, lambda p: table.write(p, format="ascii.ecsv"))


def _save_stack(path: Path, catalog: CameraCatalog) -> None:
    from astropy.io import fits

    header = fits.Header([("CAMERA", catalog.camera, "<arm>:<filter>"), ("BUNIT", "adu", "mean of frames")])
    plain = io.BytesIO()
    hdus = fits.HDUList([fits.PrimaryHDU(catalog.stacked_image.astype(np.float32), header)])
    if catalog.hot.size:
        hot = np.zeros(catalog.stacked_image.shape, np.uint8)
        hot.ravel()[catalog.hot] = 1
        hdus.append(fits.ImageHDU(hot, name=_HOT))
    hdus.writeto(plain)
    _replace(path, lambda p: p.write_bytes(igzip.compress(plain.getvalue(), mtime=0)))


def _save_alignment(path: Path, tables: list[pd.DataFrame]) -> None:
    import pandas as pd

    frames = [table for table in tables if len(table)]
    if path.exists():
        old = _guarded(_read_alignment, path)
        frames.append(old[~old["camera"].isin([str(table["camera"].iloc[0]) for table in frames])])
    frames = [frame for frame in frames if len(frame)]
    if frames:
        replace_alignment(path.parent, pd.concat(frames))


def replace_alignment(out_directory: Path | str, alignment: pd.DataFrame) -> None:
    """Write ``alignment.parquet`` anew, of all cameras; rows in any order."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = alignment.sort_values(["camera", "night", "frame"], ignore_index=True)
    arrow = pa.Table.from_pandas(table, ALIGNMENT, preserve_index=False)
    _replace(Path(out_directory) / "alignment.parquet", lambda p: pq.write_table(arrow, p))


def _guarded(read: Callable[[Path], Any], path: Path) -> Any:
    try:
        return read(path)
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise CatalogError(
            f"{path}: cannot be read ({error}); overwrite the catalogues, or remove the folder 'cat'"
        ) from error


def _read_alignment(path: Path) -> pd.DataFrame:
    import pyarrow.parquet as pq

    table = pq.read_table(path, schema=ALIGNMENT)
    return typed({name: table[name].to_numpy() for name in table.column_names})


def _read_stack(path: Path) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Stacked image and hot pixels; none of these where the map is missing."""
    from astropy.io import fits

    with fits.open(path, memmap=False) as hdus:
        stack = np.asarray(hdus[0].data, np.float64)
        hot = np.flatnonzero(hdus[_HOT].data) if _HOT in hdus else np.empty(0)
    return stack, hot.astype(np.int64)


def _read_table(path: Path) -> Any:
    from astropy.table import QTable

    table = QTable.read(path, format="ascii.ecsv")
    if not {"camera", "psf", "reference_frame"} <= set(table.meta) or "blended" not in table.colnames:
        raise ValueError("it lacks the PSF, or the column blended")
    return table


def _load(root: Path, path: Path, alignment: pd.DataFrame) -> CameraCatalog:
    table = _guarded(_read_table, path)
    meta = dict(table.meta)
    table.meta.clear()
    camera = str(meta["camera"])
    night, name, frame = meta["reference_frame"]
    stack, hot = _guarded(_read_stack, stack_path(root, camera))
    return CameraCatalog(
        camera=camera,
        table=table,
        psf=PsfModel(**meta["psf"]),
        stacked_image=stack,
        alignment=alignment[alignment["camera"] == camera].reset_index(drop=True),
        reference_frame=(str(night), str(name), int(frame)),
        hot=hot,
    )
