"""A followed output directory: what it was made with, and who may write there."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opticam_dask.errors import SettingsChangedError
from opticam_dask.stages.light_curve_set import LightCurveSet
from opticam_dask.tables.atomic import forget
from opticam_dask.tables.digest import made_with, read_settings, record
from opticam_dask.tables.lock import held

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opticam_dask.follow.settings import Reduction
    from opticam_dask.photometers.base import BasePhotometer
    from opticam_dask.workspace import OutputTree

FOLLOWED = "followed"
_WORDS = "catalogues of the first frames; reduce with overwrite=True (--overwrite) makes the definitive ones"


def follow_folder(root: Path) -> Path:
    """Folder of the log of a followed night."""
    return root / "follow"


def prepare(
    tree: OutputTree, how: Reduction, photometers: Sequence[BasePhotometer], *, overwrite: bool
) -> bool:
    """Make an output directory ready to be followed into.

    Returns
    -------
    bool
        Whether what is there goes on; if not, it begins anew.

    Raises
    ------
    SettingsChangedError
        If something else is there, or was followed with other settings, and `overwrite` is false.
    """
    settings = _settings(how)
    recorded, labels = tree.cat / "settings.json", [photometer.label for photometer in photometers]
    known = read_settings(recorded)
    if known is not None and FOLLOWED not in known and not overwrite:
        raise SettingsChangedError(
            f"{tree.root}: holds a reduction of a whole night, which cannot be gone on with; follow into "
            "another output directory, or use overwrite=True (--overwrite) to replace it"
        )
    goes_on = made_with(recorded, settings, overwrite=overwrite)
    if not goes_on:
        _clear(tree, labels)
        record(recorded, settings)
    for photometer in photometers:
        LightCurveSet(tree, photometer).prepare(set_settings(how, photometer), overwrite=overwrite)
    return goes_on


def _settings(how: Reduction) -> dict[str, Any]:
    return {FOLLOWED: _WORDS, **how.settings()}


def set_settings(how: Reduction, photometer: BasePhotometer) -> dict[str, Any]:
    """Everything that changes the light curves of a photometer, but for frames that are still to come."""
    return {**_settings(how), "photometer": photometer.settings()}


def _clear(tree: OutputTree, labels: Sequence[str]) -> None:
    """Remove a followed night, or a reduction that one takes the place of; its settings go first."""
    forget(tree.cat, first=tree.cat / "settings.json")
    shutil.rmtree(follow_folder(tree.root), ignore_errors=True)
    followed = {
        path.parent.name
        for path in tree.lcs.glob("*/settings.json")
        if FOLLOWED in (read_settings(path) or {})
    }
    for label in followed.union(labels):
        if (tree.lcs / label).is_dir():
            forget(tree.lcs / label, first=tree.lcs / label / "settings.json")
    for table in (tree.alignment, tree.frames):
        table.unlink(missing_ok=True)


def refuse_followed(root: Path, *, overwrite: bool) -> None:
    """Keep a plain reduction from mixing with a followed night; with ``overwrite`` it takes its place.

    Raises
    ------
    SettingsChangedError
        If a followed night is there and `overwrite` is false.
    BusyError
        If it is still being followed.
    """
    if not follow_folder(root).is_dir():
        return
    if not overwrite:
        raise SettingsChangedError(
            f"{root}: a night was followed into it; go on with --follow, or make the definitive reduction of "
            "all its frames with --overwrite (or into another output directory)"
        )
    with held(root, "reduce"):
        shutil.rmtree(follow_folder(root))
