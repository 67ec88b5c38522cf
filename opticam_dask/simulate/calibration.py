"""Calibration frames of a scene: bias and dark frames, and flat fields, of every camera."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from opticam_dask.errors import InputError
from opticam_dask.simulate.checks import is_finite
from opticam_dask.simulate.encode import write_atomically
from opticam_dask.simulate.frames import CalibrationFrame, CameraFrames, camera_frames
from opticam_dask.simulate.headers import FIRST_NUMBER, start_of, suffix
from opticam_dask.simulate.observations import Job, Progress, make_directory, run_jobs
from opticam_dask.simulate.scene import Scene
from opticam_dask.simulate.truth import scene_json

RECORD_NAME = "calibration.json"
BEFORE_S = 3600
"""Calibration frames are taken so long before the night [s], one a second."""

_LETTERS = {"bias": "b", "dark": "d", "flat": "f"}


@dataclass(frozen=True)
class SimulatedCalibration:
    """Calibration frames on disk, by kind, camera and number.

    Parameters
    ----------
    bias, dark, flat : tuple of Path
        The frames; a kind that was not asked for has none.
    """

    bias: tuple[Path, ...]
    dark: tuple[Path, ...]
    flat: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.bias) + len(self.dark) + len(self.flat)


def simulate_calibration(
    scene: Scene,
    out_directory: str | Path,
    *,
    n_bias: int = 20,
    n_dark: int = 20,
    n_flat: int = 20,
    dark_exposures_s: Sequence[float] | None = None,
    flat_level: float | Sequence[float] = 20_000.0,
    flat_exposure_s: float = 1.0,
    overwrite: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> SimulatedCalibration:
    """Write the calibration frames that belong to a scene, into ``bias/``, ``dark/`` and ``flat/``.

    They hold the scene's bias and its pattern, the dark current and hot pixels as the exposure time lets
    them grow, and its shadows, dust and pixel response. Their pixels depend on the scene and these
    arguments only.

    Parameters
    ----------
    scene : Scene
        The night they belong to.
    out_directory : str or Path
        Folder for the three sub-folders; made if need be.
    n_bias, n_dark, n_flat : int
        Frames of each kind and camera; of darks, for each exposure time.
    dark_exposures_s : sequence of float, optional
        Exposure times of the darks [s]; by default that of the camera's frames.
    flat_level : float or sequence of float
        Light where there is no shadow [adu]; of several levels the flats take one after the other, as in
        twilight.
    flat_exposure_s : float
        Exposure time of the flats [s].
    overwrite : bool
        Replace what another simulation left there.
    workers, progress
        As for `simulate_night`.

    Returns
    -------
    SimulatedCalibration

    Raises
    ------
    InputError
        If a number makes no sense, or the folder cannot be used, or holds frames made otherwise.
    """
    levels = tuple(flat_level) if isinstance(flat_level, Sequence) else (flat_level,)
    darks = None if dark_exposures_s is None else tuple(dark_exposures_s)
    _check((n_bias, n_dark, n_flat), (*levels, flat_exposure_s, *(darks or ())), bool(levels))
    directory = make_directory(out_directory)
    recipe = {
        "scene": json.loads(scene_json(scene)),
        "n": [n_bias, n_dark, n_flat],
        "dark_exposures_s": darks,
        "flat_level": levels,
        "flat_exposure_s": flat_exposure_s,
    }
    fresh = _begin(directory, recipe, overwrite)
    paths: dict[str, list[Path]] = {kind: [] for kind in _LETTERS}
    jobs = []
    for camera in scene.cameras:
        frames = camera_frames(scene, camera)
        plans = (
            *_biases(n_bias),
            *_darks(n_dark, (frames.run.exposure_s,) if darks is None else darks),
            *_flats(n_flat, levels, flat_exposure_s),
        )
        for plan in _timed(scene, frames, plans):
            path = make_directory(directory / plan.kind) / _name(scene, frames, plan)
            paths[plan.kind].append(path)
            if fresh or not path.exists():
                jobs.append(_job(frames, plan, path))
    run_jobs(jobs, workers, progress)
    return SimulatedCalibration(**{kind: tuple(group) for kind, group in paths.items()})


_Plan = tuple[str, int, float, float]
"""Kind, number, exposure time [s] and level of light [adu]."""


def _biases(number: int) -> Iterator[_Plan]:
    return (("bias", k, 0.0, 0.0) for k in range(number))


def _darks(number: int, exposures_s: Sequence[float]) -> Iterator[_Plan]:
    times = [exposure for exposure in exposures_s for _ in range(number)]
    return (("dark", k, exposure, 0.0) for k, exposure in enumerate(times))


def _flats(number: int, levels: Sequence[float], exposure_s: float) -> Iterator[_Plan]:
    return (("flat", k, exposure_s, levels[k % len(levels)]) for k in range(number))


def _timed(scene: Scene, frames: CameraFrames, plans: Sequence[_Plan]) -> Iterator[CalibrationFrame]:
    first = start_of(scene, frames.run, 0) - np.timedelta64(1000 * BEFORE_S, "ms")
    for second, (kind, number, exposure_s, level) in enumerate(plans):
        start = first + np.timedelta64(1000 * second, "ms")
        yield CalibrationFrame(kind, number, start, exposure_s, level)


def _name(scene: Scene, frames: CameraFrames, plan: CalibrationFrame) -> str:
    """Name a file as those of the night are, but for the letter that tells its kind."""
    date = str(np.datetime64(scene.start, "D")).replace("-", "")[2:]
    return f"{date}{frames.run.camera.filter}{FIRST_NUMBER + plan.number}{_LETTERS[plan.kind]}{suffix(scene)}"


def _job(frames: CameraFrames, plan: CalibrationFrame, path: Path) -> Job:
    return lambda: frames.write_calibration(plan, path)


def _check(counts: tuple[int, ...], numbers: tuple[float, ...], some_level: bool) -> None:
    if not all(isinstance(count, int) and count >= 0 for count in counts) or not sum(counts):
        raise InputError(f"n_bias, n_dark and n_flat must be whole numbers, not all 0, not {counts}")
    if not some_level or not all(is_finite(number) and number > 0 for number in numbers):
        raise InputError(f"levels and exposure times of calibration frames must be above 0, not {numbers}")


def _begin(directory: Path, recipe: dict[str, object], overwrite: bool) -> bool:
    """Note how the frames are made; tell whether those that are there have to be made again."""
    record, text = directory / RECORD_NAME, json.dumps(recipe, sort_keys=True)
    if not overwrite and record.exists() and record.read_text() != text:
        raise InputError(
            f"{directory}: holds other calibration frames; pass overwrite=True or choose another folder"
        )
    same = record.exists() and not overwrite
    old = [] if same else [path for kind in _LETTERS for path in (directory / kind).glob("*.fit*")]
    if old and not overwrite:
        raise InputError(
            f"{old[0]}: not known to come from this simulation; pass overwrite=True or choose another folder"
        )
    for path in old:
        path.unlink()
    write_atomically(record, text.encode())
    return not same
