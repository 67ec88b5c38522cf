"""Options that say how frames are calibrated."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from opticam_dask.instrument import Instrument

F = TypeVar("F", bound=Callable[..., Any])

_REGION = re.compile(r"(\d+):(\d+),(\d+):(\d+)")


def calibration_options(function: F) -> F:
    """Add the options of calibration."""
    folder = click.Path(path_type=Path, exists=True)
    for option in reversed(
        [
            click.option("--bias", type=folder, help="Folder of bias frames."),
            click.option("--dark", type=folder, help="Folder of dark frames."),
            click.option("--flat", type=folder, help="Folder of flat fields."),
            click.option(
                "--bad-pixels",
                type=folder,
                help="FITS file of the frames' shape, not 0 where bad.",
            ),
            click.option(
                "--region",
                metavar="Y0:Y1,X0:X1",
                callback=_region,
                help="Rows and columns to keep, counted from 0; the last ones are not part of it.",
            ),
            click.option(
                "--rebin", type=click.IntRange(min=1), default=1, help="Pixels to add up along each axis."
            ),
            click.option("--cosmic-rays", is_flag=True, help="Find cosmic rays; leave them out, flagged."),
            click.option("--electrons", is_flag=True, help="Fluxes in electrons, by the gain."),
        ]
    ):
        function = option(function)
    return function


def _region(_ctx: click.Context, _param: click.Parameter, text: str | None) -> Any:
    if text is None:
        return None
    match = _REGION.fullmatch(text.replace(" ", ""))
    if match is None:
        raise click.BadParameter(f"must be Y0:Y1,X0:X1, such as 100:612,0:512, not {text!r}")
    y0, y1, x0, x1 = (int(number) for number in match.groups())
    return ((y0, y1), (x0, x1))


def calibration_from(out: Path, instrument: Instrument, options: dict[str, Any]) -> dict[str, Any]:
    """Arguments of `Reducer` that the options describe; master frames are kept in ``out/cal``."""
    from opticam_dask.calibration import BiasCorrector, DarkNoiseCorrector, FlatFieldCorrector

    kinds = {
        "bias": ("bias_corrector", BiasCorrector),
        "dark": ("dark_noise_corrector", DarkNoiseCorrector),
        "flat": ("flat_corrector", FlatFieldCorrector),
    }
    correctors = {
        name: kind(out, options[option], instrument=instrument, verbose=False)
        for option, (name, kind) in kinds.items()
        if options[option] is not None
    }
    return {
        **correctors,
        "bad_pixels": options["bad_pixels"],
        "region_of_interest": options["region"],
        "rebin_factor": options["rebin"],
        "remove_cosmic_rays": options["cosmic_rays"],
        "electrons": options["electrons"],
    }
