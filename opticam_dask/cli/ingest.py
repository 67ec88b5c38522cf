"""``opticam-dask ingest``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from opticam_dask.cli.options import cluster_options, config_option, instrument_from
from opticam_dask.errors import InputError

if TYPE_CHECKING:
    from opticam_dask.cluster_spec import ClusterSpec

EPILOG = """\b
Examples:
  opticam-dask ingest night1 night1.zarr
  opticam-dask reduce night1.zarr out
  opticam-dask ingest --verify night1.zarr
"""


@click.command("ingest", epilog=EPILOG)
@click.argument("data", type=click.Path(path_type=Path))
@click.argument("store", type=click.Path(path_type=Path), required=False)
@click.option(
    "--verify", is_flag=True, help="Check finished shards too; with a store alone, check it and do no more."
)
@click.option("--overwrite", is_flag=True, help="Replace a store made with another instrument.")
@click.option("--recursive", is_flag=True, help="Look into sub-folders too.")
@click.option(
    "--instrument",
    "instrument_name",
    default="OPTICAM_MX",
    show_default=True,
    metavar="NAME|FILE",
    help="OPTICAM_MX, GENERIC, or a TOML or JSON file.",
)
@cluster_options
@config_option
def command(
    data: Path,
    store: Path | None,
    verify: bool,
    overwrite: bool,
    recursive: bool,
    instrument_name: str,
    cluster: ClusterSpec | None,
) -> None:
    """Bring the FITS frames in DATA into STORE, a Zarr v3 store that every command takes like a folder.

    Pixels are kept bit for bit, compressed and checksummed, and each shard is compared with the files before
    it takes its place. Headers of all files are kept. A second run of the same command does only what is
    missing or has changed, so a night may be ingested as it grows.
    """
    from opticam_dask.ingestion import ingest, verify_store

    if store is not None:
        source = [data] if data.is_file() else str(data)
        ingest(
            source,
            store,
            instrument_from(instrument_name),
            recursive=recursive,
            verify=verify,
            overwrite=overwrite,
            cluster=cluster,
        )
        return
    if not verify:
        raise click.UsageError("give DATA and STORE, or --verify and a store")
    damage = verify_store(data, cluster=cluster)
    for line in damage:
        click.echo(line, err=True)
    if damage:
        raise InputError(f"{data}: {len(damage)} damaged or missing; ingest again with --verify to mend it")
