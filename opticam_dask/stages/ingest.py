"""FITS files to a Zarr store: headers, then shards of pixels, each a task that can be done again alone."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from opticam_dask.config import block_bytes
from opticam_dask.errors import InputError
from opticam_dask.instrument import Instrument
from opticam_dask.io.frame_files import Source, find_files
from opticam_dask.io.frame_index import MapHeaders, scan, size_and_time
from opticam_dask.io.zarr_store.headers import plan_parts, read_parts, stored_files, write_part, write_parts
from opticam_dask.io.zarr_store.layout import (
    FORMAT,
    SETTINGS,
    SUFFIX,
    is_store,
    read_cameras,
    read_layout,
    write_array,
    write_store,
)
from opticam_dask.io.zarr_store.plan import plan_frames, plan_layouts, shard_jobs
from opticam_dask.io.zarr_store.tables import read_frame_table, write_frame_table
from opticam_dask.io.zarr_store.write import ShardJob, ShardSummary, check_shard, make_shard
from opticam_dask.lazy.chunks import map_blocks_of_frames
from opticam_dask.tables.atomic import forget
from opticam_dask.tables.digest import made_with, record

Run = Callable[[Any, str], list[Any]]
Say = Callable[[str], None]


@dataclass
class IngestStage:
    """A store, and how it is made.

    Parameters
    ----------
    root : str
        Absolute path of the store.
    instrument : Instrument
        How to read the headers; it decides which frames are accepted, and what their cameras are called.
    run : callable
        Computes tasks: ``run(tasks, description) -> list``.
    say : callable
        Takes messages.
    """

    root: str
    instrument: Instrument
    run: Run
    say: Say

    def prepare(self, *, overwrite: bool) -> None:
        """Make the folder a store, or see that it is one made with the same settings.

        Raises
        ------
        InputError
            If it is something else, or cannot be written to.
        SettingsChangedError
            If it was made with other settings and `overwrite` is false.
        """
        folder = Path(self.root)
        if not folder.name.removesuffix(SUFFIX) or not folder.name.endswith(SUFFIX):
            raise InputError(f"{self.root}: the name of a store must end in {SUFFIX}, such as night1{SUFFIX}")
        if folder.exists() and not is_store(folder) and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(f"{self.root}: exists and is no store of frames; choose another name")
        settings = {"format": FORMAT, "instrument": self.instrument.to_dict()}
        recorded = folder / SETTINGS
        if made_with(recorded, settings, overwrite=overwrite):
            return
        if is_store(folder):
            forget(folder, first=recorded)
        write_store(folder, [])
        record(recorded, settings)

    def ingest(
        self, source: Source, *, recursive: bool, verify: bool, map_headers: MapHeaders
    ) -> pd.DataFrame:
        """Bring what is new or changed in a source into the store; returns the frame index of the store."""
        started = time.time()
        self._headers(source, recursive)
        index = scan(self.root, self.instrument, map_headers=map_headers)
        jobs = self._planned(index)
        summaries: list[ShardSummary] = self.run(
            map_blocks_of_frames(make_shard, jobs, verify=verify), "ingesting"
        )
        before = sum(summary.was_there for summary in summaries)
        self._tell(summaries, f"{before} of them finished before")
        _sweep(Path(self.root), before=started)
        return index

    def _headers(self, source: Source, recursive: bool) -> None:
        """Keep the headers of new and changed files."""
        paths = find_files(source, recursive=recursive)
        there = {path: size_and_time(path) or (0, 0) for path in paths if not self._is_own(path)}
        known = stored_files(self.root)
        fresh = {path: stamp for path, stamp in there.items() if known.get(path) != stamp}
        gone = known.keys() - there.keys()
        self.say(f"{len(there)} files, {len(there) - len(fresh)} ingested before and unchanged")
        if gone:
            self.say(f"{len(gone)} files ingested before are not in this source; the store keeps them")
        parts = plan_parts(fresh)
        self.run(map_blocks_of_frames(write_part, parts, root=self.root), "keeping headers")
        if parts:
            made = [part for part, _ in parts]
            write_parts(self.root, [part for part in read_parts(self.root) if part not in made] + made)

    def _is_own(self, path: str) -> bool:
        return path.startswith(self.root + os.sep)

    def _planned(self, index: pd.DataFrame) -> list[ShardJob]:
        """Lay out arrays for the accepted frames, and write down which frame goes where."""
        cameras = read_cameras(self.root)
        layouts = plan_layouts(index, self.root, cameras, block_bytes())
        lengths = {name: read_layout(self.root, name)[1] for name in cameras}
        frames = plan_frames(index, read_frame_table(self.root), lengths, self.root)
        cameras += [name for name in layouts if name not in cameras]
        ends = (frames.groupby("camera")["place"].max() + 1).to_dict()
        for name, layout in layouts.items():
            write_array(Path(self.root), name, layout, max(ends[name], lengths.get(name, 0)))
        write_store(Path(self.root), cameras)
        write_frame_table(self.root, frames, cameras)
        return shard_jobs(frames, layouts, self.root)

    def verify(self) -> list[str]:
        """Check every shard against its checksums; returns what is wrong, a line each."""
        cameras = read_cameras(self.root)
        layouts = {name: read_layout(self.root, name)[0] for name in cameras}
        jobs = shard_jobs(read_frame_table(self.root), layouts, self.root)
        summaries: list[ShardSummary] = self.run(map_blocks_of_frames(check_shard, jobs), "verifying")
        damage = [line for summary in summaries for line in summary.damage]
        self._tell(summaries, f"{len(damage)} damaged or missing")
        return damage

    def _tell(self, summaries: list[ShardSummary], what: str) -> None:
        for summary in summaries:
            for path, hdu, plane, reason in summary.unreadable:
                self.say(f"{summary.camera}: unreadable: {path} [hdu {hdu}, plane {plane}]: {reason}")
        pixels, stored = (
            sum(getattr(one, name) for one in summaries) for name in ("pixel_bytes", "stored_bytes")
        )
        self.say(
            f"{self.root}: {len(summaries)} shards, {what}; "
            f"{pixels / 1e6:.1f} MB of pixels in {stored / 1e6:.1f} MB"
        )


def _sweep(root: Path, before: float) -> None:
    """Remove what a run that was killed left half written."""
    for path in (*root.glob(".*.tmp"), *(root / "files").rglob(".*.tmp")):
        if path.stat().st_mtime < before:
            path.unlink()
