"""What the correctors of bias, dark and flat field share: folders in, masters out."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from dask.base import get_scheduler

from opticam_dask.calibration.build import Recipe, build_masters
from opticam_dask.calibration.frames import FrameSet, Run, Say, find_sets
from opticam_dask.calibration.headers import Kind
from opticam_dask.calibration.masters import Master, MasterRef
from opticam_dask.calibration.pedestal import Pedestal
from opticam_dask.errors import InputError
from opticam_dask.instrument import Instrument
from opticam_dask.io.frame_files import Source
from opticam_dask.types import Image
from opticam_dask.workspace import announce

CLIP_SIGMA = 4.0
_LEAST_SIGMA = 2.0


def run_on_client(tasks: Any, description: str) -> list[Any]:
    """Compute tasks on the active `distributed.Client`; without one here, one after the other."""
    return list(tasks.compute(scheduler=get_scheduler() or "synchronous"))


class Corrector(ABC):
    """Base of the correctors.

    Parameters
    ----------
    out_directory : path
        Masters are kept in its folder ``cal``.
    sources : sequence of path, pattern, list of paths, or None
        Where the frames of all cameras are, then those of the first, the second, and so on.
    instrument : Instrument
        How to read the headers.
    recursive : bool
        Whether to look into folders inside folders.
    sigma : float
        Values farther from the centre than so many standard deviations are left out.
    verbose : bool
        Whether to print what is done.
    needed : bool
        Whether there must be a place.

    Raises
    ------
    InputError
        If no place is given though one is needed, the instrument has no such camera, or sigma is below 2.
    """

    kind: ClassVar[Kind]

    def __init__(
        self,
        out_directory: Path | str,
        sources: Sequence[Source | None],
        instrument: Instrument,
        recursive: bool,
        sigma: float,
        verbose: bool,
        *,
        needed: bool = True,
    ) -> None:
        if not _LEAST_SIGMA <= sigma < math.inf:
            raise InputError(f"sigma must be at least {_LEAST_SIGMA:g}, not {sigma}")
        self.out_directory = Path(out_directory)
        self.instrument, self.recursive, self.verbose = instrument, recursive, verbose
        self.sigma = float(sigma)
        self.sources = dict(_by_arm(sources, instrument))
        if needed and not self.sources:
            raise InputError(f"{type(self).__name__} needs a folder of {self.kind} frames")
        self._recipes: list[Recipe] = []

    @property
    def folder(self) -> Path:
        """Folder of the masters."""
        return self.out_directory / "cal"

    @property
    def masters(self) -> Mapping[str, Master]:
        """Masters by camera or arm; by camera and binning, such as '1:g 2x2', where there are several."""
        names = [recipe.sets[0].name for recipe in self._recipes]
        named = {}
        for recipe, name in zip(self._recipes, names, strict=True):
            first = recipe.sets[0]
            more = "" if names.count(name) == 1 else recipe.path.stem.partition(name.replace(":", "-"))[2]
            named[first.name + more.replace("_", " ")] = recipe.reference.load()
        return named

    def say(self, message: str) -> None:
        """Print a message when verbose."""
        if self.verbose:
            announce(message)

    def settings(self) -> dict[str, Any]:
        """Give what masters are made with, fit for JSON; what they are made of is in their digests."""
        return {"kind": self.kind, "sigma": self.sigma}

    def build(
        self,
        run: Run = run_on_client,
        say: Say | None = None,
        *,
        overwrite: bool = False,
        bias_corrector: Corrector | None = None,
        dark_noise_corrector: Corrector | None = None,
    ) -> None:
        """Make the masters, or take those that exist and were made of the same frames.

        Parameters
        ----------
        run : callable
            ``run(tasks, description) -> list``; see `run_on_client`.
        say : callable, optional
            Told what is done; by default printed when verbose.
        overwrite : bool
            Whether to make again masters that hold.
        bias_corrector, dark_noise_corrector : optional
            What to subtract with, where this corrector was not given its own.
        """
        tell = say or self.say
        if not self.sources:
            return
        sets = find_sets(
            self.kind, self.sources, self.instrument, recursive=self.recursive, run=run, say=tell
        )
        others = self._others(bias_corrector, dark_noise_corrector)
        bias = next((other for other in others if other.kind == "bias"), None)
        for other in others:
            if not other._recipes:
                other.build(run, tell, bias_corrector=bias)
        recipes = self._plan(sets, others, tell)
        build_masters(recipes, run, tell, overwrite=overwrite)
        self._recipes = recipes

    def _others(
        self, bias_corrector: Corrector | None, dark_noise_corrector: Corrector | None
    ) -> list[Corrector]:
        """Correctors that the frames pass first."""
        return []

    @abstractmethod
    def _plan(self, sets: list[FrameSet], others: list[Corrector], say: Say) -> list[Recipe]:
        """Lay out the masters to make."""

    def matching(self, name: str, binning: str, shape: tuple[int, int]) -> list[Recipe]:
        """Masters for a camera or arm; a binning that headers do not tell matches any."""
        return [recipe for recipe in self._recipes if _matches(recipe.sets[0], name, binning, shape)]

    def reference(self, camera: str, binning: str, shape: tuple[int, int]) -> MasterRef:
        """Master for a camera's frames.

        Parameters
        ----------
        camera : str
            ``'<arm>:<filter>'``.
        binning : str
            Columns x rows, such as '4x4'; empty if unknown.
        shape : tuple of int
            Rows and columns of its frames.

        Raises
        ------
        InputError
            If there is none; what there is, is listed.
        """
        name = camera if self.kind == "flat" else camera.partition(":")[0]
        found = self.matching(name, binning, shape)
        if found:
            return found[0].reference
        have = ", ".join(_layout(recipe.sets[0]) for recipe in self._recipes) or "none"
        wanted = f"{name} with {shape[0]}x{shape[1]} pixels, binning {binning or 'unknown'}"
        raise InputError(f"no master {self.kind} for {wanted}; there are: {have}")

    def matched(self, arm: str, binning: str, shape: tuple[int, int]) -> tuple[tuple[float, MasterRef], ...]:
        """Exposure times and masters of bias and dark together; only darks without a bias have such."""
        return ()

    def master_for(self, image: Image, camera: str) -> Master:
        """Master for an image on its own: its shape stands for the binning."""
        if not self._recipes:
            self.build()
        if not self._recipes:
            raise InputError(f"no folder of {self.kind} frames was given")
        return self.reference(self.camera_of(camera), "", (image.shape[0], image.shape[1])).load()

    def camera_of(self, text: str) -> str:
        """Camera from '<arm>:<filter>', an arm, or a filter."""
        if ":" in text or self.instrument.camera(text) is not None:
            return text
        arm = next((camera.name for camera in self.instrument.cameras if text in camera.filters), None)
        if arm is None:
            only = self.instrument.cameras[0]
            if len(self.instrument.cameras) > 1 or only.filters:
                raise InputError(f"{text!r} is no camera and no filter of {self.instrument.name}")
            arm = only.name
        return f"{arm}:{text}"


def pedestal_of(detector: tuple[str, str, tuple[int, int]], correctors: list[Corrector]) -> Pedestal:
    """Bias and dark of a detector: (arm, binning, shape).

    Raises
    ------
    InputError
        If a corrector has no master for it.
    """
    arm, binning, shape = detector
    found: dict[str, Any] = {}
    for corrector in correctors:
        reference = corrector.reference(arm, binning, shape)
        matched = corrector.matched(arm, binning, shape)
        found |= {"matched": matched} if matched else {corrector.kind: reference}
    return Pedestal(**found)


def flat_pedestal(one: FrameSet, correctors: list[Corrector]) -> Pedestal:
    """Bias and dark of flats.

    Raises
    ------
    InputError
        If there are none for their detector, or none that can be scaled to their exposure times.
    """
    pedestal = pedestal_of(detector_of(one), correctors)
    for seconds in np.unique(one.frames.meta["exposure"]):
        pedestal.check(float(seconds))
    return pedestal


def detector_of(one: FrameSet) -> tuple[str, str, tuple[int, int]]:
    """Arm, binning and shape of frames."""
    return one.name.partition(":")[0], one.binning, one.frames.shape


def _by_arm(sources: Sequence[Source | None], instrument: Instrument) -> Iterator[tuple[str, Source]]:
    everywhere, *single = sources
    if everywhere is not None:
        yield "", everywhere
    for number, source in enumerate(single):
        if source is None:
            continue
        if number >= len(instrument.cameras):
            raise InputError(f"{instrument.name} has no camera {number + 1}, but a folder was given for it")
        yield instrument.cameras[number].name, source


def _matches(one: FrameSet, name: str, binning: str, shape: tuple[int, int]) -> bool:
    alike = not binning or not one.binning or one.binning == binning
    return one.name == name and alike and one.frames.shape == shape


def _layout(one: FrameSet) -> str:
    ny, nx = one.frames.shape
    return f"{one.name} with {ny}x{nx} pixels, binning {one.binning or 'unknown'}"
