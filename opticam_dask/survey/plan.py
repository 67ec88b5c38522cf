"""What there is to do for each night, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from opticam_dask.survey.inventory import Inventory, NightRecord
from opticam_dask.survey.settings import PHOTOMETRY, label_key

FILES, IDS = "files", "ids"
_PHRASES = {
    FILES: "its frames changed",
    "scan": "headers are read with other settings",
    "catalogs": "catalogues are made with other settings",
}


@dataclass(frozen=True)
class NightPlan:
    """What is done for one night: sets of light curves are measured, and all that it has are published.

    Parameters
    ----------
    night : str
        The night.
    labels : tuple of str
        Sets of light curves to measure; with none, what was measured is published.
    why : str
        Why, in a few words.
    """

    night: str
    labels: tuple[str, ...]
    why: str

    def __str__(self) -> str:
        what = f"measure {', '.join(self.labels)}" if self.labels else "publish"
        return f"{self.night}: {what} ({self.why})"


def plan_nights(
    inventory: Inventory,
    digests: Mapping[str, str],
    labels: Sequence[str],
    patterns: Sequence[str] = (),
    *,
    retry: bool = False,
) -> list[NightPlan]:
    """Nights with something to do, in order of date.

    Parameters
    ----------
    inventory : Inventory
        As it is now.
    digests : mapping of str to str
        Digest of each section of the settings.
    labels : sequence of str
        Sets of light curves that are asked for.
    patterns : sequence of str
        Nights to look at, such as ``2024-01-*``; by default all.
    retry : bool
        Whether to try excluded nights again.
    """
    chosen = [
        (night, record)
        for night, record in sorted(inventory.nights.items())
        if is_chosen(night, patterns) and not record.is_gone
    ]
    plans = (_plan(night, record, wanted(record, digests), labels, retry) for night, record in chosen)
    return [plan for plan in plans if plan is not None]


def is_chosen(night: str, patterns: Sequence[str]) -> bool:
    """Whether a night matches one of the patterns; with none, every night does."""
    return not patterns or any(fnmatchcase(night, pattern) for pattern in patterns)


def wanted(record: NightRecord, digests: Mapping[str, str]) -> dict[str, str]:
    """Digests of all that the results of a night are to be made with."""
    return {FILES: record.files, **digests}


def base_changes(record: NightRecord, want: Mapping[str, str]) -> list[str]:
    """Why catalogues, and all that follows from them, are to be made again; nothing if they hold."""
    return [name for name in _PHRASES if record.made.get(name) != want[name]]


def labels_kept(record: NightRecord, want: Mapping[str, str]) -> dict[str, str]:
    """Digests of the sets of light curves that were measured and still belong to the catalogues."""
    if base_changes(record, want):
        return {}
    return {name: value for name, value in record.made.items() if name.startswith(PHOTOMETRY)}


def _plan(
    night: str, record: NightRecord, want: Mapping[str, str], labels: Sequence[str], retry: bool
) -> NightPlan | None:
    base = base_changes(record, want)
    missing = tuple(label for label in labels if record.made.get(label_key(label)) != want[label_key(label)])
    if why := _why_all(record, base, retry):
        return NightPlan(night, tuple(labels), why)
    if missing and record.status == "reduced":
        return NightPlan(night, missing, f"light curves to measure: {', '.join(missing)}")
    if record.status == "reduced" and IDS not in record.made:
        return NightPlan(night, (), "object IDs to publish")
    return None


def _why_all(record: NightRecord, base: Sequence[str], retry: bool) -> str:
    """Why a night is to be reduced as a whole; empty if it is not."""
    if not record.made:
        return "interrupted" if record.status == "pending" and record.reason else "new"
    if record.status == "pending":
        return "interrupted"
    if record.status == "failed":
        return f"it failed: {record.reason}"
    if base:
        return "; ".join(_PHRASES[name] for name in base)
    return f"once more: {record.reason}" if retry and record.status == "excluded" else ""
