"""``opticam-dask vacuum``: free the space of what nothing refers to."""

from __future__ import annotations

from pathlib import Path

import click

from opticam_dask.cli.options import config_option

EPILOG = """\b
Examples:
  opticam-dask vacuum out --dry-run
  opticam-dask vacuum out

In a survey this halves the space of light curves: those that are published need not lie in the folder of
their night as well. No light curve is lost, unless --gone or --outdated ask for it.
"""


@click.command("vacuum", epilog=EPILOG)
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@click.option("--dry-run", is_flag=True, help="Say what would be removed; remove nothing.")
@click.option("--gone", is_flag=True, help="Remove nights whose frames are no longer under the root as well.")
@click.option(
    "--outdated",
    is_flag=True,
    help="Remove rows of frames or catalogues that are no more as well; the ledger tells which.",
)
@config_option
def command(out: Path, dry_run: bool, gone: bool, outdated: bool) -> None:
    """Remove from OUT what nothing refers to: unfinished files, light curves that are published as well."""
    from opticam_dask.survey.vacuum import vacuum

    found = vacuum(out, gone=gone, outdated=outdated, dry_run=dry_run)
    for one in found:
        click.echo(f"{one.path}: {one.size} bytes, {one.why}")
    verb = "would be freed" if dry_run else "freed"
    click.echo(f"{sum(one.size for one in found)} bytes in {len(found)} places {verb}")
