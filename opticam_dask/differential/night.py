"""Stars of one night and camera, judged where their rows are; only a summary travels."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from opticam_dask.differential.choose import UNFIT, Choice, at_frames, choose, given, usable
from opticam_dask.differential.config import EnsembleConfig
from opticam_dask.differential.rows import (
    NEEDED,
    NightFolder,
    StarFrames,
    StarName,
    is_one_of,
    star_frames,
)
from opticam_dask.differential.solve import Ensemble
from opticam_dask.tables.atomic import write_text
from opticam_dask.tables.digest import digest, read_settings

_FRAMES_JUDGED = 2**15
"""A longer night is judged on every second, third, ... frame: means are known well enough from these."""
_METHOD = 1
"""Of the choice of stars; goes up when its answers change."""


@dataclass(frozen=True)
class NightTask:
    """What is to be found out of one night and camera.

    Parameters
    ----------
    folder : NightFolder
        Its light curves.
    target : int or str
        Source ID, or object_id.
    comparisons : tuple of int or str, optional
        The comparison stars; None chooses them.
    config : EnsembleConfig
        How to choose.
    """

    folder: NightFolder
    target: StarName
    comparisons: tuple[StarName, ...] | None
    config: EnsembleConfig

    @property
    def plain(self) -> bool:
        """Whether the stars are added up as they are: those that the user chose."""
        return self.comparisons is not None

    def digest(self) -> str:
        """Digest of everything the answer depends on."""
        return digest(
            {
                "method": _METHOD,
                "night": self.folder.night,
                "camera": self.folder.camera,
                "parts": self.folder.fingerprint(),
                "target": self.target,
                "comparisons": self.comparisons,
                "config": self.config.settings(),
            }
        )


@dataclass(frozen=True)
class StarSummary:
    """One candidate in one night; numbers are NaN where unknown.

    Parameters
    ----------
    source : int
        ID in the camera's catalogue.
    name : str
        What it is called on every night.
    used : bool
        Whether it is a comparison star.
    reason : str
        Why not.
    mean, mean_err, error : float
        Rate at the night's median transparency, its error, and that of one frame [counts / s].
    excess : float
        Relative scatter beyond the errors.
    share : float
        Mean share in the transparency of a frame.
    rms, expected, typical, fast, drift, slow : float
        See `opticam_dask.differential.scatter.Scatter`.
    n_frames : int
        Frames judged in which it was measured without fault.
    """

    source: int
    name: str
    used: bool
    reason: str
    mean: float
    mean_err: float
    error: float
    excess: float
    share: float
    rms: float
    expected: float
    typical: float
    fast: float
    drift: float
    slow: float
    n_frames: int


@dataclass(frozen=True)
class NightStars:
    """Stars of one night and camera.

    Parameters
    ----------
    night, camera : str
        Which.
    digest : str
        Of what it was made from.
    source : int
        The target's ID in the camera's catalogue; 0 if it was not seen.
    rate : float
        Its median rate over the transparency [counts / s].
    reason : str
        Why there can be no relative light curve; empty otherwise.
    stars : tuple of StarSummary
        Candidates, by source.
    """

    night: str
    camera: str
    digest: str
    source: int = 0
    rate: float = np.nan
    reason: str = ""
    stars: tuple[StarSummary, ...] = field(default=())


def judge_night(task: NightTask, out: str) -> NightStars:
    """Judge the stars of one night and camera, unless that was done before.

    Parameters
    ----------
    task : NightTask
        Which.
    out : str
        Folder of the relative light curves; the summary is kept there.
    """
    path = summary_path(Path(out), task.folder.night, task.folder.camera)
    wanted = task.digest()
    kept = read_settings(path)
    if kept is not None and kept.get("digest") == wanted:
        return NightStars(**{**kept, "stars": tuple(StarSummary(**star) for star in kept["stars"])})
    try:
        found = _judge(task, wanted)
    except (OSError, pa.ArrowException) as error:
        nothing = NightStars(task.folder.night, task.folder.camera, wanted)
        return _failed(nothing, f"light curves cannot be read: {error}")
    write_text(path, json.dumps(asdict(found), indent=1) + "\n")
    return found


def summary_path(out: Path, night: str, camera: str) -> Path:
    """File of the summary of a night and camera."""
    return out / "nights" / quote(night, safe="") / f"{quote(camera, safe='')}.json"


def _judge(task: NightTask, wanted: str) -> NightStars:
    folder = task.folder
    nothing = NightStars(folder.night, folder.camera, wanted)
    stride = max(1, -(-(folder.last_frame() + 1) // _FRAMES_JUDGED))
    own = star_frames(folder.read(NEEDED, is_one_of([task.target]), stride))
    if not len(own.source):
        return _failed(nothing, f"the target {task.target} was not measured in this night")
    source = int(own.source[0])
    frame = own.frame
    others = star_frames(folder.read(NEEDED, _candidates(task), stride), frame=frame).without(source)
    choice = _choice(task, others)
    if choice is None:
        return _failed(nothing, "no star is fit to compare with", source)
    used = np.flatnonzero(choice.used)
    stars = replace(choice.solution.stars, plain=task.plain)
    ensemble = at_frames(others.flux[used], others.error[used], others.flags[used], stars)
    rate = _median_rate(own, ensemble.transparency)
    summaries = _summaries(others, choice, ensemble)
    return NightStars(folder.night, folder.camera, wanted, source, rate, "", summaries)


def _failed(nothing: NightStars, reason: str, source: int = 0) -> NightStars:
    return NightStars(nothing.night, nothing.camera, nothing.digest, source, np.nan, reason)


def _candidates(task: NightTask) -> pc.Expression:
    """Rows to choose comparison stars from: the brightest, or those the user named."""
    if task.comparisons is not None:
        return is_one_of(task.comparisons)
    # sources are numbered by brightness; one of them may be the target
    return pc.field("source") <= 2 * task.config.max_comparisons + 1


def _choice(task: NightTask, others: StarFrames) -> Choice | None:
    if not len(others.source):
        return None
    if task.comparisons is not None:
        return given(others.flux, others.error, others.flags, others.clear)
    return choose(others.flux, others.error, others.flags, others.clear, task.config)


def _median_rate(own: StarFrames, transparency: NDArray[np.float64]) -> float:
    good = usable(own.flux[0], own.error[0], own.flags[0]) & (transparency > 0)
    if not good.any():
        good = np.isfinite(own.flux[0]) & (transparency > 0)
    return float(np.median(own.flux[0, good] / transparency[good])) if good.any() else float("nan")


def _summaries(others: StarFrames, choice: Choice, ensemble: Ensemble) -> tuple[StarSummary, ...]:
    used = np.flatnonzero(choice.used)
    share, mean_err = (np.full(len(others.source), np.nan) for _ in range(2))
    share[~choice.used] = 0.0
    seen = np.isfinite(ensemble.transparency)
    share[used] = ensemble.share[:, seen].mean(axis=1)
    mean_err[used] = choice.solution.mean_err
    stars, scatter = choice.stars, choice.scatter
    n = ((others.flags & int(UNFIT)) == 0) & np.isfinite(others.flux)
    return tuple(
        StarSummary(
            source=int(others.source[i]),
            name=others.name[i],
            used=bool(choice.used[i]),
            reason=choice.reason[i],
            mean=float(stars.mean[i]),
            mean_err=float(mean_err[i]),
            error=float(stars.error[i]),
            excess=float(stars.excess[i]),
            share=float(share[i]),
            rms=float(scatter.rms[i]),
            expected=float(scatter.expected[i]),
            typical=float(scatter.typical[i]),
            fast=float(scatter.fast[i]),
            drift=float(scatter.drift[i]),
            slow=float(scatter.slow[i]),
            n_frames=int(n[i].sum()),
        )
        for i in range(len(others.source))
    )
