"""``opticam-dask light-curve``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
@click.option("--source", type=int, help="Source ID, from 1, brightest first.")
@click.option("--object", "object_id", metavar="ID", help="Star of a survey, such as F001-0002.")
@click.option("--night", metavar="YYYY-MM-DD", help="Local date of the evening [all].")
@click.option("--camera", multiple=True, help="Camera, such as 1:g; may be repeated [all].")
@click.option("--label", help="Set of light curves, such as optimal_annulus [the only one].")
@click.option("--csv", type=click.Path(path_type=Path, dir_okay=False), help="Write the rows to this file.")
@click.option(
    "--plot", type=click.Path(path_type=Path, dir_okay=False), help="Draw them: .png, .pdf or .svg."
)
@config_option
def command(
    out: Path,
    source: int | None,
    object_id: str | None,
    night: str | None,
    camera: tuple[str, ...],
    label: str | None,
    csv: Path | None,
    plot: Path | None,
) -> None:
    """Print, save or draw the light curve of one source, or one star of a survey, over all nights in OUT."""
    from opticam_dask.tables.store import find_dataset, flux_unit

    root = find_dataset(out, label)
    curves = _curves(out, root, camera, label=label, source=source, object_id=object_id, night=night)
    if csv:
        with _telling(csv):
            _concat(curves).to_csv(csv, index=False)
    if plot:
        with _telling(plot):
            draw(curves, plot, object_id or f"source {source}", flux_unit(root))
    if not csv and not plot:
        _concat(curves).to_csv(sys.stdout, index=False)


def _curves(out: Path, root: Path, camera: tuple[str, ...], **chosen: Any) -> dict[str, pd.DataFrame]:
    """Light curve of each camera; of an object, of those that saw it."""
    from opticam_dask.tables.store import cameras, light_curve

    if (chosen["source"] is None) == (chosen["object_id"] is None):
        raise InputError("give --source, or the --object of a survey")
    if chosen["object_id"] is None or camera:
        return {name: light_curve(out, camera=name, **chosen) for name in camera or cameras(root)}
    every = light_curve(out, **chosen)
    return {str(name): rows for name, rows in every.groupby("camera", sort=True)}


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
