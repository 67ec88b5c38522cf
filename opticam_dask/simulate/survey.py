"""A survey on disk: many nights of one field through three arms, with all that happens to surveys."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from opticam_dask.errors import InputError
from opticam_dask.simulate.observations import Progress, simulate_night
from opticam_dask.simulate.parts import CameraSetup, Cloud
from opticam_dask.simulate.scene import Scene
from opticam_dask.simulate.sky import Floats
from opticam_dask.simulate.streams import Purpose, generator
from opticam_dask.simulate.truth import TRUTH_NAME

SURVEY_CAMERAS = (
    CameraSetup(filter="g"),
    CameraSetup(filter="r", mirrored=True, rotation_deg=3.0, offset_px=(4.0, -3.0), flux_scale=1.3),
    CameraSetup(filter="i", rotation_deg=-2.0, plate_scale=0.84, offset_px=(-5.0, 2.0), flux_scale=0.8),
)
"""Three arms, one mirrored, one of another plate scale."""


@dataclass(frozen=True)
class SimulatedSurvey:
    """What a simulated survey left on disk.

    Parameters
    ----------
    directory : Path
        Folder of the survey, with a folder for each night.
    nights : tuple of str
        The nights, YYYY-MM-DD; also the names of their folders.
    fields : tuple of int
        For each night the field it shows, from 1. Stars of equal number in nights of one field are the same.
    cloudy, flipped, missing : str
        The cloudy night, the night with the meridian flip, the night without its last camera; empty if
        there is none.
    """

    directory: Path
    nights: tuple[str, ...]
    fields: tuple[int, ...]
    cloudy: str = ""
    flipped: str = ""
    missing: str = ""

    def truth(self, night: str) -> Path:
        """Truth table of a night; see `opticam_dask.simulate.truth`."""
        return self.directory / night / TRUTH_NAME


def simulate_survey(
    out_directory: str | Path,
    nights: int = 30,
    *,
    n_frames: int = 4,
    shape: tuple[int, int] = (150, 190),
    n_stars: int = 18,
    seed: int = 7,
    start: str = "2024-01-01",
    pointing_px: float = 8.0,
    rotation_deg: float = 0.3,
    extinction_mag: float = 1.5,
    workers: int | None = None,
    progress: Progress | None = None,
) -> SimulatedSurvey:
    """Write nights of frames of three cameras, and the truth of each.

    Pointing and rotation differ from night to night; the arms see the field mirrored, turned and at another
    scale. With five nights or more, one is cloudy, one shows another field, one lacks a camera, and in the
    night in the middle the telescope changes sides: from then on the field is turned by 180 degrees.

    Parameters
    ----------
    out_directory : str or Path
        Folder of the survey; each night gets a folder of its date.
    nights : int
        Nights, one after the other.
    n_frames : int
        Frames of each camera and night.
    shape : tuple of int
        (rows, columns) of the frames.
    n_stars : int
        Stars on an area as large as a frame; some lie beyond its edges, where other nights may point.
    seed : int
        Every random number follows from it.
    start : str
        Evening of the first night.
    pointing_px, rotation_deg : float
        Scatter of the pointing per axis [pixel] and of the rotation [degree] from night to night.
    extinction_mag : float
        Extinction by clouds in the cloudy night [mag].
    workers, progress
        As for `simulate_night`.

    Raises
    ------
    InputError
        If a number makes no sense, or a folder holds another simulation.
    """
    if nights < 1:
        raise InputError(f"nights must be at least 1, not {nights}")
    root = Path(out_directory)
    first = np.datetime64(start, "D")
    dates = tuple(str(first + np.timedelta64(number, "D")) for number in range(nights))
    special = _special(nights)
    fields = tuple(2 if number == special["other field"] else 1 for number in range(nights))
    sky = _Sky(seed, shape, n_stars)
    for number, scene in enumerate(
        _scenes(sky, dates, special, n_frames, (pointing_px, rotation_deg, extinction_mag))
    ):
        simulate_night(scene, root / dates[number], workers=workers, progress=progress)
    names = [dates[special[name]] if special[name] >= 0 else "" for name in ("cloudy", "flip", "missing")]
    return SimulatedSurvey(root, dates, fields, *names)


def _special(nights: int) -> dict[str, int]:
    if nights < 5:
        return dict.fromkeys(("cloudy", "other field", "missing", "flip"), -1)
    return {
        "cloudy": nights // 5,
        "other field": (2 * nights) // 5,
        "flip": nights // 2,
        "missing": (4 * nights) // 5,
    }


@dataclass(frozen=True)
class _Sky:
    """Stars of the fields: the same in each night."""

    seed: int
    shape: tuple[int, int]
    n_stars: int

    def stars(self, field: int) -> Floats:
        """x, y relative to the middle [pixel] and counts, shape (n, 3), on an area of 1.5 frames per axis."""
        rng = generator(self.seed + 1000 * field, Purpose.STARS)
        half = 0.75 * np.array([self.shape[1], self.shape[0]])
        wanted = int(2.25 * self.n_stars)
        places: list[Floats] = []
        for place in rng.uniform(-half, half, (200 * wanted, 2)):
            if len(places) < wanted and all(np.hypot(*(place - other)) >= 12.0 for other in places):
                places.append(place)
        counts = np.sort(8e3 * 25.0 ** rng.random(len(places)))[::-1]
        return np.column_stack([np.array(places).reshape(-1, 2), counts])


def _scenes(
    sky: _Sky, dates: tuple[str, ...], special: dict[str, int], n_frames: int, spread: tuple[float, ...]
) -> Iterator[Scene]:
    rng = generator(sky.seed, Purpose.JITTER)
    pointing_px, rotation_deg, extinction_mag = spread
    for number, date in enumerate(dates):
        offset, turn = rng.normal(0.0, pointing_px, 2), rng.normal(0.0, rotation_deg)
        flipped = 0 <= special["flip"] < number
        stars = sky.stars(2 if number == special["other field"] else 1)
        scene = Scene(
            seed=sky.seed + number,
            n_frames=n_frames,
            cameras=SURVEY_CAMERAS[: 2 if number == special["missing"] else 3],
            start=f"{np.datetime64(date) + np.timedelta64(1, 'D')}T05:00:00",  # in Mexico the evening before
            shape=sky.shape,
            stars=_pointed(stars, sky.shape, offset, turn + (180.0 if flipped else 0.0)),
            semimajor_sigma=1.6,
            semiminor_sigma=1.3,
            orientation=30.0,
            compression="none",
            jitter_px=0.3,
            flip_time_s=n_frames / 2 if number == special["flip"] else None,
        )
        if number == special["cloudy"]:
            scene = dataclasses.replace(
                scene, clouds=(Cloud(start=0, stop=n_frames, extinction_mag=extinction_mag),)
            )
        yield scene


def _pointed(
    stars: Floats, shape: tuple[int, int], offset: Floats, turn_deg: float
) -> tuple[tuple[float, float, float], ...]:
    """Stars in a night's frames, without the arms' own views."""
    angle = np.deg2rad(turn_deg)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    xy = stars[:, :2] @ turn.T + offset + [(shape[1] - 1) / 2, (shape[0] - 1) / 2]
    return tuple((float(x), float(y), float(counts)) for (x, y), counts in zip(xy, stars[:, 2], strict=True))
