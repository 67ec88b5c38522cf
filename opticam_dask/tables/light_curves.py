"""A block of frames -> rows of the light-curve table, measured and written where the pixels are."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from opticam_dask.errors import FrameReadError
from opticam_dask.io.blocks import FrameBlock
from opticam_dask.schema import CLOUD_MAG, MEASUREMENT, Flag
from opticam_dask.shipping import Shipped
from opticam_dask.tables.parts import write_part
from opticam_dask.tables.rows import rows_of
from opticam_dask.tables.source_times import SourceClock
from opticam_dask.types import XY, Affine, Exposure, PsfModel

_AFFINE = ["a11", "a12", "a13", "a21", "a22", "a23"]


class Measures(Protocol):
    """What a photometer offers: measure every source in one frame."""

    @property
    def forced(self) -> bool:
        """Whether sources are measured at their predicted places."""
        ...

    def sight(self, psf: PsfModel) -> float:
        """Distance from a source within which all pixels lie that bear on it [pixel]."""
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
    psf : ndarray, shape (n_frames, 3)
        PSF of each frame: sigmas along major and minor axis [pixel], position of the major axis [degree].
    flags : ndarray, shape (n_frames,)
        Quality bits that hold for every source of the frame.
    jobs : tuple of int
        Which of the plan's photometers are to measure the block.
    """

    frames: FrameBlock
    affine: NDArray[np.float64]
    fwhm: NDArray[np.float64]
    psf: NDArray[np.float64]
    flags: NDArray[np.int32]
    jobs: tuple[int, ...]

    def __dask_tokenize__(self) -> object:
        return type(self).__qualname__, self.frames.key, self.jobs

    def rows_at(self, xy: XY) -> NDArray[np.float64]:
        """Rows of catalogue positions in each frame, shape (n_frames, n_source) [pixel]."""
        # written out: a matrix product may round as the number of frames has it
        row = self.affine[:, 1, :, None]
        return np.asarray(row[:, 0] * xy[:, 0] + row[:, 1] * xy[:, 1] + row[:, 2])


@dataclass(frozen=True, eq=False)
class PhotometryJob:
    """One photometer, the PSF it works with, and where its rows go.

    Parameters
    ----------
    label : str
        Name of the set of light curves.
    root : Path
        Its dataset.
    photometer : Shipped
        The photometer, by value.
    psf : PsfModel
        PSF of the camera, of the profile that the photometer uses.
    moments : PsfModel
        PSF of the camera from moments, as that of each frame is measured.
    psf_per_frame : bool
        Whether to measure each frame with its own PSF.
    correction : float
        Factor on fluxes and errors: the measured aperture correction, or 1.
    provenance : dict
        Goes into the metadata of the parts.
    made_of : str
        Digest of inputs, settings and catalogue, for the records of the parts.
    """

    label: str
    root: Path
    photometer: Shipped
    psf: PsfModel
    moments: PsfModel
    psf_per_frame: bool
    provenance: dict[str, str]
    correction: float = 1.0
    made_of: str = ""

    def psf_of(self, shape: NDArray[np.float64]) -> PsfModel:
        """PSF of a frame whose own moments are ``shape``.

        Moments do not tell the widths of a Moffat profile, but their ratio tells how these change.
        """
        if not self.psf_per_frame:
            return self.psf
        own = PsfModel(*(float(value) for value in shape))
        return own if self.psf.beta is None else self.psf.scaled(own.fwhm / self.moments.fwhm)


@dataclass(frozen=True, eq=False)
class PhotometryPlan:
    """What is the same for every block of a camera: sources, hot pixels, and what measures them.

    With ``partial_reads`` a worker reads only pixels near sources, where its photometers use no others.
    """

    xy: XY
    source: NDArray[np.int32]
    blended: NDArray[np.bool_]
    background: Any
    box_size: int
    hot: NDArray[np.int64]
    jobs: tuple[PhotometryJob, ...]
    clock: SourceClock
    unit: str
    partial_reads: bool = True


@dataclass(frozen=True)
class BlockSummary:
    """What a worker reports of a finished part: the only thing that travels back."""

    label: str
    key: tuple[str, str, int, int]
    rows: int
    measured: int
    seconds: float
    unreadable: tuple[str, ...]
    failed: str = ""


def align_blocks(
    blocks: list[FrameBlock],
    alignment: pd.DataFrame,
    psfs: NDArray[np.float64],
    jobs: list[tuple[int, ...]],
) -> list[AlignedBlock]:
    """Pair each block with its rows of the alignment table, the PSFs of these, and its jobs.

    Parameters
    ----------
    blocks : list of FrameBlock
        Blocks of one camera.
    alignment : DataFrame
        Alignment of its frames, in any order.
    psfs : ndarray, shape (n_rows, 3)
        PSF of each row of `alignment`: sigmas [pixel] and position of the major axis [degree].
    jobs : list of tuple of int
        Which photometers measure each block.
    """
    night, names = alignment["night"].factorize()
    frame = alignment["frame"].to_numpy()
    order = np.lexsort((frame, night))
    night, frame = night[order], frame[order]
    affine = alignment[_AFFINE].to_numpy(np.float64)[order].reshape(-1, 2, 3)
    fwhm = alignment["fwhm"].to_numpy(np.float64)[order]
    flags, shapes = _frame_flags(alignment)[order], psfs[order]
    edges = np.searchsorted(night, np.arange(len(names) + 1))
    spans = {str(name): slice(*edges[i : i + 2]) for i, name in enumerate(names)}
    aligned = []
    for block, todo in zip(blocks, jobs, strict=True):
        span = spans[block.night]
        at = span.start + np.searchsorted(frame[span], block.meta["frame"])
        aligned.append(AlignedBlock(block, affine[at], fwhm[at], shapes[at], flags[at], todo))
    return aligned


