"""Command line: ``opticam-dask COMMAND``."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import version

import click

from opticam_dask.errors import OpticamError

COMMANDS = {
    "demo": "demo",
    "simulate": "simulate",
    "scan": "scan",
    "ingest": "ingest",
    "reduce": "reduce",
    "light-curve": "light_curve",
    "compact": "compact",
    "pull-test": "pull_test",
}

INTERRUPTED = 130


class LazyGroup(click.Group):
    """Group that imports a command's module only when that command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands, in the order of a first night."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"opticam_dask.cli.{COMMANDS[cmd_name]}")
        command: click.Command = module.command
        return command


EPILOG = """\b
Start here:
  opticam-dask demo                     simulate a night, reduce it, draw a light curve
  opticam-dask scan DATA                what is in this folder, and what is wrong with it
  opticam-dask ingest DATA DATA.zarr    the same frames in one checksummed store that reads faster than .gz
  opticam-dask reduce DATA OUT          catalogues and light curves
  opticam-dask light-curve OUT --source 2 --plot star.png
"""


@click.group(cls=LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("opticam-dask"), prog_name="opticam-dask")
def group() -> None:
    """Turn nights of multi-camera CCD frames into calibrated light curves."""


def main() -> None:
    """Run the command line: exit code 0 only if the job was done, and errors of one line."""
    try:
        # A command that did not do its job says so by what comes back.
        if code := group(standalone_mode=False):
            sys.exit(code)
    except click.exceptions.Abort:
        click.echo("interrupted; what was finished is kept", err=True)
        sys.exit(INTERRUPTED)
    except KeyboardInterrupt:
        click.echo("interrupted; what was finished is kept", err=True)
        sys.exit(INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except OpticamError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
