"""``opticam-dask reduce --follow``: its options, and what it runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from opticam_dask.cli.calibration import calibration_from
from opticam_dask.cli.options import instrument_from
from opticam_dask.cli.photometry import photometers_from

F = TypeVar("F", bound=Callable[..., Any])

TERMINATED, PARTLY_DONE = 143, 3
_WHOLE_NIGHT = ("figures", "gif")
_ONLY = ("quiet_time", "catalog_after", "live_plot", "live_source")


def follow_options(function: F) -> F:
    """Add --follow and the options that go with it."""
    for option in reversed(
        [
            click.option(
                "--follow",
                is_flag=True,
                help="Take frames as they arrive in DATA, until a quiet time or Ctrl-C.",
            ),
            click.option(
                "--quiet-time",
                metavar="TIME",
                help="With --follow: the night is over when no new frame has come for so long [300s].",
            ),
            click.option(
                "--catalog-after",
                metavar="N|TIME|N,TIME",
                help="With --follow: a camera's catalogue is made of its first N frames, or of those of the "
                "first TIME, whichever is there first [100,120s].",
            ),
            click.option(
                "--live-plot",
                type=click.Path(path_type=Path, dir_okay=False),
                metavar="FILE",
                help="With --follow: figure of a source's light curves, drawn again as they grow.",
            ),
            click.option(
                "--live-source", type=click.IntRange(min=1), help="With --live-plot: which source [1]."
            ),
        ]
    ):
        function = option(function)
    return function


def check_follow(out: Path, options: dict[str, Any]) -> None:
    """Refuse options that would be ignored, and a plain reduction into a followed night.

    Raises
    ------
    click.UsageError
        If an option is of no use here.
    """
    from opticam_dask.follow.state import refuse_followed

    if options["follow"]:
        for name in _WHOLE_NIGHT:
            if options.get(name):
                raise click.UsageError(f"--{name} needs the whole night: leave --follow away")
        if options["live_source"] is not None and options["live_plot"] is None:
            raise click.UsageError("--live-source needs --live-plot")
        return
    for name in _ONLY:
        if options[name] is not None:
            raise click.UsageError(f"--{name.replace('_', '-')} needs --follow")
    refuse_followed(out, overwrite=options["overwrite"])


def run_follow(data: Path, out: Path, options: dict[str, Any]) -> int:
    """Follow a night; the exit code is 143 after SIGTERM, 3 if blocks of frames failed, else 0."""
    from opticam_dask.calibration import CalibrationOptions
    from opticam_dask.catalog.model import AlignmentConfig
    from opticam_dask.follow import Live, Reduction, follow
    from opticam_dask.follow.run import QUIET, require_frames
    from opticam_dask.follow.run import TERMINATED as BY_SIGTERM
    from opticam_dask.tables.failures import failed_blocks

    instrument = instrument_from(options["instrument_name"])
    how = Reduction(
        instrument=instrument,
        target=options["target"],
        wcs=options["wcs"],
        recursive=options["recursive"],
        threshold=options["threshold"],
        alignment=AlignmentConfig(
            max_catalog_sources=options["max_sources"], transform_type=options["transform"]
        ),
        calibration=CalibrationOptions(**calibration_from(out, instrument, options)),
    )
    given = {
        "quiet_time": options["quiet_time"],
        "catalog_after": options["catalog_after"],
        "plot": options["live_plot"],
        "source": options["live_source"],
    }
    live = Live(
        **{name: value for name, value in given.items() if value is not None}, export_csv=options["csv"]
    )
    report = follow(
        out,
        str(data),
        photometers_from(options),
        reduction=how,
        live=live,
        cluster=options["cluster"],
        overwrite=options["overwrite"],
    )
    if report.ended == QUIET:
        require_frames(report)
    if report.ended == BY_SIGTERM:
        return TERMINATED
    if failed_blocks(out):
        click.echo(f"error: some frames failed on all tries; {out / 'opticam.log'} tells which", err=True)
        return PARTLY_DONE
    return 0
