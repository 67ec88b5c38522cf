"""Follow a night: from the first frame to the quiet time, Ctrl-C, or SIGTERM."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from opticam_dask.errors import ClusterError, InputError, OpticamError
from opticam_dask.follow.night import Night
from opticam_dask.follow.pace import Paced
from opticam_dask.follow.settings import Live, Reduction
from opticam_dask.follow.starting import Starter
from opticam_dask.follow.state import prepare
from opticam_dask.follow.stopping import Stop, stoppable
from opticam_dask.follow.views import StatusLine, draw, write_csv, write_tables
from opticam_dask.observation import DataSource
from opticam_dask.photometers.base import BasePhotometer
from opticam_dask.session import Session
from opticam_dask.tables.lock import held
from opticam_dask.workspace import OutputTree, settings_of_results, versions

if TYPE_CHECKING:
    from opticam_dask.follow.log import FollowLog
    from opticam_dask.instrument import Instrument

_TABLES_S, _CSV_S, _PLOT_S, _MERGE_S, _TELL_S = 10.0, 60.0, 5.0, 30.0, 60.0
_TRIES, _PAUSE_S = 3, 10.0
QUIET, INTERRUPTED, TERMINATED = "quiet", "interrupted", "terminated"


@dataclass(frozen=True)
class FollowReport:
    """What became of a followed night.

    Parameters
    ----------
    ended : {'quiet', 'interrupted', 'terminated'}
        By quiet time, Ctrl-C, or SIGTERM.
    measured, rejected : int
        Frames with rows, and such as cannot be used, in this run and those before.
    waiting : int
        Complete frames not measured: the same command goes on with them.
    incomplete : dict
        Files that were never complete, and why.
    changed : int
        Files that are not any more what was measured.
    """

    ended: str
    measured: int
    rejected: int
    waiting: int
    incomplete: dict[str, str] = field(default_factory=dict)
    changed: int = 0


def follow(
    out_directory: Path | str,
    data_directory: DataSource,
    photometer: BasePhotometer | Sequence[BasePhotometer],
    *,
    reduction: Reduction | None = None,
    live: Live | None = None,
    cluster: Any = None,
    number_of_processors: int | None = None,
    overwrite: bool = False,
    verbose: bool = True,
) -> FollowReport:
    """Reduce frames as they arrive in a folder, until the night is over.

    The catalogue of each camera is made of its first frames and stays; further frames are aligned with it and
    measured in batches, and their rows can be read a few seconds after the files are complete. Ctrl-C and
    SIGTERM end it in good order; the same call goes on where it stopped, whatever stopped it.

    Parameters
    ----------
    out_directory : path
        Where results go, as those of `Reducer`, and the log of the night, ``follow``.
    data_directory : path, glob or sequence of paths
        Where frames arrive. The folder may be empty.
    photometer : BasePhotometer or sequence of BasePhotometer
        What measures the sources.
    reduction : Reduction, optional
        How frames are reduced.
    live : Live, optional
        When the catalogue is made, when the night is over, and what is shown.
    cluster, number_of_processors
        Where to compute, as for `Reducer`; one cluster for the whole night.
    overwrite : bool
        Whether to begin anew if the settings differ from those of what is there.
    verbose : bool
        Whether to print what happens, and a line of status on a terminal.

    Returns
    -------
    FollowReport

    Raises
    ------
    SettingsChangedError
        If another reduction is there, or one followed with other settings, and `overwrite` is false.
    BusyError
        If another process is at work in `out_directory`.
    OpticamError
        If the frames cannot be computed or the results cannot be written; nothing measured is lost.
    """
    given = [photometer] if isinstance(photometer, BasePhotometer) else list(photometer)
    how, tree = reduction or Reduction(), OutputTree(out_directory)
    with held(tree.root, "follow"), Session(cluster, n_workers=number_of_processors, progress=False) as run:
        follower = Follower(tree, data_directory, given, how, live or Live(), run, verbose=verbose)
        prepare(tree, how, follower.photometers, overwrite=overwrite)
        with stoppable() as stop:
            return follower.until(stop)


class Follower:
    """One follow run; see `follow`."""

    def __init__(
        self,
        tree: OutputTree,
        source: DataSource,
        photometers: Sequence[BasePhotometer],
        how: Reduction,
        live: Live,
        run: Session,
        *,
        verbose: bool,
    ) -> None:
        self.tree, self.source, self.how, self.live, self.run = tree, source, how, live, run
        self.photometers = [_equipped(each, how.instrument) for each in photometers]
        self.verbose = verbose
        self._line = StatusLine(tree, show=verbose)
        self._night: Night | None = None
        self._told = ""
        self._views = {
            "tables": Paced(self._tables, _TABLES_S),
            "merge": Paced(self._merge, _MERGE_S),
            "tell": Paced(self._tell, _TELL_S),
        }
        if live.export_csv:
            self._views["csv"] = Paced(self._csv, _CSV_S)
        if live.plot is not None:
            self._views["plot"] = Paced(self._plot, _PLOT_S)

    def say(self, message: str) -> None:
        """Log a message, and print it when verbose."""
        self._line.end()
        self.tree.say(message, verbose=self.verbose)

    @property
    def night(self) -> Night:
        """The night, its log read when it is asked for first."""
        if self._night is None:
            starter = Starter(self.tree, self.how, self.photometers, self.run, self.say)
            self._night = Night(starter, self.live, self.source)
        return self._night

    def until(self, stop: Stop) -> FollowReport:
        """Follow until the quiet time or an end asked for."""
        self.run.begin()
        self.how.calibration.build(self.run, self.say)
        self._record()
        self._persistently(self._greet)
        self._persistently(lambda: self._watch(stop))
        self._persistently(lambda: self._last_frames(stop))
        return self._finish(_ENDS[stop.signal])

    def _greet(self) -> None:
        night = self.night
        if night.status.seen:
            self.say(f"Going on with {night.status.measured} frames measured before.")
        self.say(f"Following {self.source}; Ctrl-C ends the night.")

    def _watch(self, stop: Stop) -> None:
        """Look and measure until nothing has come for the quiet time."""
        night, news, looked = self.night, time.monotonic(), -float("inf")
        while not stop:
            if time.monotonic() - looked >= self.live.poll_s:
                looked = time.monotonic()
                news = looked if night.look() else news
            if night.step():
                # what came while the workers were busy has not been looked for yet
                news = time.monotonic()
                self._show_changes()
            elif time.monotonic() - news > self.live.quiet_s:
                return
            else:
                stop.wait(max(0.0, looked + self.live.poll_s - time.monotonic()))
            self._show()

    def _last_frames(self, stop: Stop) -> None:
        """Measure what waits: at a quiet end all of it, if an end was asked for one batch."""
        night = self.night
        if stop:
            # a file is complete if it was the same in two looks
            night.look()
            time.sleep(self.live.poll_s)
            night.look()
        while night.step(last=True):
            self._show_changes()
            if stop:
                break

    def _persistently(self, work: Callable[[], None]) -> None:
        """Do work; where the cluster was lost, with a new one, from the log."""
        for tries in range(_TRIES):
            before = self._night and self._night.status.measured
            try:
                work()
                return
            except ClusterError as error:
                if not before or tries == _TRIES - 1:
                    raise
                self.say(f"warning: {error}; trying once more with a new cluster")
                self.run.close()
                self._night = None
                time.sleep(_PAUSE_S)

    def _show_changes(self) -> None:
        for view in self._views.values():
            view.changed()

    def _show(self, *, now: bool = False) -> None:
        """Bring up to date what is due."""
        status = self.night.status
        status.waiting = self.night.waiting + len(self.night.arrivals.waiting)
        self._line.update(status)
        for view in self._views.values():
            view(now=now)

    def _tables(self) -> None:
        write_tables(self.tree, self.night.log)

    def _csv(self) -> None:
        write_csv(self.night.cameras.values(), self.run)

    def _tell(self) -> None:
        if (text := str(self.night.status)) != self._told:
            self.tree.say(text, verbose=self.verbose and not sys.stderr.isatty())
            self._told = text

    def _plot(self) -> None:
        if self.live.plot is not None and self.night.cameras:
            try:
                draw(self.tree, self.photometers[0].label, self.live.source, self.live.plot)
            except (OpticamError, OSError) as error:
                self.say(f"warning: no figure: {error}")

    def _merge(self) -> None:
        for camera in list(self.night.cameras.values())[:1]:
            for each in camera.photometry.sets:
                each.compact(run=self.run, say=lambda message: self.tree.say(message, verbose=False))

    def _record(self) -> None:
        config = {"data_directory": str(self.source), "recursive": self.how.recursive, **self.how.settings()}
        config |= settings_of_results(self.tree)
        self.tree.record(self.tree.misc / "reduction_parameters.json", config)
        self.tree.record(
            self.tree.root / "provenance.json",
            {"versions": versions(), "command": sys.argv, "config": config},
        )

    def _finish(self, ended: str) -> FollowReport:
        """Bring everything up to date, and say what was missed."""
        night = self.night
        unfinished = night.unfinished()
        self._show_changes()
        self._show(now=True)
        self._line.end()
        write_tables(self.tree, night.log, unfinished)
        report = FollowReport(
            ended=ended,
            measured=night.status.measured,
            rejected=night.status.rejected,
            waiting=night.waiting,
            incomplete=night.arrivals.incomplete(),
            changed=changed_files(night.log),
        )
        for line in words(report, self.tree.root):
            self.say(line)
        return report


_ENDS: dict[int | None, str] = {None: QUIET, signal.SIGINT: INTERRUPTED, signal.SIGTERM: TERMINATED}


def _equipped(photometer: BasePhotometer, instrument: Instrument) -> BasePhotometer:
    """Photometer whose noise budget knows the telescope."""
    own = copy(photometer)
    own.noise = photometer.noise.for_instrument(instrument)
    return own


def changed_files(log: FollowLog) -> int:
    """Count files that are there, but not any more as they were when they were measured."""
    table = log.read()
    files = table.filter(pc.equal(table["status"], "accepted")).select(["path", "size", "mtime_ns"])
    files = files.group_by(["path", "size", "mtime_ns"]).aggregate([])
    return sum(map(_differs, *(files[name].to_pylist() for name in ("path", "size", "mtime_ns"))))


def _differs(path: str, size: int, mtime_ns: int) -> bool:
    try:
        status = Path(path).stat()
    except OSError:
        return False
    return (status.st_size, status.st_mtime_ns) != (size, mtime_ns)


def words(report: FollowReport, root: Path) -> list[str]:
    """Say how a night ended, a line a matter."""
    how = {QUIET: "the quiet time is over", INTERRUPTED: "Ctrl-C", TERMINATED: "SIGTERM"}[report.ended]
    lines = [f"The night is over ({how}): {report.measured} frames measured, {report.rejected} rejected."]
    if report.incomplete:
        first = next(iter(report.incomplete.items()))
        lines.append(
            f"{len(report.incomplete)} files were never complete and count as rejected; the first is "
            f"{Path(first[0]).name}: {first[1]}"
        )
    if report.waiting:
        lines.append(f"{report.waiting} frames are not measured; the same command goes on with them.")
    if report.changed:
        lines.append(f"{report.changed} files have changed since they were measured.")
    return [*lines, f"The definitive reduction of all frames: reduce DATA {root} --overwrite"]


def require_frames(report: FollowReport) -> None:
    """Refuse to call it a success if there was not one frame.

    Raises
    ------
    InputError
        If nothing was measured.
    """
    if not report.measured:
        raise InputError("no frame was measured; were there any, and did they show stars?")
