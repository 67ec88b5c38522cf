"""Checks of a scene's values, and scenes from plain mappings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from opticam_dask.errors import InputError
from opticam_dask.simulate import checks
from opticam_dask.simulate.parts import CameraSetup, Cloud, Transit, Variable

if TYPE_CHECKING:
    from opticam_dask.simulate.scene import Scene

_PARTS: dict[str, type] = {
    "cameras": CameraSetup,
    "variables": Variable,
    "transits": Transit,
    "clouds": Cloud,
}
_CHOICES = {
    "flux_law": ("log-uniform", "power-law"),
    "profile": ("gaussian", "sampled-gaussian", "moffat"),
    "seeing_law": ("linear", "walk"),
    "noise": ("poisson", "gaussian", "none"),
    "dtype": ("uint16", "float32", "float64"),
    "compression": ("none", "gz", "fz"),
    "header_style": ("opticam", "plain"),
}
_COUNTS = {
    "seed": 0,
    "n_frames": 1,
    "binning": 1,
    "n_stars": 0,
    "hot_pixels": 0,
    "dust_spots": 0,
    "dust_rings": 0,
}
_POSITIVE = ("semimajor_sigma", "semiminor_sigma", "gain")
_AT_LEAST_ZERO = (
    "exposure_s",
    "margin_px",
    "min_separation_px",
    "sky",
    "read_noise",
    "dark_current",
    "bias",
    "bias_structure",
    "dark_nonuniformity",
    "quantum",
    "jitter_px",
    "hot_pixel_level",
    "cosmic_rays",
    "cosmic_ray_electrons",
)
_FRACTIONS = ("vignetting", "dust_depth", "prnu", "gap_start", "gap_continue")
_FINITE = ("flux_slope", "orientation", "rotation_deg_per_hour")


def check_scene(scene: Scene) -> None:
    """Check every value of a scene while it is being made; lists become tuples.

    Raises
    ------
    InputError
        At the first value that makes no sense, showing it.
    """
    _check_numbers(scene)
    _check_parts(scene)
    _check_frame(scene)
    _check_stars(scene)
    _check_psf_and_sky(scene)
    _check_time(scene)


def _check_numbers(scene: Scene) -> None:
    for name, allowed in _CHOICES.items():
        checks.choice(scene, name, allowed)
    for name, low in _COUNTS.items():
        checks.whole(scene, name, low)
    for name in _POSITIVE:
        checks.positive(scene, name)
    for name in _AT_LEAST_ZERO:
        checks.number(scene, name, 0.0)
    for name in _FRACTIONS:
        checks.number(scene, name, 0.0, 1.0)
    for name in _FINITE:
        checks.number(scene, name)
    checks.flag(scene, "circular_aperture")


def _check_parts(scene: Scene) -> None:
    for name, kind in _PARTS.items():
        parts = _as_tuple(name, getattr(scene, name))
        for part in parts:
            if not isinstance(part, kind):
                raise InputError(f"{name} must hold {kind.__name__} objects, not {part!r}")
        checks.freeze(scene, name, parts)
    filters = [camera.filter for camera in scene.cameras]
    if not filters or len(set(filters)) < len(filters):
        raise InputError(f"cameras must be at least one, each with a filter of its own, not {filters!r}")
    for variable in scene.variables:
        if len(variable.phase_rad) not in (1, len(filters)):
            raise InputError(f"phase_rad must be 1 value or {len(filters)}, not {variable.phase_rad!r}")


def _check_frame(scene: Scene) -> None:
    checks.pair(scene, "shape")
    if not all(isinstance(side, int) and side >= 1 for side in scene.shape):
        raise InputError(f"shape must be two whole numbers, rows and columns, not {scene.shape!r}")
    checks.optional(scene, "saturation", 1.0)
    checks.optional(scene, "flip_time_s", 0.0)
    checks.pair(scene, "drift_px_per_hour")
    if scene.pointing is not None:
        checks.pair(scene, "pointing")
        if not (0 <= scene.pointing[0] < 360 and -90 <= scene.pointing[1] <= 90):
            raise InputError(f"pointing must be (0..360, -90..90) degrees, not {scene.pointing!r}")


def _check_stars(scene: Scene) -> None:
    checks.pair(scene, "flux_range")
    if not 0 < scene.flux_range[0] <= scene.flux_range[1]:
        raise InputError(f"flux_range must be (faintest, brightest) above 0, not {scene.flux_range!r}")
    if scene.stars is not None:
        stars = tuple(_as_tuple("a star", star) for star in _as_tuple("stars", scene.stars))
        for star in stars:
            if len(star) != 3 or not all(map(checks.is_finite, star)) or star[2] <= 0:
                raise InputError(f"a star must be (x, y, counts above 0), not {star!r}")
        checks.freeze(scene, "stars", stars)
    elif scene.n_stars and 2 * scene.margin_px >= min(scene.shape):
        raise InputError(f"margin_px {scene.margin_px!r} leaves no room in a frame of {scene.shape!r} pixels")
    total = scene.n_stars if scene.stars is None else len(scene.stars)
    changing: list[Variable | Transit] = [*scene.variables, *scene.transits]
    for part in changing:
        if part.star > total:
            raise InputError(f"star {part.star} does not exist: the scene has {total} stars")


def _check_psf_and_sky(scene: Scene) -> None:
    if scene.semiminor_sigma > scene.semimajor_sigma:
        raise InputError(
            f"semiminor_sigma {scene.semiminor_sigma!r} exceeds semimajor_sigma {scene.semimajor_sigma!r}"
        )
    checks.number(scene, "moffat_beta", 1.5, 100.0)
    checks.number(scene, "seeing_change", 0.0, 1.9)
    checks.pair(scene, "sky_gradient")
    (ny, nx), (gx, gy) = scene.shape, scene.sky_gradient
    darkest = scene.sky - (abs(gx) * (nx - 1) + abs(gy) * (ny - 1)) / 2
    if darkest < 0:
        raise InputError(f"sky_gradient {scene.sky_gradient!r} makes the sky {darkest:.6g} in a corner")


def _check_time(scene: Scene) -> None:
    start = scene.start
    if isinstance(start, datetime):  # as a TOML table gives it
        start = (start.astimezone(UTC) if start.tzinfo else start).replace(tzinfo=None).isoformat()
        checks.freeze(scene, "start", start)
    try:
        known = isinstance(start, str) and len(start) >= 10 and not np.isnat(np.datetime64(start, "ms"))
    except ValueError:
        known = False
    if not known:
        raise InputError(f"start must be a UTC time such as 2024-01-01T00:00:00, not {start!r}")


def scene_values(options: Mapping[str, Any], kind: type) -> dict[str, Any]:
    """Arguments of a scene from plain values, parts made of their own mappings.

    Raises
    ------
    InputError
        For an unknown key, naming it and the known ones.
    """
    _refuse_unknown("scene", options, kind)
    values = dict(options)
    for name, part_kind in _PARTS.items():
        if name in values:
            values[name] = tuple(_part(name, part_kind, part) for part in _as_tuple(name, values[name]))
    return values


def _as_tuple(name: str, value: object) -> tuple[Any, ...]:
    if isinstance(value, str | Mapping) or not isinstance(value, Iterable):
        raise InputError(f"{name} must be a list, not {value!r}")
    return tuple(value)


def _part(name: str, kind: type, value: Any) -> object:
    if isinstance(value, kind):
        return value
    if kind is CameraSetup and isinstance(value, str):
        value = {"filter": value}
    if not isinstance(value, Mapping):
        raise InputError(f"each of {name} must be a table of options, not {value!r}")
    _refuse_unknown(name, value, kind)
    try:
        return kind(**value)
    except TypeError as error:
        raise InputError(f"{name}: {str(error).split('() ')[-1]} in {dict(value)!r}") from error


def _refuse_unknown(name: str, options: Mapping[str, Any], kind: type) -> None:
    known = [field.name for field in fields(kind)]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise InputError(f"{name}: unknown option {unknown[0]!r}; known are {', '.join(known)}")
