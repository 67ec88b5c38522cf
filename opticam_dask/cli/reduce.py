"""``opticam-dask reduce``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from opticam_dask.cli.options import cluster_options, config_option, instrument_from, instrument_options

if TYPE_CHECKING:
    from opticam_dask.photometers.base import BasePhotometer


EPILOG = """\b
Example:
  opticam-dask reduce night1 out --target '05:34:31.9 +22:00:52'
"""


@click.command("reduce", epilog=EPILOG)
@click.argument("data", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--photometer",
    type=click.Choice(["optimal", "aperture"]),
    default="optimal",
    show_default=True,
    help="Weigh pixels by the profile, or sum an aperture one FWHM in radius.",
)
@click.option(
    "--background",
    type=click.Choice(["annulus", "mesh"]),
    default="annulus",
    show_default=True,
    help="Sky from an annulus around each source, or from a two-dimensional mesh.",
)
@click.option("--forced", is_flag=True, help="Measure at catalogue positions; do not re-centre.")
@click.option("--threshold", type=float, default=5.0, show_default=True, help="Detection threshold [sigma].")
@click.option("--max-sources", type=int, default=15, show_default=True, help="Brightest sources to keep.")
@click.option(
    "--transform",
    type=click.Choice(["affine", "translation"]),
    default="affine",
    show_default=True,
    help="What aligns frames: shift, rotation and scale, or a shift alone (works with one star).",
)
@click.option("--csv/--no-csv", default=True, show_default=True, help="Write one CSV file per source too.")
@click.option("--overwrite", is_flag=True, help="Replace results made with other settings.")
@cluster_options
@instrument_options
@config_option
def command(data: Path, out: Path, **options: Any) -> None:
    """Reduce the frames in DATA to catalogues and light curves in OUT.

    A second run of the same command does only what is missing.
    """
    from opticam_dask.reducer import Reducer

    with Reducer(
        out,
        [data] if data.is_file() else str(data),
        instrument=instrument_from(options["instrument_name"]),
        target=options["target"],
        recursive=options["recursive"],
        threshold=options["threshold"],
        cluster=options["cluster"],
        number_of_processors=options["workers"],
        show_plots=False,
    ) as reducer:
        reducer.create_catalogs(
            max_catalog_sources=options["max_sources"],
            transform_type=options["transform"],
            overwrite=options["overwrite"],
        )
        photometer = photometer_from(**options)
        reducer.photometry(photometer, overwrite=options["overwrite"], export_csv=options["csv"])


def photometer_from(*, photometer: str, background: str, forced: bool, **_: Any) -> BasePhotometer:
    """Photometer that the options describe."""
    from opticam_dask.photometers import AperturePhotometer, DefaultLocalBackground, OptimalPhotometer

    estimator = DefaultLocalBackground() if background == "annulus" else None
    kind = OptimalPhotometer if photometer == "optimal" else AperturePhotometer
    return kind(forced=forced, local_background_estimator=estimator)
