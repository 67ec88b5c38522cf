"""``opticam-dask pull-test``."""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from opticam_dask.cli.options import cluster_options, config_option

EPILOG = """\b
Examples:
  opticam-dask pull-test                            two nights of 300 frames, both photometers
  opticam-dask pull-test --frames 60 --gain 1 --photometer optimal --sky annulus
"""

BOTH = "both"


@click.command("pull-test", epilog=EPILOG)
@click.option("--frames", type=click.IntRange(min=10), default=300, show_default=True, help="Per night.")
@click.option("--stars", type=click.IntRange(min=8), default=60, show_default=True, help="On each frame.")
@click.option(
    "--gain",
    "gains",
    type=click.FloatRange(min=0, min_open=True),
    multiple=True,
    default=(1.0, 0.45),
    show_default=True,
    help="Gain of a night [electron / adu]; may be repeated.",
)
@click.option(
    "--photometer", type=click.Choice(["optimal", "aperture", BOTH]), default=BOTH, show_default=True
)
@click.option("--sky", type=click.Choice(["annulus", "mesh", BOTH]), default=BOTH, show_default=True)
@click.option("--place", type=click.Choice(["forced", "matched", BOTH]), default=BOTH, show_default=True)
@click.option(
    "--calibrated", is_flag=True, help="With detector patterns, cosmic rays and calibration frames."
)
@click.option("--seed", type=click.IntRange(min=0), default=5, show_default=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep frames and results in this folder; without it they are removed.",
)
@cluster_options
@config_option
def command(out: Path | None, place: str, gains: tuple[float, ...], **options: Any) -> None:
    """Simulate nights, reduce them, and compare fluxes and error bars with the truth.

    The pull of a measurement is (flux - true flux) / error: if all is right, pulls have mean 0 and standard
    deviation 1 at every flux. Exit code 0 only if every goal is met; with fewer frames or stars than the
    defaults, goals are widened by 2 statistical errors.
    """
    from opticam_dask.validation.report import report
    from opticam_dask.validation.runs import PHOTOMETERS, SKIES, pull_test

    photometer, sky = options.pop("photometer"), options.pop("sky")
    with ExitStack() as stack:
        folder = out or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pull_test_")))
        result = pull_test(
            folder,
            gains=gains,
            photometers=tuple(PHOTOMETERS) if photometer == BOTH else (photometer,),
            skies=SKIES if sky == BOTH else (sky,),
            forced=(True, False) if place == BOTH else (place == "forced",),
            **options,
        )
    click.echo(report(result))
    if not result.passed:
        sys.exit(1)
