"""``opticam-dask compact``: merge parts of light curves, so that a curve is read from few files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from opticam_dask.cli.options import cluster_options, config_option

if TYPE_CHECKING:
    from opticam_dask.cluster_spec import ClusterSpec
    from opticam_dask.tables.compact import Compacted

EPILOG = """\b
Example:
  opticam-dask compact out
  opticam-dask compact out --label optimal_annulus --workers 8

'reduce' does this by itself for nights of many parts. It may be stopped and run again at any time.
"""


@click.command("compact", epilog=EPILOG)
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@click.option("--label", help="Set of light curves, such as optimal_annulus [all].")
@cluster_options
@config_option
@click.pass_context
def command(ctx: click.Context, out: Path, label: str | None, cluster: ClusterSpec | None) -> None:
    """Merge the many parts of each night and camera in OUT into one or a few."""
    from opticam_dask.lazy.chunks import map_blocks_of_frames
    from opticam_dask.session import Session
    from opticam_dask.tables.compact import compact

    def shared(function: Any, folders: Sequence[Any], root: Path) -> list[Any]:
        return run(map_blocks_of_frames(function, folders, root), "merging parts")

    with Session(cluster) as run:
        done = compact(out, label=label, run=shared)
    for one in done:
        _tell(one)
    if any(one.reason for one in done):
        ctx.exit(1)


def _tell(one: Compacted) -> None:
    if one.reason:
        click.echo(f"error: {one.night} {one.camera}: not merged: {one.reason}", err=True)
    else:
        click.echo(f"{one.night} {one.camera}: {one.before} parts into {one.after}, {one.rows} rows")
