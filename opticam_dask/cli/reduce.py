"""``opticam-dask reduce``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from opticam_dask.cli import PARTLY_DONE
from opticam_dask.cli.calibration import calibration_from, calibration_options
from opticam_dask.cli.follow import check_follow, follow_options, run_follow
from opticam_dask.cli.options import cluster_options, config_option, instrument_from, instrument_options
from opticam_dask.cli.photometry import photometers_from, photometry_options

EPILOG = """\b
Examples:
  opticam-dask reduce night1 out --target '05:34:31.9 +22:00:52'
  opticam-dask reduce night1 out --bias cal/bias --dark cal/dark --flat cal/flat --psf frame --forced
  opticam-dask reduce night1 out --photometer aperture --scale 0.8 --scale 1 --scale 1.5
  opticam-dask reduce /data/tonight out --follow --quiet-time 10min --live-plot star.png
"""


@click.command("reduce", epilog=EPILOG)
@click.argument("data", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
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
    type=click.Path(exists=True, dir_okay=False),
    help="FITS file whose WCS is that of the frames, for a BMJD of each source's own.",
)
@click.option("--csv/--no-csv", default=True, show_default=True, help="Write one CSV file per source too.")
@click.option(
    "--figures/--no-figures",
    default=None,
    help="Draw figures of frames, sources and scatter into OUT/diag [yes].",
)
@click.option("--gif", is_flag=True, help="Animate 100 frames of each camera, sources marked, into OUT/cat.")
@click.option("--overwrite", is_flag=True, help="Replace results made with other settings.")
@follow_options
@cluster_options
@instrument_options
@config_option
@click.pass_context
def command(ctx: click.Context, /, data: Path, out: Path, **options: Any) -> None:
    """Reduce the frames in DATA to catalogues and light curves in OUT.

    A second run of the same command does only what is missing.
    """
    check_follow(out, options)
    if options["follow"]:
        ctx.exit(run_follow(data, out, options))
    from opticam_dask.reducer import Reducer
    from opticam_dask.tables.failures import failed_blocks
    from opticam_dask.tables.lock import held

    instrument = instrument_from(options["instrument_name"])
    photometers = photometers_from(options)
    with (
        held(out),
        Reducer(
            out,
            [data] if data.is_file() else str(data),
            instrument=instrument,
            target=options["target"],
            wcs=options["wcs"],
            recursive=options["recursive"],
            threshold=options["threshold"],
            cluster=options["cluster"],
            show_plots=False,
            figures=options["figures"],
            **calibration_from(out, instrument, options),
        ) as reducer,
    ):
        reducer.create_catalogs(
            max_catalog_sources=options["max_sources"],
            transform_type=options["transform"],
            overwrite=options["overwrite"],
        )
        reducer.photometry(photometers, overwrite=options["overwrite"], export_csv=options["csv"])
        if options["gif"]:
            reducer.create_gifs()
    if failed_blocks(out):
        click.echo(f"error: some frames failed on all tries; {out / 'opticam.log'} tells which", err=True)
        ctx.exit(PARTLY_DONE)
