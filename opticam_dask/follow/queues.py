"""Frames that are complete and wait: for a catalogue, or for their turn."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pandas as pd

from opticam_dask.follow.arrivals import Arrival
from opticam_dask.follow.index import PLACE, joined
from opticam_dask.follow.settings import FEWEST, CatalogAfter
from opticam_dask.io.frame_table import empty_frames

if TYPE_CHECKING:
    from collections.abc import Mapping

BATCH = 512
"""Frames of a camera that are measured together at most, so that the first rows do not wait for the last."""
_MOST_FOR_CATALOG = 2048
_MORE = 1.25


@dataclass
class Queue:
    """Waiting frames of one camera."""

    rows: pd.DataFrame = field(default_factory=empty_frames)
    first_seen: float = float("inf")
    tried: int = 0
    first_try: int = 0
    reason: str = ""

    def add(self, rows: pd.DataFrame, seen: float) -> None:
        """Add frames, the first of which was seen at a time of the monotonic clock [s]."""
        self.rows = joined([self.rows, rows])
        self.first_seen = min(self.first_seen, seen)

    def is_due(self, rule: CatalogAfter, now: float) -> bool:
        """Whether a catalogue is to be tried: at first as the rule says, then with a quarter more frames."""
        if self.tried:
            return len(self.rows) >= _MORE * self.tried
        return rule.reached(len(self.rows), now - self.first_seen)

    def for_catalog(self) -> pd.DataFrame:
        """Take note of a try, and give its frames: all that wait, or the latest of very many."""
        self.tried = len(self.rows)
        self.first_try = self.first_try or self.tried
        return self.rows.sort_values(["MJD", *PLACE], kind="stable").tail(_MOST_FOR_CATALOG)

    def least_aligned(self) -> int:
        """Frames that must align: half of those of the first try, however many are cloudy."""
        return max(FEWEST, -(-min(self.first_try, len(self.rows)) // 2))

    def failed(self, reason: str) -> bool:
        """Take note of why a try failed; tell whether that is news."""
        news, self.reason = reason != self.reason, reason
        return news

    def drop(self, rows: pd.DataFrame) -> None:
        """Forget frames that are done with, or that have to be read again."""
        gone = pd.MultiIndex.from_frame(rows[PLACE])
        kept = ~pd.MultiIndex.from_frame(self.rows[PLACE]).isin(gone)
        self.rows = self.rows[kept].reset_index(drop=True)

    def take(self) -> pd.DataFrame:
        """Frames to be measured next, in order of time; those of one file stay together."""
        ordered = self.rows.sort_values(["MJD", *PLACE], kind="stable", ignore_index=True)
        paths = set(ordered["path"].iloc[:BATCH])
        return ordered[ordered["path"].isin(paths)].reset_index(drop=True)


def sort_in(queues: dict[str, Queue], rows: pd.DataFrame, arrivals: list[Arrival]) -> pd.DataFrame:
    """Put the accepted rows of new files into the queues of their cameras; give back the others."""
    seen: Mapping[str, float] = {arrival.path: arrival.seen for arrival in arrivals}
    good = rows["status"] == "accepted"
    for camera, some in rows[good].groupby("camera"):
        first = min(seen[path] for path in some["path"].unique())
        queues.setdefault(str(camera), Queue()).add(some.reset_index(drop=True), first)
    return rows[~good].reset_index(drop=True)
