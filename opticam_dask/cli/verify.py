"""``opticam-dask verify``: is every row there, once, and as it was written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from opticam_dask.cli.options import cluster_options, config_option

EPILOG = """\b
Examples:
  opticam-dask verify out
  opticam-dask verify out --repair        remove damaged parts; then run the same reduction again

Exit code 1 if anything is wrong.
"""
# Below so many parts a cluster takes longer to start than the parts to read.
_FEW = 64


@click.command("verify", epilog=EPILOG)
@click.argument("out", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--label", help="Set of light curves, such as optimal_annulus [all].")
@click.option("--repair", is_flag=True, help="Remove parts that are torn, doubled or foreign.")
@cluster_options
@config_option
@click.pass_context
def command(ctx: click.Context, /, out: Path, label: str | None, repair: bool, **options: Any) -> None:
    """Compare the light curves in OUT with their checksums, and with the frames and sources there are."""
    from opticam_dask.survey.verify import is_survey, repair_survey, verify_survey
    from opticam_dask.tables.lock import held
    from opticam_dask.tables.verify import repair as remove
    from opticam_dask.tables.verify_reduction import verify

    with ExitStack() as stack:
        if repair:
            stack.enter_context(held(out, "verify --repair"))
        look = verify_survey if is_survey(out) else verify
        findings = look(out, label=label, run=_shared(options["cluster"], options.get("workers")))
        for one in findings:
            click.echo(str(one), err=True)
        if repair:
            for part in remove(findings):
                click.echo(f"removed {part}")
            for night in repair_survey(out) if is_survey(out) else ():
                click.echo(f"{night}: the next run of the survey makes it again")
    if findings:
        ctx.exit(1)
    click.echo(f"{out}: all rows are there, once, and as they were written")


def _shared(cluster: Any, workers: Any) -> Callable[[Callable[..., Any], Sequence[Any]], list[Any]]:
    """Call a function on parts, on a cluster where they are many or one is asked for."""

    def run(function: Callable[..., Any], parts: Sequence[Any]) -> list[Any]:
        if cluster is None and len(parts) < _FEW:
            return [function(part) for part in parts]
        from opticam_dask.lazy.chunks import map_blocks_of_frames
        from opticam_dask.session import Session

        with Session(cluster, n_workers=workers) as session:
            return session(map_blocks_of_frames(function, parts), "verifying parts")

    return run
