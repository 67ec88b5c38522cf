"""What the survey knows of its folders and nights: one small file, which decides what there is to do."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from opticam_dask.errors import InputError
from opticam_dask.tables.atomic import write_text

NAME = "inventory.json"
UNDATED = ""
"""Night of frames whose headers tell no time."""

Status = Literal["pending", "reduced", "failed", "excluded"]


@dataclass(frozen=True)
class KnownFolder:
    """A folder as it was when its headers were read, and the nights of its frames."""

    digest: str
    nights: tuple[str, ...]


@dataclass(frozen=True)
class NightRecord:
    """One night.

    Parameters
    ----------
    files : str
        Digest of its files as they are under the root: paths, sizes, times of modification.
    n_files : int
        Their number; 0 once all of them are gone.
    status : str
        ``pending``: new, changed or interrupted; ``reduced``: in the dataset; ``failed``: something went
        wrong, the next run tries again; ``excluded``: these frames with these settings give no light curve.
    reason : str
        Why a night failed or is excluded.
    made : dict of str to str
        Digests of what its results were made with: ``files``, and each section of the settings.
    """

    files: str
    n_files: int
    status: Status = "pending"
    reason: str = ""
    made: dict[str, str] = field(default_factory=dict)

    @property
    def is_gone(self) -> bool:
        """Whether no frame of the night is under the root any more."""
        return self.n_files == 0


@dataclass(frozen=True)
class Inventory:
    """Folders and nights of a survey.

    Parameters
    ----------
    scanned : str
        Digest of the settings with which the headers were read.
    folders : dict of str to KnownFolder
        By name.
    nights : dict of str to NightRecord
        By date.
    """

    scanned: str = ""
    folders: dict[str, KnownFolder] = field(default_factory=dict)
    nights: dict[str, NightRecord] = field(default_factory=dict)

    @classmethod
    def load(cls, out: Path) -> Inventory:
        """Read the inventory of a survey; an empty one where there is none.

        Raises
        ------
        InputError
            If it cannot be read.
        """
        path = out / NAME
        try:
            return _from_json(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise InputError(
                f"{path}: cannot be read ({error}); remove it: the next run looks at all nights again"
            ) from error

    def save(self, out: Path) -> None:
        """Write the inventory, whole or not at all."""
        write_text(out / NAME, json.dumps(asdict(self), indent=1, sort_keys=True) + "\n")

    def with_night(self, night: str, record: NightRecord) -> Inventory:
        """Inventory with another record of a night."""
        return replace(self, nights={**self.nights, night: record})


def _from_json(values: dict[str, Any]) -> Inventory:
    folders = {
        name: KnownFolder(entry["digest"], tuple(entry["nights"]))
        for name, entry in values["folders"].items()
    }
    nights = {night: NightRecord(**entry) for night, entry in values["nights"].items()}
    return Inventory(values["scanned"], folders, nights)
