"""``opticam-dask survey``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from opticam_dask.cli import PARTLY_DONE
from opticam_dask.cli.calibration import calibration_options
from opticam_dask.cli.options import cluster_options, config_option, header_options, instrument_from
from opticam_dask.cli.photometry import photometers_from, photometry_options

if TYPE_CHECKING:
    from opticam_dask.survey import Survey

EPILOG = """\b
Examples:
  opticam-dask survey nights out --target '05:34:31.9 +22:00:52'
  opticam-dask survey nights out --dry-run            what would be done, and why
  opticam-dask survey --ledger out                    each night: frames, seeing, stars, what went wrong
  opticam-dask light-curve out --object F001-0002     one star, all nights and cameras

Run it again whenever there are new nights: only those are reduced. Then 'opticam-dask vacuum out' frees the
space of what is no longer needed.
"""


@click.command("survey", epilog=EPILOG)
@click.argument("root", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path, file_okay=False), required=False)
@photometry_options
@click.option("--threshold", type=float, default=5.0, show_default=True, help="Detection threshold [sigma].")
@click.option("--max-sources", type=int, default=15, show_default=True, help="Brightest sources to keep.")
@click.option(
    "--transform",
    type=click.Choice(["affine", "translation"]),
    default="affine",
    show_default=True,
    help="What aligns frames: shift, rotation and scale, or a shift alone (works with one star).",
)
@calibration_options
@click.option(
    "--wcs",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="FITS file whose WCS is that of the frames.",
)
@click.option("--nights", multiple=True, metavar="PATTERN", help="Nights to look at: 2024-01-*; repeat it.")
@click.option("--csv/--no-csv", default=False, show_default=True, help="Write CSV files of each night too.")
@click.option("--figures/--no-figures", default=None, help="Draw figures of each night [yes].")
@click.option("--retry", is_flag=True, help="Try again nights that were excluded.")
@click.option("--overwrite", is_flag=True, help="Replace results made with other settings.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and why; write nothing.")
@click.option("--ledger", is_flag=True, help="Print the ledger of the survey and do nothing else.")
@click.option("-v", "--verbose", is_flag=True, help="Print all that the reduction of each night says.")
@cluster_options
@header_options
@config_option
@click.pass_context
def command(ctx: click.Context, /, root: Path, out: Path | None, **options: Any) -> None:
    """Reduce the nights below ROOT that are new or changed into one dataset in OUT.

    Nights may be folders, or frames of many nights in one. The same star has one object ID in all of them.
    """
    if options["ledger"]:
        _print_ledger(out or root)
        return
    if out is None:
        raise click.UsageError("Missing argument 'OUT'.")
    survey = _survey(root, out, options)
    chosen = {name: options[name] for name in ("nights", "overwrite", "retry")}
    if options["dry_run"]:
        plans = survey.plan(**chosen)
        for plan in plans:
            click.echo(plan)
        click.echo(f"{len(plans)} nights to do")
        return
    report = survey.run(**chosen)
    if not report.reduced and not report.failed:
        click.echo(report)
    if report.failed:
        ctx.exit(PARTLY_DONE)


def _survey(root: Path, out: Path, options: dict[str, Any]) -> Survey:
    from opticam_dask.survey import Survey, SurveyOptions

    return Survey(
        root,
        out,
        photometers_from(options),
        SurveyOptions(
            instrument=instrument_from(options["instrument_name"]),
            target=options["target"],
            wcs=options["wcs"],
            threshold=options["threshold"],
            max_catalog_sources=options["max_sources"],
            transform_type=options["transform"],
            bias=options["bias"],
            dark=options["dark"],
            flat=options["flat"],
            bad_pixels=options["bad_pixels"],
            region_of_interest=options["region"],
            rebin_factor=options["rebin"],
            remove_cosmic_rays=options["cosmic_rays"],
            electrons=options["electrons"],
        ),
        cluster=options["cluster"],
        export_csv=options["csv"],
        figures=options["figures"],
        verbose=options["verbose"],
        say=click.echo,
    )


def _print_ledger(out: Path) -> None:
    from opticam_dask.survey import read_ledger
    from opticam_dask.survey.extinction import clouds_told

    ledger = read_ledger(out)
    shown = ["night", "camera", "status", "found", "used", "unaligned", "extinction", "fwhm", "seeing"]
    table = ledger[[*shown, "stars", "identified", "duration", "seconds"]].round(2)
    click.echo(table.to_string(index=False))
    for row in ledger.to_dict("records"):
        words = row["reason"], row["rejected_for"], clouds_told(row["extinction"]), row["outdated_for"]
        for text in filter(None, words):
            click.echo(f"{row['night'] or 'no date'} {row['camera']}: {text}")
