"""``opticam-dask light-curve``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from opticam_dask.cli.options import config_option
from opticam_dask.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


EPILOG = """\b
Example:
  opticam-dask light-curve out --source 2 --camera 1:g --plot star.png
"""


@click.command("light-curve", epilog=EPILOG)
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@click.option("--source", type=int, required=True, help="Source ID, from 1, brightest first.")
@click.option("--camera", multiple=True, help="Camera, such as 1:g; may be repeated [all].")
@click.option("--label", help="Set of light curves, such as optimal_annulus [the only one].")
@click.option("--csv", type=click.Path(path_type=Path, dir_okay=False), help="Write the rows to this file.")
@click.option(
    "--plot", type=click.Path(path_type=Path, dir_okay=False), help="Draw them: .png, .pdf or .svg."
)
@config_option
def command(
    out: Path, source: int, camera: tuple[str, ...], label: str | None, csv: Path | None, plot: Path | None
) -> None:
    """Print, save or draw the light curve of one source over all nights in OUT."""
    from opticam_dask.tables.store import cameras, find_dataset, flux_unit, light_curve

    root = find_dataset(out, label)
    chosen = camera or tuple(cameras(root))
    curves = {name: light_curve(out, camera=name, source=source, label=label) for name in chosen}
    if csv:
        with _telling(csv):
            _concat(curves).to_csv(csv, index=False)
    if plot:
        with _telling(plot):
            draw(curves, plot, f"source {source}", flux_unit(root))
    if not csv and not plot:
        _concat(curves).to_csv(sys.stdout, index=False)


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    """Say that a file was written, or in one line why not."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); choose another place") from error
    click.echo(f"wrote {path}")


def _concat(curves: dict[str, pd.DataFrame]) -> pd.DataFrame:
    import pandas as pd

    return pd.concat(list(curves.values()), ignore_index=True)


def draw(curves: dict[str, pd.DataFrame], path: Path, title: str, unit: str) -> Path:
    """Draw light curves, a panel a camera, into a file."""
    from opticam_dask.plotting.light_curves import light_curve_figure
    from opticam_dask.plotting.style import save_figure

    if path.suffix.lower() not in {".png", ".pdf", ".svg"}:
        raise click.BadParameter(f"{path}: use .png, .pdf or .svg")
    return save_figure(light_curve_figure(curves, title=title, unit=unit), path)
