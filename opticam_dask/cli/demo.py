"""``opticam-dask demo``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from opticam_dask.cli.options import cluster_options, config_option

if TYPE_CHECKING:
    from opticam_dask.cluster_spec import ClusterSpec

EPILOG = """\b
Example:
  opticam-dask demo demo --frames 200
"""


@click.command("demo", epilog=EPILOG)
@click.argument("out", type=click.Path(path_type=Path, file_okay=False), default=Path("demo"))
@click.option("--frames", type=click.IntRange(min=3), default=120, show_default=True, help="Per camera.")
@click.option("--seed", type=int, default=7, show_default=True)
@cluster_options
@config_option
def command(out: Path, frames: int, seed: int, cluster: ClusterSpec | None) -> None:
    """Simulate a night of three cameras, reduce it on a dask cluster, and draw a variable star.

    Everything goes to OUT (default: demo): frames in OUT/data, results in OUT/reduced.
    """
    from opticam_dask.demo import run_demo

    picture = run_demo(out, frames=frames, seed=seed, cluster=cluster)
    click.echo(f"light curve of the variable star: {picture}")
