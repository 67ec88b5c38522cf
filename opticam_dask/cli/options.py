"""Options that several commands share."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

if TYPE_CHECKING:
    from opticam_dask.cluster_spec import ClusterSpec
    from opticam_dask.instrument import Instrument

F = TypeVar("F", bound=Callable[..., Any])


def _read_config(ctx: click.Context, _param: click.Parameter, path: Path | None) -> None:
    """Make a TOML file's values the defaults of this command's options."""
    if path is None:
        return
    try:
        values = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise click.BadParameter(f"{path}: {error}") from error
    names = _option_names(ctx.command)
    values = {key.replace("_", "-"): value for key, value in values.items()}
    unknown = sorted(set(values) - set(names))
    if unknown:
        raise click.BadParameter(f"{path}: unknown option {', '.join(unknown)}; known: {', '.join(names)}")
    values = {names[key]: value for key, value in values.items()}
    ctx.default_map = {**(ctx.default_map or {}), **values}


def _option_names(command: click.Command) -> dict[str, str]:
    """Map options, spelt without dashes as in a configuration file, to parameters."""
    return {
        option.removeprefix("--"): str(param.name)
        for param in command.params
        if isinstance(param, click.Option) and param.expose_value
        for option in param.opts
        if option.startswith("--")
    }


config_option = click.option(
    "--config",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    callback=_read_config,
    is_eager=True,
    expose_value=False,
    help="TOML file with values for this command's options, by their names: max-sources = 20.",
)


def _read_workers(
    _ctx: click.Context, _param: click.Parameter, text: str | None
) -> int | tuple[int, int] | None:
    """Read a number of workers, or a range of numbers."""
    if text is None:
        return None
    from opticam_dask.cluster_spec import parse_workers

    try:
        return parse_workers(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r}: give a number such as 8, or a range such as 2:40") from error


_CLUSTER_OPTIONS = (
    click.option(
        "--cluster",
        metavar="NAME|ADDRESS|FILE",
        help="Where to compute: processes here (local, the default), threads, a batch system such as slurm, "
        "a scheduler's address, or a scheduler file.",
    ),
    click.option(
        "--workers",
        metavar="N|MIN:MAX",
        callback=_read_workers,
        help="Worker processes [one a core]; several may share a batch job, as jobqueue.yaml says. "
        "MIN:MAX lets their number follow the work. With a running scheduler: how many to wait for.",
    ),
    click.option("--threads", type=int, help="Threads of each worker [1, or as jobqueue.yaml says]."),
    click.option(
        "--memory",
        metavar="SIZE",
        help="Memory of each worker, such as 2GB [an equal share, or as jobqueue.yaml says].",
    ),
    click.option(
        "--dashboard", is_flag=True, help="Serve dask's dashboard, on loopback; its link is printed."
    ),
    click.option(
        "--performance-report",
        type=click.Path(path_type=Path, dir_okay=False),
        help="HTML file for dask's report on the run, written even if it fails.",
    ),
)


def cluster_options(function: F) -> F:
    """Add --cluster, --workers and what else is asked of a cluster; the command gets them as ``cluster``.

    That is a `ClusterSpec`, or None if none of the options is given.
    """

    @wraps(function)
    def command(*args: Any, **options: Any) -> Any:
        asked = {"place": options.pop("cluster"), **{name: options.pop(name) for name in _CLUSTER_SIZES}}
        return function(*args, cluster=_cluster_from(asked), **options)

    for option in reversed(_CLUSTER_OPTIONS):
        command = option(command)
    return cast("F", command)


_CLUSTER_SIZES = ("workers", "threads", "memory", "dashboard", "performance_report")


def _cluster_from(asked: dict[str, Any]) -> ClusterSpec | None:
    if not any(value not in (None, False) for value in asked.values()):
        return None
    from opticam_dask.cluster_spec import ClusterSpec

    return ClusterSpec(**asked)


def instrument_options(function: F) -> F:
    """Add --instrument, --target and --recursive."""
    function = click.option("--recursive", is_flag=True, help="Look into sub-folders too.")(function)
    return header_options(function)


def header_options(function: F) -> F:
    """Add --instrument and --target."""
    function = click.option(
        "--target", metavar="'RA DEC'", help="Coordinates to barycentre with, such as '05:34:31.9 +22:00:52'."
    )(function)
    return click.option(
        "--instrument",
        "instrument_name",
        default="OPTICAM_MX",
        show_default=True,
        metavar="NAME|FILE",
        help="OPTICAM_MX, GENERIC, or a TOML or JSON file.",
    )(function)


def instrument_from(name: str) -> Instrument:
    """Built-in instrument of a name, or the one a file describes."""
    from opticam_dask.instrument import get_instrument

    return get_instrument(name)
