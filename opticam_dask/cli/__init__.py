"""Command line: ``opticam-dask COMMAND``."""

from __future__ import annotations

import gc
import sys
from importlib import import_module
from importlib.metadata import version

import click

from opticam_dask.cli.signals import StopError, stopping_in_order
from opticam_dask.errors import OpticamError
from opticam_dask.tables.atomic import storage_error

COMMANDS = {
    "demo": "demo",
    "simulate": "simulate",
    "scan": "scan",
    "ingest": "ingest",
    "reduce": "reduce",
    "light-curve": "light_curve",
    "report": "report",
    "differential": "differential",
    "compact": "compact",
    "survey": "survey",
    "vacuum": "vacuum",
    "verify": "verify",
    "pull-test": "pull_test",
}

INTERRUPTED = 130
PARTLY_DONE = 3
"""Exit code of a command that did its job but for blocks of frames that failed on all tries."""


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
  opticam-dask survey NIGHTS OUT        new nights only, one ID for a star in all of them
  opticam-dask report OUT               one page with everything, light curves to zoom into
"""


@click.group(cls=LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("opticam-dask"), prog_name="opticam-dask")
def group() -> None:
    """Turn nights of multi-camera CCD frames into calibrated light curves."""


def main() -> None:
    """Run the command line: exit code 0 only if the job was done, and errors of one line.

    Else it is 1 for an error, 2 for a wrong option, 3 if some blocks of frames failed and the rest is done,
    130 after Ctrl-C and 143 after SIGTERM.
    """
    # By default the objects of all imported modules are looked through again and again for garbage.
    gc.set_threshold(100_000, 20, 20)
    with stopping_in_order():
        code = _run()
    if code:
        sys.exit(code)


def _run() -> int:
    """Exit code of a command; its errors are told."""
    try:
        # A command that did not do its job says so by what comes back.
        return group(standalone_mode=False) or 0
    except (click.exceptions.Abort, KeyboardInterrupt) as error:
        click.echo(
            "interrupted; what was finished is kept, and the same command goes on from there", err=True
        )
        stop = error if isinstance(error, StopError) else error.__context__
        return stop.exit_code if isinstance(stop, StopError) else INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except OpticamError as error:
        click.echo(f"error: {error}", err=True)
    except OSError as error:
        if (told := storage_error(error.filename or "results", error)) is None:
            raise
        click.echo(f"error: {told}", err=True)
    return 1
