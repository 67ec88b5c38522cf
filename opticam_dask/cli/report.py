"""``opticam-dask report``."""

from __future__ import annotations

from pathlib import Path

import click

from opticam_dask.cli.options import config_option

EPILOG = """\b
Examples:
  opticam-dask report out
  opticam-dask report out --to night1.html
  opticam-dask report survey                 all nights of a survey on one page
"""


@click.command("report", epilog=EPILOG)
@click.argument("out", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--to", "path", type=click.Path(path_type=Path, dir_okay=False), help="The file [OUT/report.html]."
)
@config_option
def command(out: Path, path: Path | None) -> None:
    """Write one page that shows the reduction in OUT: light curves to zoom into, quality, what was rejected.

    OUT may be that of a survey too: then the page shows its objects over all nights, and each night alone.
    The file holds everything it shows, and opens without a server or a network.
    """
    from opticam_dask.report import write_report

    written = write_report(out, path)
    click.echo(f"{written}: {written.stat().st_size / 1e6:.1f} MB")
