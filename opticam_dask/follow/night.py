"""A night as it goes on: arrivals in, numbers, alignment and light curves out, a batch at a time."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opticam_dask.catalog.alignment import typed, unaligned_table
from opticam_dask.errors import CatalogError
from opticam_dask.follow.aligning import Alignable, alignable, aligned_rows, track, unreadable
from opticam_dask.follow.arrivals import Arrivals
from opticam_dask.follow.index import (
    first_numbers,
    joined,
    next_numbers,
    rejected,
    rows_of_files,
    uncalibrated,
    unlike,
)
from opticam_dask.follow.log import FollowLog, alignment_in, frames_in
from opticam_dask.follow.photometry import measure
from opticam_dask.follow.queues import Queue, sort_in
from opticam_dask.follow.starting import Starter, UnreadableFramesError
from opticam_dask.follow.state import follow_folder
from opticam_dask.follow.views import Status
from opticam_dask.schema import ALIGNMENT, FRAMES

if TYPE_CHECKING:
    import pandas as pd

    from opticam_dask.catalog.tracking import Tracked
    from opticam_dask.follow.camera import Camera
    from opticam_dask.follow.settings import Live

_NONE = "no catalogue: "


class Night:
    """Frames of all cameras, from their arrival to their rows.

    Parameters
    ----------
    starter : Starter
        Makes catalogues; it knows the output directory and the cluster.
    live : Live
        When a catalogue is made.
    source : path, pattern, or iterable of paths
        Where frames arrive.
    """

    def __init__(self, starter: Starter, live: Live, source: Any) -> None:
        self.starter, self.live = starter, live
        self.run, self.say = starter.run, starter.say
        self.log = FollowLog(follow_folder(starter.tree.root))
        self.cameras: dict[str, Camera] = {}
        self.queues: dict[str, Queue] = {}
        self.status = Status()
        self._seen: dict[str, float] = {}
        known = self._restore()
        self.arrivals = Arrivals(source, recursive=starter.how.recursive, known=known)

    def _restore(self) -> set[str]:
        """Go on where an earlier run stopped; the files it had."""
        table = self.log.read()
        frames = frames_in(table)
        good, alignment = frames[frames["status"] == "accepted"], alignment_in(table)
        self.status.rejected = len(frames) - len(good)
        work = []
        for name in sorted(map(str, good["camera"].unique())):
            rows = good[good["camera"] == name].reset_index(drop=True)
            aligned = alignment[alignment["camera"] == name].reset_index(drop=True)
            first = (rows["batch"] == rows["batch"].iloc[0]).to_numpy()
            rows = rows[FRAMES.names]
            camera = self.starter.restore(name, rows[first], aligned[first])
            work.append(camera.photometry.undone(rows, _typed(aligned), self.say))
            self._add(camera, rows, aligned)
        if measure(work, self.run, self.say):
            self.say("Frames that a stop had left unmeasured are measured.")
        return set(frames["path"])

    @property
    def waiting(self) -> int:
        """Frames that are complete and not measured."""
        return sum(len(queue.rows) for queue in self.queues.values())

    def look(self) -> bool:
        """Look for new files; tell whether a frame has come."""
        found = self.arrivals.look()
        if not found:
            return False
        self._seen |= {arrival.path: arrival.seen for arrival in found}
        rows = rows_of_files([arrival.path for arrival in found], self.starter.how)
        bad = sort_in(self.queues, rows, found)
        if len(bad):
            self._reject(bad)
        return any(not arrival.again for arrival in found)

    def _reject(self, rows: pd.DataFrame) -> None:
        self.log.append(rows, _no_alignment())
        self.status.rejected += len(rows)
        for reason, some in rows.groupby("reason"):
            name = Path(str(some["path"].iloc[0])).name
            more = f" and {len(some) - 1} more" if len(some) > 1 else ""
            self.say(f"rejected: {name}{more}: {reason}")

    def step(self, *, last: bool = False) -> int:
        """Make catalogues that are due and measure what waits for its turn; frames that got their rows.

        Parameters
        ----------
        last : bool
            Whether no more frames are to be waited for.
        """
        done = sum(self._start(name, last=last) for name in list(self.queues) if name not in self.cameras)
        if done:
            self.starter.draw()
        todo = {name: queue.take() for name, queue in self.queues.items() if name in self.cameras}
        return done + self._measure({name: rows for name, rows in todo.items() if len(rows)})

    def _start(self, name: str, *, last: bool) -> int:
        """Make the catalogue of a camera if that is due, and measure the frames it is made of."""
        queue = self.queues[name]
        if not len(queue.rows) or not (last or queue.is_due(self.live.rule, time.monotonic())):
            return 0
        judged = first_numbers(queue.for_catalog(), self.starter.how)
        rows, bad = judged[judged["status"] == "accepted"], judged[judged["status"] != "accepted"]
        try:
            camera = self.starter.start(rows, least=1 if last else queue.least_aligned())
        except UnreadableFramesError as error:
            self._put_back(queue, error.files)
            queue.tried = 0
            return self._start(name, last=last)
        except CatalogError as error:
            if queue.failed(str(error)):
                self.say(f"{_NONE}{error}; {'' if last else 'waiting for more frames'}".rstrip("; "))
            return 0
        alignment = camera.catalog.alignment
        ordered = rows.sort_values(["night", "frame"], ignore_index=True)
        self.log.append(joined([ordered, bad]), alignment)
        self._add(camera, ordered, alignment)
        self.status.rejected += len(bad)
        measure([camera.photometry.undone(ordered, alignment, _quiet)], self.run, self.say)
        self._done(queue, judged)
        return len(ordered)

    def _add(self, camera: Camera, rows: pd.DataFrame, alignment: pd.DataFrame) -> None:
        self.cameras[camera.name] = camera
        self._remember(camera, rows, alignment)

    def _remember(self, camera: Camera, rows: pd.DataFrame, alignment: pd.DataFrame) -> None:
        camera.remember(rows, alignment)
        self.status.measured += len(rows)
        self.status.note(alignment)

    def _measure(self, todo: Mapping[str, pd.DataFrame]) -> int:
        """Give frames of cameras that have catalogues their numbers, transforms and rows."""
        if not todo:
            return 0
        refused, batches = [], []
        for name, rows in todo.items():
            good, bad = self._judged(self.cameras[name], rows)
            refused.append(bad)
            batches.append((name, good))
        ready = self._aligned([(name, rows) for name, rows in batches if len(rows)])
        alignments = [aligned_rows(batch, tracked) for batch, tracked in ready]
        frames = [batch.rows for batch, _ in ready]
        self._commit(frames, refused, alignments)
        for (batch, _), alignment in zip(ready, alignments, strict=True):
            self._remember(batch.camera, batch.rows, alignment)
        work = [
            batch.camera.photometry.measurable(batch.blocks, table)
            for (batch, _), table in zip(ready, alignments, strict=True)
        ]
        measure(work, self.run, self.say)
        for name, rows in todo.items():
            self._done(self.queues[name], rows)
        return sum(map(len, frames))

    def _judged(self, camera: Camera, rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Rows that can be measured, and rejected ones."""
        stage = camera.photometry.catalog_stage
        reasons = unlike(rows, camera.layout)
        calibrated = uncalibrated(rows, stage.calibrations.get(camera.name))
        reasons = reasons.where(reasons != "", calibrated)
        return rows[reasons == ""].reset_index(drop=True), rejected(rows, reasons)

    def _aligned(self, todo: Sequence[tuple[str, pd.DataFrame]]) -> list[tuple[Alignable, Tracked]]:
        """Align frames; files that cannot be read are waited for again, and take no number."""
        if not todo:
            return []
        how, ready = self.starter.how, []
        for name, rows in todo:
            camera = self.cameras[name]
            numbered = next_numbers(rows, camera.recent, camera.following, how)
            ready.append(alignable(camera, numbered, self.run))
        results = list(zip(ready, track(ready, self.run), strict=True))
        sound, again = [], []
        for (name, rows), (batch, tracked) in zip(todo, results, strict=True):
            if files := unreadable(batch, tracked):
                self._put_back(self.queues[name], files)
                again.append((name, rows[~rows["path"].isin(files)].reset_index(drop=True)))
            else:
                sound.append((batch, tracked))
        return sound + self._aligned([(name, rows) for name, rows in again if len(rows)])

    def _put_back(self, queue: Queue, files: Mapping[str, str]) -> None:
        """Wait again for files whose pixels are not all there."""
        queue.drop(queue.rows[queue.rows["path"].isin(files)])
        for path, reason in files.items():
            self.arrivals.put_back(path, reason)

    def _commit(
        self,
        frames: Sequence[pd.DataFrame],
        refused: Sequence[pd.DataFrame],
        alignments: Sequence[pd.DataFrame],
    ) -> None:
        """Write the numbers down: from here on they stand."""
        rows = joined([*frames, *refused])
        if len(rows):
            self.log.append(rows, joined([_no_alignment(), *alignments]))
            self.log.join()
        self.status.rejected += sum(map(len, refused))

    def _done(self, queue: Queue, rows: pd.DataFrame) -> None:
        """Take note that frames have their rows."""
        queue.drop(rows)
        now = time.monotonic()
        seen = [self._seen.pop(path) for path in rows["path"].unique() if path in self._seen]
        if seen:
            self.status.lag_s = now - min(seen)

    def unfinished(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Rows of frames that are not in the log: of files never complete, and of cameras without catalogue.

        Returns
        -------
        frames, alignment : DataFrame
        """
        incomplete = self.arrivals.incomplete()
        rows = rows_of_files(list(incomplete), self.starter.how)
        rows = rows.assign(status="rejected", reason=rows["path"].map(incomplete), frame=-1)
        frames, alignments = [rows], [_no_alignment()]
        for name, queue in self.queues.items():
            if len(queue.rows) and name not in self.cameras:
                judged = first_numbers(queue.rows, self.starter.how)
                good = judged[judged["status"] == "accepted"]
                frames.append(judged)
                alignments.append(unaligned_table(good, _NONE + (queue.reason or "too few frames")))
        return joined(frames), joined(alignments)


def _typed(alignment: pd.DataFrame) -> pd.DataFrame:
    return typed({name: alignment[name].to_numpy() for name in ALIGNMENT.names})


def _no_alignment() -> pd.DataFrame:
    table: pd.DataFrame = ALIGNMENT.empty_table().to_pandas()
    return table


def _quiet(_: str) -> None:
    """Say nothing: that parts are missing is why they are made."""
