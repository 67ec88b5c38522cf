"""What an observer sees while frames come: tables, CSV files, a figure, a line of status."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from opticam_dask.catalog.store import replace_alignment
from opticam_dask.follow.index import joined
from opticam_dask.follow.log import FollowLog, alignment_in, frames_in
from opticam_dask.io.frame_index import write_frames
from opticam_dask.schema import FRAMES
from opticam_dask.stages.export import export_tasks
from opticam_dask.tables.light_curves import BlockSummary

if TYPE_CHECKING:
    import pandas as pd

    from opticam_dask.follow.aligning import Run
    from opticam_dask.follow.camera import Camera
    from opticam_dask.workspace import OutputTree

_SEEING_OF = 20


@dataclass
class Status:
    """Where things stand.

    Parameters
    ----------
    seen : int
        Frames and files found so far, complete or not.
    measured, rejected, waiting : int
        Frames measured; rejected; complete and waiting for a catalogue, or files not complete.
    lag_s : float
        Longest time from when a file of the last batch was first seen to its rows on disk [s].
    seeing_px, cloud_mag : dict
        Median FWHM and extinction of the last frames of each camera.
    """

    measured: int = 0
    rejected: int = 0
    waiting: int = 0
    lag_s: float = math.nan
    seeing_px: dict[str, float] = field(default_factory=dict)
    cloud_mag: dict[str, float] = field(default_factory=dict)

    @property
    def seen(self) -> int:
        """Frames and files found so far."""
        return self.measured + self.rejected + self.waiting

    def note(self, alignment: pd.DataFrame) -> None:
        """Take seeing and cloud from the last rows of a camera."""
        camera, last = str(alignment["camera"].iloc[-1]), alignment.tail(_SEEING_OF)
        fwhm, cloud = last["fwhm"].to_numpy(float), last["cloud"].to_numpy(float)
        self.seeing_px[camera] = _median(fwhm)
        self.cloud_mag[camera] = _median(cloud)

    def __str__(self) -> str:
        parts = [f"{self.seen} seen, {self.measured} measured, {self.waiting} waiting"]
        parts += [f"{self.rejected} rejected"] if self.rejected else []
        parts += [f"lag {self.lag_s:.1f} s"] if math.isfinite(self.lag_s) else []
        seeing = [f"{name} {value:.2f}" for name, value in sorted(self.seeing_px.items())]
        parts += [f"FWHM {', '.join(seeing)} px"] if seeing else []
        clouds = [value for value in self.cloud_mag.values() if math.isfinite(value)]
        parts += [f"cloud {max(clouds):.2f} mag"] if clouds else []
        return "; ".join(parts)


def _median(values: np.ndarray[Any, np.dtype[np.float64]]) -> float:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if known.size else math.nan


class StatusLine:
    """One line on a terminal, written over again and again; elsewhere a line now and then.

    Parameters
    ----------
    tree : OutputTree
        Where ``follow/status.json`` goes.
    show : bool
        Whether to write to stderr.
    """

    def __init__(self, tree: OutputTree, *, show: bool) -> None:
        self._tree, self._show = tree, show
        self._width = 0
        self._shown = ""

    def update(self, status: Status) -> None:
        """Show where things stand."""
        text = str(status)
        if text == self._shown:
            return
        self._shown = text
        now = datetime.now(UTC).isoformat(timespec="seconds")
        record = {key: _plain(value) for key, value in asdict(status).items()}
        self._tree.record(
            self._tree.root / "follow" / "status.json", {"time": now, "seen": status.seen, **record}
        )
        if self._show and sys.stderr.isatty():
            line = f"{now[11:19]} {text}"
            sys.stderr.write("\r" + line.ljust(self._width))
            sys.stderr.flush()
            self._width = len(line)

    def end(self) -> None:
        """Leave the line as it stands."""
        if self._width:
            sys.stderr.write("\n")
            sys.stderr.flush()
        self._width = 0


def _plain(value: Any) -> Any:
    """Value for JSON, which knows no NaN."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_tables(
    tree: OutputTree, log: FollowLog, unfinished: tuple[pd.DataFrame, pd.DataFrame] | None = None
) -> None:
    """Write ``frames.parquet`` and ``alignment.parquet`` from the log.

    Parameters
    ----------
    tree : OutputTree
        Where.
    log : FollowLog
        All frames so far.
    unfinished : tuple of DataFrame, optional
        Rows of the frame index, and of the alignment, that are not in the log, for they may still change.
    """
    everything = log.read()
    frames, alignment = frames_in(everything)[FRAMES.names], alignment_in(everything)
    if unfinished is not None:
        frames, alignment = joined([frames, unfinished[0]]), joined([alignment, unfinished[1]])
    good = frames["status"] == "accepted"
    rows = [
        frames[good].sort_values(["camera", "night", "frame"], kind="stable"),
        frames[~good].sort_values(["path", "hdu", "plane"], kind="stable"),
    ]
    replace_alignment(tree.root, alignment)
    write_frames(joined(rows), tree.frames)


def write_csv(cameras: Iterable[Camera], run: Run) -> None:
    """Write the CSV files of all light curves."""
    for camera in cameras:
        for each in camera.photometry.sets:
            tasks = export_tasks(each.folder, {camera.name: camera.catalog}, everything=True)
            if tasks is not None:
                run(tasks, "writing CSV")


def draw(tree: OutputTree, label: str, source: int, path: Path) -> None:
    """Draw the light curves of a source in all cameras that have it."""
    from opticam_dask.plotting.light_curves import light_curve_figure
    from opticam_dask.plotting.style import save_figure
    from opticam_dask.tables.store import cameras, flux_unit, light_curve, sources

    root = tree.light_curves(label)
    chosen = [camera for camera in cameras(root) if source in sources(root, camera)]
    curves = {camera: light_curve(tree.root, camera=camera, source=source, label=label) for camera in chosen}
    if curves:
        save_figure(light_curve_figure(curves, title=f"source {source}", unit=flux_unit(root)), path)


def unreadable(summaries: Iterable[BlockSummary]) -> list[str]:
    """Frames that could be read once but not again."""
    return sorted({reason for summary in summaries for reason in summary.unreadable})
