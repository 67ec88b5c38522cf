"""Rows of light curves of one night and camera as matrices of stars and frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
from numpy.typing import NDArray

from opticam_dask.differential.solve import Array
from opticam_dask.schema import OBJECT_ID, Flag
from opticam_dask.tables.parts import camera_folder

StarName: TypeAlias = int | str
"""A source's ID in its camera's catalogue, or the object_id that a survey gave it."""

NEEDED = ("source", "frame", "exposure", "flux", "flux_err", "flags")
_TRIES = 5


@dataclass(frozen=True)
class NightFolder:
    """Light curves of one night and camera on disk.

    Parameters
    ----------
    root : str
        The dataset of light curves.
    night, camera : str
        Which of its folders.
    """

    root: str
    night: str
    camera: str

    def files(self) -> list[Path]:
        """Parts, sorted by name."""
        return sorted(camera_folder(self.root, self.night, self.camera).glob("*.parquet"))

    def fingerprint(self) -> list[list[Any]]:
        """Name, size and time of modification of each part."""
        status = [(path.name, path.stat()) for path in self.files()]
        return [[name, found.st_size, found.st_mtime_ns] for name, found in status]

    def dataset(self) -> pads.Dataset:
        """Open the parts with pyarrow."""
        checks = pads.ParquetFragmentScanOptions(page_checksum_verification=True)
        kind = pads.ParquetFileFormat(default_fragment_scan_options=checks)
        return pads.dataset([str(path) for path in self.files()], format=kind)

    def read(self, columns: Sequence[str], wanted: pc.Expression, stride: int = 1) -> pa.Table:
        """Rows that are wanted, of every `stride`-th frame, in any order.

        Raises
        ------
        FileNotFoundError
            If parts keep vanishing: they are being merged.
        """
        for more in reversed(range(_TRIES)):
            try:
                dataset = self.dataset()
                names = [*columns, *([OBJECT_ID.name] if OBJECT_ID.name in dataset.schema.names else [])]
                batches = list(_thinned(dataset.scanner(names, filter=wanted).to_batches(), stride))
                schema = pa.schema([dataset.schema.field(name) for name in names])
                return pa.Table.from_batches(batches, schema)
            except FileNotFoundError:
                # parts were merged between the listing and the look into them
                if not more:
                    raise
        raise FileNotFoundError(self.root)

    def last_frame(self) -> int:
        """Highest number of a frame; -1 without rows."""
        highest = -1
        for fragment in self.dataset().get_fragments():
            for group in fragment.row_groups:
                statistics = group.statistics or {}
                known = statistics.get("frame", {}).get("max")
                if known is None:
                    return int(pc.max(self.dataset().to_table(columns=["frame"])["frame"]).as_py())
                highest = max(highest, int(known))
        return highest


def _thinned(batches: Iterator[pa.RecordBatch], stride: int) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        if stride == 1:
            yield batch
        else:
            yield batch.filter(pa.array(batch.column("frame").to_numpy() % stride == 0))


def is_one_of(names: Sequence[StarName]) -> pc.Expression:
    """Rows of some stars, by their IDs in the catalogue or in the survey."""
    column = OBJECT_ID.name if names and isinstance(names[0], str) else "source"
    return pc.field(column).isin(list(names))


@dataclass(frozen=True, eq=False)
class StarFrames:
    """Measurements of stars in frames.

    Parameters
    ----------
    source : ndarray of int, shape (n_star,)
        IDs in the camera's catalogue, sorted.
    name : tuple of str
        What a star is called on every night: its object_id, or the ID in the catalogue.
    frame : ndarray of int, shape (n_frame,)
        Numbers of the frames, sorted.
    flux, error : ndarray, shape (n_star, n_frame)
        Rates and their 1-sigma errors [counts / s]; NaN where there is no row.
    flags : ndarray of int, shape (n_star, n_frame)
        Quality bits; NOT_MATCHED where there is no row.
    """

    source: NDArray[np.int64]
    name: tuple[str, ...]
    frame: NDArray[np.int64]
    flux: Array
    error: Array
    flags: NDArray[np.int32]

    @property
    def clear(self) -> NDArray[np.bool_]:
        """Frames without clouds."""
        return np.asarray(~((self.flags & int(Flag.CLOUD)) != 0).any(axis=0))

    def without(self, source: int) -> StarFrames:
        """All stars but one."""
        keep = self.source != source
        name = tuple(n for n, kept in zip(self.name, keep, strict=True) if kept)
        return StarFrames(
            self.source[keep], name, self.frame, self.flux[keep], self.error[keep], self.flags[keep]
        )


def star_frames(
    rows: pa.Table,
    source: NDArray[np.int64] | None = None,
    frame: NDArray[np.int64] | None = None,
) -> StarFrames:
    """Spread rows of light curves over stars and frames.

    Parameters
    ----------
    rows : pyarrow.Table
        Columns of light curves, each row of another source or frame.
    source, frame : ndarray of int, optional
        Sources and frames, sorted; by default all that have rows. Other rows are left out.
    """
    of, at = (rows.column(name).to_numpy().astype(np.int64) for name in ("source", "frame"))
    source = np.unique(of) if source is None else source
    frame = np.unique(at) if frame is None else frame
    i, j = np.searchsorted(source, of), np.searchsorted(frame, at)
    inside = (i < len(source)) & (j < len(frame))
    inside[inside] = (source[i[inside]] == of[inside]) & (frame[j[inside]] == at[inside])
    i, j = i[inside], j[inside]
    shape = len(source), len(frame)
    flux, error = np.full(shape, np.nan), np.full(shape, np.nan)
    flags = np.full(shape, int(Flag.NOT_MATCHED), np.int32)
    exposure = rows.column("exposure").to_numpy()[inside]
    # counts per second: transparencies of frames of different length compare
    seconds = np.where(exposure > 0, exposure, 1.0)
    flux[i, j] = rows.column("flux").to_numpy()[inside] / seconds
    error[i, j] = rows.column("flux_err").to_numpy()[inside] / seconds
    flags[i, j] = rows.column("flags").to_numpy()[inside]
    return StarFrames(source, _names(rows, of, source), frame, flux, error, flags)


def _names(rows: pa.Table, of: NDArray[np.int64], source: NDArray[np.int64]) -> tuple[str, ...]:
    names = {int(one): str(one) for one in source}
    if OBJECT_ID.name in rows.column_names and len(of):
        _, first = np.unique(of, return_index=True)
        found = rows.column(OBJECT_ID.name).take(pa.array(first)).to_pylist()
        names |= {int(of[k]): text for k, text in zip(first, found, strict=True) if text}
    return tuple(names[int(one)] for one in source)
