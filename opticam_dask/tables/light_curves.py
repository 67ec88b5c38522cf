"""A block of frames -> rows of the light-curve table, measured and written where the pixels are."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from opticam_dask.errors import FrameReadError
from opticam_dask.io.blocks import FrameBlock
from opticam_dask.schema import CLOUDY, LIGHT_CURVES, MEASUREMENT, Flag
from opticam_dask.shipping import Shipped
from opticam_dask.tables.parts import write_part
from opticam_dask.types import XY, Affine, Exposure, PsfModel


class Measures(Protocol):
    """What a photometer offers: measure every source in one frame."""

    @property
    def forced(self) -> bool:
        """Whether sources are measured at their predicted places."""
        ...

    def measure(
        self,
        frame: Exposure,
        xy: XY,
        psf: PsfModel,
        *,
        background: Any,
        box_size: int,
        hot: NDArray[np.int64],
    ) -> NDArray[Any]:
        """One record of `schema.MEASUREMENT` per source."""
        ...


@dataclass(frozen=True, eq=False)
class AlignedBlock:
    """A block of frames with what the catalogue pass learnt of each.

    Parameters
    ----------
    frames : FrameBlock
        The frames.
    affine : ndarray, shape (n_frames, 2, 3)
        Catalogue to frame transforms; NaN where there is none.
    fwhm : ndarray, shape (n_frames,)
        FWHM of each frame [pixel].
    flags : ndarray, shape (n_frames,)
        Quality bits that hold for every source of the frame.
    """

    frames: FrameBlock
    affine: NDArray[np.float64]
    fwhm: NDArray[np.float64]
    flags: NDArray[np.int32]

    def __dask_tokenize__(self) -> object:
        return type(self).__qualname__, self.frames.key


@dataclass(frozen=True, eq=False)
class PhotometryPlan:
    """What is the same for every block of a camera: sources, PSF, hot pixels, photometer, where rows go."""

    root: Path
    xy: XY
    source: NDArray[np.int32]
    psf: PsfModel
    photometer: Shipped
    background: Any
    box_size: int
    hot: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    provenance: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class BlockSummary:
    """What a worker reports of a finished block: the only thing that travels back."""

    key: tuple[str, str, int, int]
    rows: int
    measured: int
    seconds: float
    unreadable: tuple[str, ...]


def align_blocks(blocks: list[FrameBlock], alignment: pd.DataFrame) -> list[AlignedBlock]:
    """Pair each block with its rows of the alignment table (one camera, any order)."""
    ordered = alignment.sort_values(["night", "frame"], ignore_index=True)
    nights = {night: rows for night, rows in ordered.groupby("night", sort=False)}
    return [_align_block(block, nights[block.night]) for block in blocks]


def _align_block(block: FrameBlock, rows: pd.DataFrame) -> AlignedBlock:
    at = np.searchsorted(rows["frame"].to_numpy(), block.meta["frame"])
    rows = rows.iloc[at]
    affine = rows[["a11", "a12", "a13", "a21", "a22", "a23"]].to_numpy(np.float64).reshape(-1, 2, 3)
    flags = np.where(rows["status"].to_numpy() == "aligned", 0, int(Flag.NOT_ALIGNED))
    flags |= np.where(rows["transparency"].to_numpy(np.float64) < CLOUDY, int(Flag.CLOUD), 0)
    flags = flags.astype(np.int32)
    return AlignedBlock(block, affine, rows["fwhm"].to_numpy(np.float64), flags)


def measure_block(block: AlignedBlock, plan: PhotometryPlan) -> BlockSummary:
    """Measure every source in every frame of a block and write the rows as one part.

    Parameters
    ----------
    block : AlignedBlock
        The frames and their transforms.
    plan : PhotometryPlan
        Sources, photometer and output folder.

    Returns
    -------
    BlockSummary
        Counts; the rows themselves stay on disk.
    """
    started = time.perf_counter()
    results = np.empty((len(block.frames), len(plan.xy)), MEASUREMENT)
    photometer: Measures = plan.photometer.load()
    unreadable = []
    for i, frame in block.frames.exposures():
        if isinstance(frame, FrameReadError):
            unreadable.append(str(frame))
            results[i] = _nothing(len(plan.xy), Flag.UNREADABLE)
        else:
            results[i] = _measure_frame(frame, block, i, plan, photometer)
    write_part(rows_of(block, plan, results), plan.root, block.frames.key, plan.provenance)
    measured = int(np.isfinite(results["flux"]).sum())
    seconds = time.perf_counter() - started
    return BlockSummary(block.frames.key, results.size, measured, seconds, tuple(unreadable))


def _measure_frame(
    frame: Exposure, block: AlignedBlock, i: int, plan: PhotometryPlan, photometer: Measures
) -> NDArray[Any]:
    affine: Affine = block.affine[i]
    not_aligned = bool(block.flags[i] & int(Flag.NOT_ALIGNED))
    if not np.isfinite(affine).all() or (not_aligned and not photometer.forced):
        return _nothing(len(plan.xy), Flag.NOT_ALIGNED)
    return photometer.measure(
        frame,
        plan.xy @ affine[:, :2].T + affine[:, 2],
        plan.psf,
        background=plan.background,
        box_size=plan.box_size,
        hot=plan.hot,
    )


def _nothing(n: int, flag: Flag) -> NDArray[Any]:
    """Rows of a frame that could not be measured: NaN, with the reason."""
    rows = np.empty(n, MEASUREMENT)
    for name in ("flux", "flux_err", "bkg", "bkg_err", "x", "y"):
        rows[name] = np.nan
    rows["flags"] = int(flag)
    return rows


def rows_of(block: AlignedBlock, plan: PhotometryPlan, results: NDArray[Any]) -> pa.Table:
    """Light-curve rows of a block from its (frame, source) measurements, sorted by source then frame."""
    frames, n_source = block.frames, len(plan.xy)
    n_frames = len(frames)

    def per_frame(values: NDArray[Any]) -> NDArray[Any]:
        return np.tile(values, n_source)

    flags = results["flags"] | (frames.meta["flags"] | block.flags)[:, None]
    columns: dict[str, Any] = {
        "night": pa.array([frames.night] * (n_frames * n_source), pa.string()),
        "camera": pa.array([frames.camera] * (n_frames * n_source), pa.string()),
        "filter": pa.array([frames.filter] * (n_frames * n_source), pa.string()),
        "source": np.repeat(plan.source, n_frames),
        "fwhm": per_frame(block.fwhm),
        "flags": flags.T.ravel(),
    }
    columns |= {
        name: per_frame(frames.meta[name]) for name in ("frame", "BMJD", "MJD", "airmass", "exposure")
    }
    columns |= {name: results[name].T.ravel() for name in ("flux", "flux_err", "bkg", "bkg_err", "x", "y")}
    return pa.table([pa.array(columns[f.name], f.type) for f in LIGHT_CURVES], schema=LIGHT_CURVES)
