"""The output directory: where each result lies, and the log of what was done."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from opticam_dask.errors import InputError
from opticam_dask.tables.atomic import write_text
from opticam_dask.tables.digest import read_settings

_RECORDED = ("opticam-dask", "numpy", "numba", "astropy", "photutils", "dask", "xarray", "pyarrow")


class OutputTree:
    """Names of everything in an output directory, made on demand.

    Parameters
    ----------
    root : path
        The directory; created when missing.

    Raises
    ------
    InputError
        If the directory cannot be written to.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        try:
            for folder in (self.cat, self.lcs, self.diag, self.misc):
                folder.mkdir(parents=True, exist_ok=True)
            self.log.open("a").close()
        except OSError as error:
            raise InputError(
                f"{self.root}: cannot write there ({error.strerror}); choose another out_directory"
            ) from error

    @property
    def frames(self) -> Path:
        """The frame index."""
        return self.root / "frames.parquet"

    @property
    def alignment(self) -> Path:
        """The alignment of each accepted frame."""
        return self.root / "alignment.parquet"

    @property
    def cat(self) -> Path:
        """Catalogues and stacked images."""
        return self.root / "cat"

    @property
    def lcs(self) -> Path:
        """Light curves, a folder a label."""
        return self.root / "lcs"

    @property
    def diag(self) -> Path:
        """Diagnostic figures."""
        return self.root / "diag"

    @property
    def misc(self) -> Path:
        """Settings of the run."""
        return self.root / "misc"

    @property
    def log(self) -> Path:
        """Log of what was done."""
        return self.root / "opticam.log"

    def light_curves(self, label: str) -> Path:
        """Parquet dataset of one photometer's light curves."""
        return self.lcs / label / "light_curves"

    def say(self, message: str, *, verbose: bool = True) -> None:
        """Append a message to the log, and print it when `verbose`."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        with self.log.open("a") as log:
            log.writelines(f"{now} {line}\n" for line in message.splitlines())
        if verbose:
            announce(message)

    def record(self, path: Path, values: Mapping[str, Any]) -> None:
        """Write a JSON file, whole or not at all."""
        write_text(path, json.dumps(values, indent=2, sort_keys=True, default=str) + "\n")


class Journal:
    """What a run says, written to the log once it is known that the run changes something.

    Parameters
    ----------
    tree : OutputTree
        Where the log is.
    verbose : bool
        Whether to print as well.
    """

    def __init__(self, tree: OutputTree, *, verbose: bool) -> None:
        self.tree, self.verbose = tree, verbose
        self.is_open = False
        self._waiting: list[str] = []

    def say(self, message: str) -> None:
        """Print a message, and log it, now or when the journal is opened."""
        if self.is_open:
            self.tree.say(message, verbose=self.verbose)
            return
        self._waiting.append(message)
        if self.verbose:
            announce(message)

    def open(self) -> None:
        """Write what was said so far, and from now on everything at once."""
        self.is_open = True
        waiting, self._waiting = self._waiting, []
        for message in waiting:
            self.tree.say(message, verbose=False)


def announce(message: str) -> None:
    """Print a message the way users of `opticam` know."""
    sys.stdout.writelines(f"[OPTICAM] {line}\n" for line in message.splitlines())
    sys.stdout.flush()


def settings_of_results(tree: OutputTree) -> dict[str, Any]:
    """Gather what the results in an output directory were made with: catalogues, and each photometer."""
    photometry = {path.parent.name: read_settings(path) for path in sorted(tree.lcs.glob("*/settings.json"))}
    return {"catalogs": read_settings(tree.cat / "settings.json"), "photometry": photometry}


def versions() -> dict[str, str]:
    """Versions of the interpreter and of the packages that the numbers depend on."""
    return {"python": sys.version.split()[0]} | {name: version(name) for name in _RECORDED}
