"""``opticam-dask differential``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from opticam_dask.cli.options import cluster_options, config_option

if TYPE_CHECKING:
    from opticam_dask.cluster_spec import ClusterSpec

EPILOG = """\b
Examples:
  opticam-dask differential out --camera 1:g --target 2
  opticam-dask differential out --camera 1:g --target 2 --comparison 1 --comparison 4 --match
  opticam-dask differential survey --camera 1:g --target F001-0042 --no-export

Without --comparison, stars that do not vary are chosen and weighted by inverse variance.
"""


@click.command("differential", epilog=EPILOG)
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@click.option("--camera", required=True, help="Camera, such as 1:g, or its filter.")
@click.option("--target", required=True, help="Source ID; in a survey, the object_id.")
@click.option("--comparison", multiple=True, help="Comparison star; may be repeated [chosen automatically].")
@click.option("--label", help="Set of light curves, such as optimal_annulus [the only one].")
@click.option("--name", help="Name of the results [made of camera, target and comparisons].")
@click.option("--match", is_flag=True, help="Do the same in the other cameras.")
@click.option("--export/--no-export", default=True, help="CSV files and figures, too.", show_default=True)
@click.option("--overwrite", is_flag=True, help="Replace results made with other settings.")
@cluster_options
@config_option
def command(
    out: Path,
    camera: str,
    target: str,
    comparison: tuple[str, ...],
    label: str | None,
    name: str | None,
    match: bool,
    export: bool,
    overwrite: bool,
    cluster: ClusterSpec | None,
) -> None:
    """Make the light curve of a target in OUT relative to comparison stars."""
    from opticam_dask.differential import DifferentialPhotometer

    photometer = DifferentialPhotometer(out, show_plots=False, cluster=cluster)
    make = photometer.get_relative_light_curve if export else photometer.write_relative_light_curves
    make(
        camera,
        _star(target),
        [_star(one) for one in comparison] or "auto",
        label,
        prefix=name,
        match_other_cameras=match,
        overwrite=overwrite,
    )


def _star(text: str) -> int | str:
    """ID in a catalogue if it is a number, else an object_id."""
    return int(text) if text.isdigit() else text
