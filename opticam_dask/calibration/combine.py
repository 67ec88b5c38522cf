"""Frames to their clipped mean: two looks at each, wherever the workers are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opticam_dask.calibration.frames import FrameSet, Run, Say
from opticam_dask.calibration.passes import STRIP, Look, Piece, digits_of, first_look, second_look, strips_of
from opticam_dask.calibration.pedestal import Pedestal
from opticam_dask.calibration.scatter import (
    Moderation,
    NoiseModel,
    clip_limits,
    clipped_share,
    first_guess,
    fit_noise,
    sample_variance,
)
from opticam_dask.errors import InputError
from opticam_dask.kernels.calibrate import Digits
from opticam_dask.lazy.chunks import join_tasks, map_blocks_of_frames

_ROUNDING = 1.0 / 12.0  # variance of whole numbers [adu^2]
_SHOWN = 3


@dataclass(frozen=True, eq=False)
class Job:
    """One set of frames to combine.

    Parameters
    ----------
    frames : FrameSet
        The frames.
    pedestal : Pedestal
        What is subtracted from each; of flats only.
    sigma : float
        Values farther from the centre than so many standard deviations are left out.
    folder : Path
        Where the sums go.
    shares : int
        Tasks that the frames are shared out to, at most.
    looks : tuple of Look
        What the first look found.
    """

    frames: FrameSet
    pedestal: Pedestal
    sigma: float
    folder: Path
    shares: int = 8
    looks: tuple[Look, ...] = ()

    @property
    def flat(self) -> bool:
        """Whether each frame is divided by its level."""
        return self.frames.kind == "flat"

    @property
    def digits(self) -> Digits:
        """How values become integers."""
        return digits_of(self.frames.frames, flat=self.flat)

    @property
    def used(self) -> list[Look]:
        """Looks at the frames that take part."""
        return [look for look in self.looks if not look.reason]

    @property
    def pieces(self) -> list[Piece]:
        """The frames, a piece a task."""
        cut = self.frames.pieces(self.shares)
        return [
            Piece(frames, self.pedestal, self.flat, self.digits, self.folder, number)
            for number, frames in enumerate(cut)
        ]

    def __dask_tokenize__(self) -> object:
        return type(self).__qualname__, str(self.folder), self.frames.inputs, self.sigma


@dataclass(frozen=True, eq=False)
class Combined:
    """Clipped mean of frames.

    Parameters
    ----------
    mean, variance : ndarray, shape (ny, nx), float32
        The mean and its variance; NaN without a value.
    count : ndarray of int32
        Values that took part.
    noisy : ndarray of bool
        Pixels that scatter far more than the others.
    n_frames : int
        Frames that took part.
    """

    mean: NDArray[np.float32]
    variance: NDArray[np.float32]
    count: NDArray[np.int32]
    noisy: NDArray[np.bool_]
    n_frames: int

    @classmethod
    def load(cls, folder: Path) -> Combined:
        """Read what `combine` left in a folder."""
        with np.load(folder / "combined.npz") as file:
            n_frames = int(file["n_frames"])
            return cls(file["mean"], file["variance"], file["count"], file["noisy"], n_frames)


def combine(jobs: Sequence[Job], run: Run, say: Say) -> list[Job]:
    """Combine sets of frames; each result is left in its job's folder, see `Combined.load`.

    Each file is read twice, whatever the number of workers. A worker holds the sums of one piece at a time:
    36 bytes a pixel, and a frame or two.

    Parameters
    ----------
    jobs : sequence of Job
        What to combine; all are worked on together.
    run : callable
        Computes tasks and returns their results in order.
    say : callable
        Told of frames left out.

    Returns
    -------
    list of Job
        With what the first look found.

    Raises
    ------
    InputError
        If no frame of a set can be used.
    """
    pieces = [job.pieces for job in jobs]
    every = [map_blocks_of_frames(first_look, some) for some in pieces]
    kind = jobs[0].frames.kind
    found = run(join_tasks(every), f"{kind} frames: first look")
    edges = [0, *accumulate(len(some) for some in pieces)]
    jobs = [
        replace(job, looks=tuple(look for part in found[a:b] for look in part))
        for job, (a, b) in zip(jobs, pairwise(edges), strict=True)
    ]
    for job in jobs:
        _tell(job, say)
    run(map_blocks_of_frames(set_bounds, jobs), f"{kind} frames: limits")
    run(
        join_tasks([map_blocks_of_frames(second_look, some) for some in pieces]),
        f"{kind} frames: second look",
    )
    run(map_blocks_of_frames(finish, jobs), f"{kind} frames: mean")
    return jobs


def _tell(job: Job, say: Say) -> None:
    lost = [look for look in job.looks if look.reason]
    for look in lost[:_SHOWN]:
        say(f"{job.frames.kind}: left out {look.path}: {look.reason}")
    if len(lost) > _SHOWN:
        say(f"{job.frames.kind}: {len(lost) - _SHOWN} more frames left out")
    if not job.used:
        raise InputError(f"{job.frames.label}: no frame can be used: {lost[0].path}: {lost[0].reason}")
    if len(job.used) < 3:
        known = "their difference" if len(job.used) > 1 else "read noise and shot noise"
        say(f"warning: {job.frames.label}: only {len(job.used)} frame(s); its variance comes from {known}")


def set_bounds(job: Job) -> float:
    """Limits for the second look, on disk; returns the usual variance of a value."""
    shape = job.frames.frames.shape
    centre, own, plain, count = (np.empty(shape, np.float32) for _ in range(4))
    for rows, sums in strips_of(job.folder, "first", len(job.pieces), shape):
        centre[rows], own[rows], plain[rows] = first_guess(sums, job.digits)
        count[rows] = sums.small[0]
    noise = _noise(job, centre, plain, len(job.used))
    bounds = np.empty((2, *shape), np.int32)
    for rows in _strips(shape[0]):
        limits = clip_limits(centre[rows], own[rows], count[rows], noise, job.sigma)
        steps = np.nan_to_num(np.array(limits, np.float64) * job.digits.scale, nan=0.0)
        bounds[:, rows] = np.clip(np.rint(steps), -(2.0**31), 2.0**31 - 1).astype(np.int32)
    np.save(job.folder / "bounds.npy", bounds)
    return noise.variance


def finish(job: Job) -> int:
    """Mean and its variance, on disk; returns the number of values that took part."""
    shape = job.frames.frames.shape
    mean, own = (np.empty(shape, np.float32) for _ in range(2))
    count = np.empty(shape, np.int32)
    for rows, sums in strips_of(job.folder, "second", len(job.pieces), shape):
        count[rows] = sums.small[0]
        with np.errstate(invalid="ignore", divide="ignore"):
            mean[rows] = sums.sums[0] / (job.digits.scale * sums.small[0])
        own[rows] = sample_variance(sums) / (job.digits.scale**2 * clipped_share(job.sigma))
    noise = _noise(job, mean, own, len(job.used))
    variance, noisy = np.empty(shape, np.float32), np.empty(shape, bool)
    moderation = Moderation.fit(own, mean, count, noise)
    for rows in _strips(shape[0]):
        n = count[rows]
        one, noisy[rows] = moderation.of(own[rows], mean[rows], n)
        variance[rows] = np.where(n > 0, one / np.maximum(n, 1), np.nan)
    np.savez(
        job.folder / "combined.npz",
        mean=mean,
        variance=variance,
        count=count,
        noisy=noisy,
        n_frames=len(job.used),
    )
    return int(count.sum(dtype=np.int64))


def _strips(rows: int) -> list[slice]:
    return [slice(start, start + STRIP) for start in range(0, rows, STRIP)]


def _noise(job: Job, level: NDArray[Any], variance: NDArray[Any], n: int) -> NoiseModel:
    """Noise of one value, from the scatter of the usual pixels; of a single frame, from the detector."""
    meta = job.frames.frames.meta
    gain = float(np.median(meta["gain"]))
    light = float(np.mean([look.level for look in job.used])) if job.flat else 1.0
    unit = float(np.mean([1.0 / look.level**2 for look in job.used])) if job.flat else 1.0
    slope = 0.0 if job.frames.kind == "bias" else 1.0 / (gain * light)
    if n > 1:
        freedom = n - 1
        return fit_noise(level, variance, slope, freedom, _ROUNDING * unit)
    read_noise = float(np.median(meta["read_noise"]))
    if math.isfinite(read_noise):
        own = (read_noise / gain) ** 2 + _ROUNDING + (light / gain if job.flat else 0.0)
        return NoiseModel(own * unit, float(np.nanmedian(level)), slope)
    steps = np.diff(level[:: max(1, len(level) // 512)], axis=1)
    scatter = 1.4826 * float(np.nanmedian(np.abs(steps - np.nanmedian(steps)))) / math.sqrt(2.0)
    return NoiseModel(max(scatter**2, _ROUNDING * unit), float(np.nanmedian(level)), slope)
