"""Options that several commands share."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
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


def cluster_options(function: F) -> F:
    """Add --cluster and --workers."""
    function = click.option(
        "--workers", type=click.IntRange(min=1), help="Worker processes of a local cluster [one a core]."
    )(function)
    return click.option(
        "--cluster",
        metavar="NAME|ADDRESS|FILE",
        help="Where to compute: processes here (local, the default), threads, a batch system such as slurm, "
        "a scheduler's address, or a scheduler file.",
    )(function)


def instrument_options(function: F) -> F:
    """Add --instrument, --target and --recursive."""
    function = click.option("--recursive", is_flag=True, help="Look into sub-folders too.")(function)
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
