"""Combined frames to master frames: dark rates, normalised flats, bad pixels; kept and used again."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opticam_dask.calibration.bad_pixels import dead_pixels, hot_pixels
from opticam_dask.calibration.combine import Combined, Job, combine
from opticam_dask.calibration.frames import FrameSet, Run, Say
from opticam_dask.calibration.masters import Master, MasterRef, digest_of, save_master
from opticam_dask.calibration.pedestal import Pedestal
from opticam_dask.config import blocks_at_least
from opticam_dask.errors import InputError
from opticam_dask.lazy.chunks import map_blocks_of_frames
from opticam_dask.tables.digest import digest

_VERSION = 1  # of the way masters are made: another number makes them again


@dataclass(frozen=True, eq=False)
class Recipe:
    """What a master is made of.

    Parameters
    ----------
    sets : tuple of FrameSet
        Its frames: one set, or one for each exposure time of a dark rate.
    pedestal : Pedestal
        Bias, and dark, of the same detector.
    sigma : float
        Clipping limit [standard deviations].
    folder : Path
        Where masters are kept.
    """

    sets: tuple[FrameSet, ...]
    pedestal: Pedestal
    sigma: float
    folder: Path

    @property
    def path(self) -> Path:
        """File of the master."""
        first = self.sets[0]
        label = first.label.rpartition("_")[0] if self.is_rate else first.label
        return self.folder / f"{label}.fits"

    @property
    def is_rate(self) -> bool:
        """Whether it is a dark rate: a dark of which the bias is known."""
        return self.sets[0].kind == "dark" and self.pedestal.bias is not None

    @property
    def digest(self) -> str:
        """Digest of all that the master depends on."""
        return digest(
            {
                "version": _VERSION,
                "kind": self.sets[0].kind,
                "inputs": [one.inputs for one in self.sets],
                "pedestal": [ref.digest for ref in self.pedestal.references()],
                "sigma": self.sigma,
            }
        )

    @property
    def reference(self) -> MasterRef:
        """The master, once it is made."""
        return MasterRef(str(self.path.resolve()), self.digest)

    def jobs(self) -> list[Job]:
        """List the sets of frames to combine, each with a folder of its own."""
        shares, name = blocks_at_least(), self.digest[:12]
        return [
            Job(one, self.pedestal, self.sigma, self.folder / f".{one.label}.{name}", shares)
            for one in self.sets
        ]

    def __dask_tokenize__(self) -> object:
        return type(self).__qualname__, str(self.path), self.digest


def build_masters(recipes: Sequence[Recipe], run: Run, say: Say, *, overwrite: bool = False) -> None:
    """Make the masters that do not exist yet, or were made of something else.

    Parameters
    ----------
    recipes : sequence of Recipe
        Masters of one kind.
    run, say : callable
        Computes tasks; tells the user a line.
    overwrite : bool
        Whether to make again those that hold.
    """
    todo = [recipe for recipe in recipes if overwrite or digest_of(recipe.path) != recipe.digest]
    for recipe in recipes:
        if recipe not in todo:
            say(f"{recipe.path}: made of these frames; used again")
    if not todo:
        return
    jobs = [recipe.jobs() for recipe in todo]
    every = [job for some in jobs for job in some]
    try:
        for job in every:
            _make_folder(job.folder)
        done = iter(combine(every, run, say))
        filled = [tuple(next(done) for _ in some) for some in jobs]
        pairs = [_Filled(recipe, some) for recipe, some in zip(todo, filled, strict=True)]
        lines = run(map_blocks_of_frames(make_master, pairs), f"master {todo[0].sets[0].kind}s")
    finally:
        for job in every:
            shutil.rmtree(job.folder, ignore_errors=True)
    for line in lines:
        say(line)


@dataclass(frozen=True, eq=False)
class _Filled:
    """A recipe whose frames are combined."""

    recipe: Recipe
    jobs: tuple[Job, ...]

    def __dask_tokenize__(self) -> object:
        return type(self).__qualname__, self.recipe.__dask_tokenize__()


def make_master(filled: _Filled) -> str:
    """Make a master of its combined frames and write it; returns a line about it."""
    recipe, jobs = filled.recipe, filled.jobs
    make = {"bias": _bias, "dark": _rate if recipe.is_rate else _matched_dark, "flat": _flat}
    master = make[recipe.sets[0].kind](recipe, jobs)
    save_master(recipe.path, master, recipe.digest)
    share = master.rejected / max(1, master.n_frames * master.count.size)
    return (
        f"{recipe.path}: {master.n_frames} frames, {share:.2%} of the values left out, "
        f"{int(master.mask.sum())} bad pixels"
    )


def _master(recipe: Recipe, parts: Sequence[Combined], mask: NDArray[np.bool_], **more: Any) -> Master:
    first = recipe.sets[0]
    noisy = np.logical_or.reduce([part.noisy for part in parts])
    return Master(
        kind=first.kind,
        name=first.name,
        binning=first.binning,
        count=np.asarray(sum(part.count for part in parts), np.int32),
        mask=mask | noisy | ~np.isfinite(more["data"]) | ~np.isfinite(more["variance"]),
        n_frames=sum(part.n_frames for part in parts),
        **more,
    )


def _bias(recipe: Recipe, jobs: Sequence[Job]) -> Master:
    part = Combined.load(jobs[0].folder)
    none = np.zeros(part.mean.shape, bool)
    return _master(recipe, [part], none, data=part.mean, variance=part.variance)


def _matched_dark(recipe: Recipe, jobs: Sequence[Job]) -> Master:
    part = Combined.load(jobs[0].folder)
    hot = hot_pixels(part.mean, part.variance * part.count)
    exposure = recipe.sets[0].exposure
    return _master(recipe, [part], hot, data=part.mean, variance=part.variance, exposure=exposure)


def _rate(recipe: Recipe, jobs: Sequence[Job]) -> Master:
    """Dark rate of all exposure times, each weighing by the inverse of its usual variance."""
    bias, _ = recipe.pedestal.maps(0.0)
    parts = [Combined.load(job.folder) for job in jobs]
    seconds = [one.exposure for one in recipe.sets]
    weights = np.array(
        [time**2 / float(np.nanmedian(part.variance)) for part, time in zip(parts, seconds, strict=True)]
    )
    weights /= weights.sum()
    rate, variance, share = (np.zeros(bias.shape) for _ in range(3))
    for part, time, weight in zip(parts, seconds, weights, strict=True):
        # a pixel that saturates in long exposures takes its rate from the short ones
        known = np.isfinite(part.mean)
        rate += np.where(known, weight * (part.mean - bias.astype(np.float64)) / time, 0.0)
        variance += np.where(known, weight**2 * part.variance / time**2, 0.0)
        share += weight * known
    with np.errstate(invalid="ignore", divide="ignore"):
        data = (rate / share).astype(np.float32)
        variance = (variance / share**2).astype(np.float32)
    longest = int(np.argmax(seconds))
    one = parts[longest].variance * parts[longest].count / seconds[longest] ** 2
    part_of_bias = float(sum(weights / np.array(seconds)))
    return _master(recipe, parts, hot_pixels(data, one), data=data, variance=variance, bias_part=part_of_bias)


def _flat(recipe: Recipe, jobs: Sequence[Job]) -> Master:
    """Mean of the flats, 1 on average over its good pixels; with the variance of what was subtracted."""
    part, looks = Combined.load(jobs[0].folder), jobs[0].used
    inverse = float(np.mean([1.0 / look.level for look in looks]))
    seconds = float(np.mean([look.seconds / look.level for look in looks])) / inverse
    variance = part.variance + np.float32(inverse) ** 2 * recipe.pedestal.variance(seconds)
    bad = dead_pixels(part.mean)
    known = recipe.pedestal.mask()
    good = ~(bad | part.noisy | (False if known is None else known))
    mean = float(part.mean[good].mean(dtype=np.float64)) if good.any() else float("nan")
    if not mean > 0:
        raise InputError(f"{recipe.path}: no pixel of the flat is good; are these flats?")
    data = (part.mean / mean).astype(np.float32)
    return _master(recipe, [part], bad, data=data, variance=(variance / mean**2).astype(np.float32))


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be made ({error.strerror}); choose another out_directory"
        ) from error
