"""Options that say how sources are measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from opticam_dask.errors import InputError

if TYPE_CHECKING:
    from opticam_dask.photometers.base import BasePhotometer

F = TypeVar("F", bound=Callable[..., Any])

BACKGROUNDS = ("annulus", "median", "mode", "plane", "mesh")


def photometry_options(function: F) -> F:
    """Add the options of photometry."""
    for option in reversed(
        [
            click.option(
                "--photometer",
                type=click.Choice(["optimal", "aperture"]),
                default="optimal",
                show_default=True,
                help="Weigh pixels by the profile, or sum an aperture.",
            ),
            click.option(
                "--scale",
                "scales",
                type=click.FloatRange(min=0, min_open=True),
                multiple=True,
                help="Semi-axes of the aperture in units of the FWHM [1]; repeat it for several in one pass.",
            ),
            click.option(
                "--background",
                type=click.Choice(BACKGROUNDS),
                default="annulus",
                show_default=True,
                help="Sky from an annulus around each source (its clipped mean, median, mode, or a tilted "
                "plane), or from a two-dimensional mesh.",
            ),
            click.option(
                "--profile",
                type=click.Choice(["gaussian", "moffat"]),
                default="gaussian",
                show_default=True,
                help="Profile of a star; a Moffat is fitted to the bright stars of each camera.",
            ),
            click.option(
                "--psf",
                type=click.Choice(["run", "frame"]),
                default="run",
                show_default=True,
                help="One PSF for all frames of a camera, or each frame's own: for changing seeing.",
            ),
            click.option("--forced", is_flag=True, help="Measure at catalogue positions; do not re-centre."),
            click.option("--scintillation", is_flag=True, help="Count scintillation among the errors."),
        ]
    ):
        function = option(function)
    return function


def photometers_from(options: dict[str, Any]) -> list[BasePhotometer]:
    """Photometers that the options describe: one, or one for each scale of the aperture."""
    from opticam_dask.photometers import AperturePhotometer, NoiseBudget, OptimalPhotometer

    common = {
        "forced": options["forced"],
        "local_background_estimator": _estimator(options["background"]),
        "profile": options["profile"],
        "psf": options["psf"],
        "noise": NoiseBudget(scintillation=options["scintillation"]),
    }
    if options["photometer"] == "aperture":
        return [
            AperturePhotometer(scale=scale, **common) for scale in dict.fromkeys(options["scales"] or (1.0,))
        ]
    if options["scales"]:
        raise InputError("--scale needs --photometer aperture")
    return [OptimalPhotometer(**common)]


def _estimator(background: str) -> Any:
    from opticam_dask import photometers

    kinds: dict[str, Callable[[], Any]] = {
        "annulus": photometers.DefaultLocalBackground,
        "median": photometers.MedianLocalBackground,
        "mode": photometers.ModeLocalBackground,
        "plane": photometers.PlaneLocalBackground,
    }
    return kinds[background]() if background in kinds else None
