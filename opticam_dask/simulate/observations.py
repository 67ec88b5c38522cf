"""A simulated night on disk: frames of every camera, and the truth beside them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from opticam_dask.errors import InputError
from opticam_dask.simulate.frames import CameraFrames, camera_frames
from opticam_dask.simulate.headers import COMPRESSION_SUFFIX
from opticam_dask.simulate.scene import Scene
from opticam_dask.simulate.truth import TRUTH_NAME, read_scene, scene_json, truth_files, write_truth

FRAMES_PER_TASK = 8

Progress = Callable[[int], object]
"""Called in the caller's thread with the number of frames finished since the last call."""

Job = Callable[[], object]


@dataclass(frozen=True)
class SimulatedNight:
    """What a simulation left on disk.

    Parameters
    ----------
    directory : Path
        Folder of the frames.
    truth : Path
        The truth table, parquet.
    paths : tuple of Path
        All frames, by camera and time.
    written : int
        How many were written now; the others stood there already.
    """

    directory: Path
    truth: Path
    paths: tuple[Path, ...]
    written: int

    def __len__(self) -> int:
        return len(self.paths)


def simulate_night(
    scene: Scene,
    out_directory: str | Path,
    *,
    overwrite: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> SimulatedNight:
    """Write the frames of a scene and their truth table.

    Frames that an earlier, interrupted run of the same scene left are kept. The pixels depend on
    the scene alone, not on the number of workers.

    Parameters
    ----------
    scene : Scene
        The night.
    out_directory : str or Path
        Folder for the frames and ``truth.parquet``; made if need be.
    overwrite : bool
        Replace what another simulation left there.
    workers : int, optional
        Threads; by default one per core.
    progress : callable, optional
        Called with the number of frames just finished.

    Returns
    -------
    SimulatedNight
        Paths and counts.

    Raises
    ------
    InputError
        If the folder cannot be used, or holds frames of another scene and ``overwrite`` is false.
    """
    directory = make_directory(out_directory)
    truth = directory / TRUTH_NAME
    old = None if overwrite else read_scene(truth)
    scene = _settle(scene, old, directory)
    cameras = [camera_frames(scene, camera) for camera in scene.cameras]
    names = [[frames.name(row) for row in range(len(frames))] for frames in cameras]
    wanted = {name for group in names for name in group}
    if overwrite:
        _remove(directory, wanted)
    present = _present(directory, wanted, known=overwrite or old is not None)
    write_truth(truth, scene, cameras[0].stars, [(frames.run, frames.detector) for frames in cameras])
    todo = [
        (frames, row)
        for frames, group in zip(cameras, names, strict=True)
        for row, name in enumerate(group)
        if name not in present
    ]
    if progress is not None and present:
        progress(len(present))
    run_jobs([_job(frames, row, directory) for frames, row in todo], workers, progress)
    paths = tuple(directory / name for group in names for name in group)
    return SimulatedNight(directory, truth, paths, len(todo))


def simulate_flats(
    scene: Scene,
    out_directory: str | Path,
    *,
    n_flats: int = 5,
    level: float = 10_000.0,
    exposure_s: float = 0.05,
    overwrite: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> tuple[Path, ...]:
    """Write flat fields that hold a scene's shadows and dust.

    Parameters
    ----------
    scene : Scene
        The night they belong to.
    out_directory : str or Path
        Folder for ``<filter>-band_image_<i>.fits.gz`` (or as the scene's files are compressed).
    n_flats : int
        Flats per camera.
    level : float
        Mean counts where there is no shadow [adu].
    exposure_s : float
        Exposure time for the headers [s].
    overwrite : bool
        Replace files of these names; else they are kept.
    workers, progress
        As for `simulate_night`.

    Returns
    -------
    tuple of Path
        All flats, by camera.

    Raises
    ------
    InputError
        If a number makes no sense or the folder cannot be used.
    """
    if n_flats < 1 or not level > 0 or not exposure_s > 0:
        raise InputError(
            f"n_flats, level and exposure_s must be above 0, not {n_flats}, {level}, {exposure_s}"
        )
    directory = make_directory(out_directory)
    ending = ".fits" + COMPRESSION_SUFFIX[scene.compression]
    paths, jobs = [], []
    for camera in scene.cameras:
        frames = camera_frames(scene, camera)
        for number in range(n_flats):
            path = directory / f"{camera.filter}-band_image_{number}{ending}"
            paths.append(path)
            if overwrite or not path.exists():
                jobs.append(_flat_job(frames, number, path, level, exposure_s))
    run_jobs(jobs, workers, progress)
    return tuple(paths)


def make_directory(out_directory: str | Path) -> Path:
    """Make a folder for output, or say in one line why not."""
    directory = Path(out_directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{directory}: cannot make this folder ({error.strerror}); choose another"
        ) from error
    if not os.access(directory, os.W_OK):
        raise InputError(f"{directory}: cannot write here; choose another folder")
    return directory


def run_jobs(jobs: list[Job], workers: int | None, progress: Progress | None) -> None:
    """Run jobs in threads, a few per task; the first failure stops the rest and is raised."""
    if workers is not None and workers < 1:
        raise InputError(f"workers must be at least 1, not {workers!r}")
    groups = [jobs[first : first + FRAMES_PER_TASK] for first in range(0, len(jobs), FRAMES_PER_TASK)]
    with ThreadPoolExecutor(workers or len(os.sched_getaffinity(0))) as pool:
        futures: list[Future[int]] = [pool.submit(_run_group, group) for group in groups]
        try:
            for future in as_completed(futures):
                done = future.result()
                if progress is not None:
                    progress(done)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _run_group(group: list[Job]) -> int:
    for job in group:
        job()
    return len(group)


def _job(frames: CameraFrames, row: int, directory: Path) -> Job:
    return lambda: frames.write(row, directory)


def _flat_job(frames: CameraFrames, number: int, path: Path, level: float, exposure_s: float) -> Job:
    return lambda: frames.write_flat(number, path, level=level, exposure_s=exposure_s)


def _settle(scene: Scene, old: Scene | None, directory: Path) -> Scene:
    """Scene to make: a longer one already there is kept, a different one is refused."""
    if old is None:
        return scene
    if scene.seeing_change == 0:  # only the seeing depends on the length of the night
        scene = dataclasses.replace(scene, n_frames=max(scene.n_frames, old.n_frames))
        old = dataclasses.replace(old, n_frames=scene.n_frames)
    if scene_json(scene) != scene_json(old):
        changed = [
            f.name for f in dataclasses.fields(scene) if getattr(scene, f.name) != getattr(old, f.name)
        ]
        raise InputError(
            f"{directory}: holds a simulation with another {', '.join(changed)}; "
            "pass overwrite=True or choose another folder"
        )
    return scene


def _remove(directory: Path, wanted: set[str]) -> None:
    """Remove the frames to be made again, and those of an old simulation; other files stay."""
    truth = directory / TRUTH_NAME
    old = truth_files(truth) if read_scene(truth) is not None else set()
    for name in old | wanted:
        (directory / Path(name).name).unlink(missing_ok=True)


def _present(directory: Path, wanted: set[str], known: bool) -> set[str]:
    """Frames that stand there already; of an unknown origin they are refused."""
    present = {entry.name for entry in os.scandir(directory)} & {*wanted, TRUTH_NAME}
    if present and not known:
        raise InputError(
            f"{directory / min(present)}: not known to come from this simulation; "
            "pass overwrite=True or choose another folder"
        )
    return present & wanted
