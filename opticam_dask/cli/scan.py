"""``opticam-dask scan``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click
from tqdm import tqdm

from opticam_dask.cli.options import cluster_options, config_option, instrument_from, instrument_options

EPILOG = """\b
Example:
  opticam-dask scan night1 --out out
"""


@click.command("scan", epilog=EPILOG)
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Keep frames.parquet there.")
@click.option("--check", is_flag=True, help="Also say, keyword by keyword, what the first file gives.")
@cluster_options
@instrument_options
@config_option
def command(data: Path, out: Path | None, check: bool, instrument_name: str, **options: Any) -> None:
    """Say what is in a folder of frames, and what is wrong with it. Reads headers only.

    DATA is a folder, a file, or a quoted glob such as 'night/*.fits.gz'.
    """
    from opticam_dask.io.scan_report import scan_report
    from opticam_dask.observation import check_data
    from opticam_dask.workspace import announce

    instrument = instrument_from(instrument_name)
    source = [data] if data.is_file() else str(data)
    # An early error, and a short scan, stand alone.
    with tqdm(desc="reading headers", unit="file", delay=0.5) as bar:
        frames = check_data(source, out, instrument, verbose=False, progress=_updater(bar), **options)
    announce(scan_report(frames))
    if check and len(frames):
        click.echo(str(instrument.check(frames["path"].iloc[0])))
    if not (frames["status"] == "accepted").any():
        raise click.exceptions.Exit(1)


def _updater(bar: tqdm[NoReturn]) -> Callable[[int, int], None]:
    def update(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    return update