def _frame_flags(rows: pd.DataFrame) -> NDArray[np.int32]:
    """Quality bits of frames from their alignment: no transform of their own, cloud."""
    flags = np.where(rows["status"].to_numpy() == "aligned", 0, int(Flag.NOT_ALIGNED))
    cloudy = rows["cloud"].to_numpy(np.float64) >= CLOUD_MAG
    return np.asarray(flags | np.where(cloudy, int(Flag.CLOUD), 0), np.int32)


def measure_block(block: AlignedBlock, plan: PhotometryPlan) -> list[BlockSummary]:
    """Measure every source in every frame of a block and write the rows of each photometer as one part.

    Parameters
    ----------
    block : AlignedBlock
        The frames, read once, their transforms, and which photometers measure them.
    plan : PhotometryPlan
        Sources, photometers and output folders.

    Returns
    -------
    list of BlockSummary
        Counts, one entry per photometer; the rows themselves stay on disk.
    """
    started = time.perf_counter()
    jobs = [plan.jobs[number] for number in block.jobs]
    photometers: list[Measures] = [job.photometer.load() for job in jobs]
    results = np.empty((len(jobs), len(block.frames), len(plan.xy)), MEASUREMENT)
    unreadable = []
    for i, frame in _frames_to_read(block, plan, jobs, photometers).exposures():
        if isinstance(frame, FrameReadError):
            unreadable.append(str(frame))
            results[:, i] = nothing(len(plan.xy), Flag.UNREADABLE)
            continue
        for number, (job, photometer) in enumerate(zip(jobs, photometers, strict=True)):
            results[number, i] = _measure_frame(frame, block, i, plan, job.psf_of(block.psf[i]), photometer)
    for job, rows in zip(jobs, results, strict=True):
        rows["flux"] *= job.correction
        rows["flux_err"] *= job.correction
        table = rows_of_block(block, plan, rows)
        write_part(table, job.root, block.frames.key, job.provenance, made_of=job.made_of)
    seconds = (time.perf_counter() - started) / max(len(jobs), 1)
    return [
        _summary(job, block.frames, rows, seconds, unreadable)
        for job, rows in zip(jobs, results, strict=True)
    ]


def _frames_to_read(
    block: AlignedBlock, plan: PhotometryPlan, jobs: list[PhotometryJob], photometers: list[Measures]
) -> FrameBlock:
    """Frames of a block, of which only what the photometers use is read, where they can tell."""
    pairs = list(zip(jobs, photometers, strict=True))
    reach = np.array([max(one.sight(job.psf_of(shape)) for job, one in pairs) for shape in block.psf])
    if not plan.partial_reads or not np.isfinite(reach).all():
        return block.frames
    return block.frames.reading_near(plan.xy, block.affine, reach)


def _summary(
    job: PhotometryJob, frames: FrameBlock, rows: NDArray[Any], seconds: float, unreadable: list[str]
) -> BlockSummary:
    measured = int(np.isfinite(rows["flux"]).sum())
    return BlockSummary(job.label, frames.key, rows.size, measured, seconds, tuple(unreadable))


def _measure_frame(
    frame: Exposure, block: AlignedBlock, i: int, plan: PhotometryPlan, psf: PsfModel, photometer: Measures
) -> NDArray[Any]:
    affine: Affine = block.affine[i]
    not_aligned = bool(block.flags[i] & int(Flag.NOT_ALIGNED))
    if not np.isfinite(affine).all() or (not_aligned and not photometer.forced):
        return nothing(len(plan.xy), Flag.NOT_ALIGNED)
    return photometer.measure(
        frame,
        plan.xy @ affine[:, :2].T + affine[:, 2],
        psf,
        background=plan.background,
        box_size=plan.box_size,
        hot=plan.hot,
    )


def rows_of_block(block: AlignedBlock, plan: PhotometryPlan, results: NDArray[Any]) -> pa.Table:
    """Light-curve rows of one photometer's measurements, shape (n_frames, n_source)."""
    frames, clock = block.frames, plan.clock
    blended = np.where(plan.blended, int(Flag.BLENDED), 0).astype(np.int32)
    flags = results["flags"] | blended | clock.flags(frames.meta["flags"] | block.flags)
    times = clock.times(
        frames.meta, np.where(np.isfinite(results["y"]), results["y"], block.rows_at(plan.xy))
    )
    return rows_of(frames, plan.source, results, flags, block.fwhm, times, unit=plan.unit)


def nothing(n: int, flag: Flag) -> NDArray[Any]:
    """Rows of a frame that could not be measured: NaN, with the reason."""
    rows = np.empty(n, MEASUREMENT)
    for name in ("flux", "flux_err", "bkg", "bkg_err", "x", "y"):
        rows[name] = np.nan
    rows["flags"] = int(flag)
    return rows
