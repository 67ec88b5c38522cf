"""Where the telescope points and what the air does: times, pointing, seeing, clouds, varying stars."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opticam_dask.errors import InputError
from opticam_dask.simulate.parts import CameraSetup, Transit, Variable
from opticam_dask.simulate.scene import Scene
from opticam_dask.simulate.streams import Purpose, generator

Floats = NDArray[np.float64]
MS_PER_DAY = 86_400_000
PLACING_TRIES = 2000
WALK_STEPS = 256


@dataclass(frozen=True, eq=False)
class CameraRun:
    """What one camera sees: one entry per exposure that was kept, in order of time.

    Parameters
    ----------
    camera : CameraSetup
        The camera.
    exposure_s : float
        Exposure time [s].
    index : ndarray, int64
        Number of the exposure, lost ones counted too.
    start_ms : ndarray, int64
        Start [ms since the scene's start].
    seconds : ndarray
        Mid-exposure [s since the scene's start].
    mjd : ndarray
        UTC at mid-exposure.
    offset : ndarray, shape (n, 2)
        Pointing: the shift of the field along x and y [pixel].
    angle : ndarray
        Rotation of the field [rad], meridian flip included.
    seeing : ndarray
        Factor on the PSF's width.
    transparency : ndarray
        Fraction of the light that clouds let through.
    """

    camera: CameraSetup
    exposure_s: float
    index: NDArray[np.int64]
    start_ms: NDArray[np.int64]
    seconds: Floats
    mjd: Floats
    offset: Floats
    angle: Floats
    seeing: Floats
    transparency: Floats

    def __len__(self) -> int:
        return len(self.index)


def make_stars(scene: Scene) -> Floats:
    """Stars of a scene, brightest first.

    Returns
    -------
    ndarray, shape (n_star, 3)
        x, y [pixel] without pointing errors, and total counts [adu].

    Raises
    ------
    InputError
        If the stars cannot be placed as far apart as asked.
    """
    if scene.stars is not None:
        stars = np.array(scene.stars, dtype=np.float64).reshape(-1, 3)
    else:
        rng = generator(scene.seed, Purpose.STARS)
        stars = np.column_stack([_places(scene, rng), _totals(scene, rng)])
    return stars[np.argsort(-stars[:, 2], kind="stable")]


def _places(scene: Scene, rng: np.random.Generator) -> Floats:
    ny, nx = scene.shape
    low, high = scene.margin_px, np.array([nx - 1, ny - 1]) - scene.margin_px
    places = np.empty((scene.n_stars, 2))
    for star in range(scene.n_stars):
        for _ in range(PLACING_TRIES):
            places[star] = rng.uniform(low, high)
            distance = np.hypot(*(places[:star] - places[star]).T)
            if not (distance < scene.min_separation_px).any():
                break
        else:
            raise InputError(
                f"n_stars {scene.n_stars} do not fit with min_separation_px {scene.min_separation_px}"
            )
    return places


def _totals(scene: Scene, rng: np.random.Generator) -> Floats:
    low, high = scene.flux_range
    uniform = rng.random(scene.n_stars)
    power = scene.flux_slope + 1.0
    if scene.flux_law == "log-uniform" or power == 0.0:
        return np.asarray(low * (high / low) ** uniform)
    return np.asarray((low**power + uniform * (high**power - low**power)) ** (1.0 / power))


def camera_run(scene: Scene, camera: CameraSetup) -> CameraRun:
    """Work out times, pointing and weather of one camera."""
    index, start_ms = _schedule(scene, camera)
    exposure = _exposure(scene, camera)
    seconds = start_ms / 1000.0 + exposure / 2
    return CameraRun(
        camera=camera,
        exposure_s=exposure,
        index=index,
        start_ms=start_ms,
        seconds=seconds,
        mjd=(scene.start_ms + start_ms + 500.0 * exposure) / MS_PER_DAY,
        offset=_pointing(scene, index, seconds),
        angle=_angle(scene, seconds),
        seeing=_seeing(scene, seconds),
        transparency=_transparency(scene, camera, index),
    )


def positions(scene: Scene, run: CameraRun, stars: Floats, rows: slice) -> Floats:
    """Centres of the stars in some of a camera's frames, shape (n_frame, n_star, 2) [pixel]."""
    ny, nx = scene.shape
    centre = np.array([(nx - 1) / 2, (ny - 1) / 2])
    dx, dy = (stars[:, :2] - centre).T
    cos, sin = np.cos(run.angle[rows])[:, None], np.sin(run.angle[rows])[:, None]
    turned = np.stack([cos * dx - sin * dy, sin * dx + cos * dy], axis=-1)
    seen = centre + turned + run.offset[rows][:, None, :]
    view = _own_view(run.camera)
    return np.asarray(seen if view is None else (seen - centre) @ view[0].T + centre + view[1])


def _own_view(camera: CameraSetup) -> tuple[Floats, Floats] | None:
    """How a camera sees the scene about the middle of the frame, and its shift; None if as it is."""
    shift = np.asarray(camera.offset_px, np.float64)
    plain = not camera.mirrored and camera.rotation_deg == 0.0 and camera.plate_scale == 1.0
    if plain and not shift.any():
        return None  # not even rounding shall touch it
    angle, mirror = np.deg2rad(camera.rotation_deg), np.diag([-1.0 if camera.mirrored else 1.0, 1.0])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return camera.plate_scale * turn @ mirror, shift


def fluxes(scene: Scene, run: CameraRun, stars: Floats, rows: slice) -> Floats:
    """Compute the stars' expected total counts in some of a camera's frames, (n_frame, n_star) [adu]."""
    scale = run.camera.flux_scale * run.transparency[rows]
    counts = scale[:, None] * stars[:, 2]
    arm = scene.cameras.index(run.camera)
    for variable in scene.variables:
        counts[:, variable.star - 1] *= _wave(variable, arm, run.seconds[rows])
    for transit in scene.transits:
        counts[:, transit.star - 1] *= _dip(transit, run.seconds[rows])
    return counts


def _exposure(scene: Scene, camera: CameraSetup) -> float:
    if camera.exposure_s is not None:
        return camera.exposure_s
    return min(scene.exposure_s, camera.cadence_s)


def _n_frames(scene: Scene, camera: CameraSetup) -> int:
    return scene.n_frames if camera.n_frames is None else camera.n_frames


def _schedule(scene: Scene, camera: CameraSetup) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    n = _n_frames(scene, camera)
    late = generator(scene.seed, Purpose.TIMING, camera.filter).standard_normal(n) * camera.timing_jitter_s
    start = camera.start_offset_s + np.arange(n) * camera.cadence_s + late
    lost = generator(scene.seed, Purpose.DROPPED, camera.filter).random(n) < camera.dropped_fraction
    kept = np.flatnonzero(~(lost | _gaps(scene, n)))
    if kept.size == 0:
        kept = np.array([0])
    start_ms = np.rint(1000.0 * start[kept]).astype(np.int64)
    order = np.argsort(start_ms, kind="stable")
    return kept[order].astype(np.int64), start_ms[order]


def _gaps(scene: Scene, n: int) -> NDArray[np.bool_]:
    """Which exposures fall into a gap common to all cameras; never the first."""
    chance = generator(scene.seed, Purpose.GAPS).random(n)
    gap = np.zeros(n, dtype=bool)
    if scene.gap_start > 0:
        for frame in range(1, n):
            gap[frame] = chance[frame] < (scene.gap_continue if gap[frame - 1] else scene.gap_start)
    return gap


def _pointing(scene: Scene, index: NDArray[np.int64], seconds: Floats) -> Floats:
    jitter = generator(scene.seed, Purpose.JITTER).standard_normal((int(index.max()) + 1, 2))
    drift = np.asarray(scene.drift_px_per_hour) * (seconds[:, None] / 3600.0)
    return np.asarray(drift + scene.jitter_px * jitter[index])


def _angle(scene: Scene, seconds: Floats) -> Floats:
    degrees = scene.rotation_deg_per_hour * seconds / 3600.0
    if scene.flip_time_s is not None:
        degrees = degrees + np.where(seconds >= scene.flip_time_s, 180.0, 0.0)
    return np.deg2rad(degrees)


def _seeing(scene: Scene, seconds: Floats) -> Floats:
    """Factor on the PSF's width, about 1: common to all cameras, since it depends on time only."""
    length = max(_n_frames(scene, camera) * camera.cadence_s for camera in scene.cameras)
    if scene.seeing_law == "linear":
        return np.asarray(1.0 + scene.seeing_change * (np.clip(seconds / length, 0.0, 1.0) - 0.5))
    steps = generator(scene.seed, Purpose.SEEING).standard_normal(WALK_STEPS + 1)
    walk = np.cumsum(steps)
    walk = (walk - walk.min()) / np.ptp(walk) - 0.5
    knots = np.linspace(0.0, length, WALK_STEPS + 1)
    return np.asarray(1.0 + scene.seeing_change * np.interp(seconds, knots, walk))


def _transparency(scene: Scene, camera: CameraSetup, index: NDArray[np.int64]) -> Floats:
    through = np.ones(len(index))
    clock = scene.cameras[0].cadence_s
    exposure = index * camera.cadence_s / clock
    for cloud in scene.clouds:
        through[(exposure >= cloud.start) & (exposure < cloud.stop)] *= cloud.transparency
    return through


def _wave(variable: Variable, arm: int, seconds: Floats) -> Floats:
    phase = variable.phase_rad[arm if len(variable.phase_rad) > 1 else 0]
    cycle = 2.0 * np.pi * variable.frequency_hz * seconds + phase
    return np.asarray(1.0 + variable.amplitude * np.sin(cycle))


def _dip(transit: Transit, seconds: Floats) -> Floats:
    from_edge = transit.duration_s / 2 - np.abs(seconds - transit.middle_s)
    if transit.ingress_s == 0.0:
        return np.asarray(1.0 - transit.depth * (from_edge >= 0))
    return np.asarray(1.0 - transit.depth * np.clip(from_edge / transit.ingress_s, 0.0, 1.0))
