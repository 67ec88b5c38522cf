"""The settings of a survey on disk, ``survey.json``, and what has to be made again when they change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opticam_dask.errors import SettingsChangedError
from opticam_dask.tables.digest import changed, digest, read_settings, record

NAME = "survey.json"
PHOTOMETRY = "photometry"
_DEPENDENT = {
    "root": "the frame indexes",
    "scan": "everything",
    "catalogs": "catalogues, object IDs and light curves",
    PHOTOMETRY: "light curves",
}


@dataclass(frozen=True)
class Settings:
    """Settings in sections: results depend on a section, not on each other's.

    Parameters
    ----------
    root : str
        Where the frames are.
    scan, catalogs : dict
        What the frame index, and the catalogues, depend on.
    photometry : dict
        What each set of light curves depends on, by label.
    """

    root: str
    scan: dict[str, Any]
    catalogs: dict[str, Any]
    photometry: dict[str, Any]

    def sections(self) -> dict[str, Any]:
        """All of them, by name."""
        return {
            "root": self.root,
            "scan": self.scan,
            "catalogs": self.catalogs,
            PHOTOMETRY: dict(self.photometry),
        }

    def digests(self) -> dict[str, str]:
        """Digest of each section that results depend on: scan, catalogs, and ``photometry.<label>``."""
        found = {"scan": digest(self.scan), "catalogs": digest(self.catalogs)}
        return found | {label_key(label): digest(each) for label, each in self.photometry.items()}


def label_key(label: str) -> str:
    """Name under which the digest of a label's settings stands."""
    return f"{PHOTOMETRY}.{label}"


def check_settings(out: Path, settings: Settings, *, overwrite: bool) -> list[str]:
    """Compare with the settings that the survey was made with; nothing is written.

    A label that is new changes nothing that exists, and one that is not asked for this time stays.

    Returns
    -------
    list of str
        The settings that changed, old and new value.

    Raises
    ------
    SettingsChangedError
        If settings changed and `overwrite` is false.
    """
    recorded = read_settings(out / NAME)
    if recorded is None:
        return []
    differences = _differences(recorded, settings)
    if differences and not overwrite:
        first = next(
            what for name, what in _DEPENDENT.items() if any(d.startswith(name) for d in differences)
        )
        raise SettingsChangedError(
            f"{out}: the survey was made with other settings ({'; '.join(differences)}); "
            f"nothing was touched. Use overwrite=True (--overwrite) to make {first} again, or another "
            "output directory"
        )
    return differences


def _differences(recorded: Mapping[str, Any], settings: Settings) -> list[str]:
    new = settings.sections()
    old = {name: recorded.get(name) for name in new}
    kept = recorded.get(PHOTOMETRY, {})
    both = kept.keys() & settings.photometry.keys()
    old[PHOTOMETRY] = {label: kept[label] for label in both}
    new[PHOTOMETRY] = {label: settings.photometry[label] for label in both}
    return changed(old, new)


def record_settings(out: Path, settings: Settings) -> None:
    """Record the settings; what was recorded of other labels stays. The same settings change no file."""
    recorded = read_settings(out / NAME) or {}
    values = settings.sections()
    values[PHOTOMETRY] = {**recorded.get(PHOTOMETRY, {}), **settings.photometry}
    if not recorded or digest(recorded) != digest(values):
        record(out / NAME, values)
