"""Light curves of one photometer on disk: what is there, what is missing, and how it is merged."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opticam_dask.config import compact_from
from opticam_dask.errors import OpticamError
from opticam_dask.lazy.chunks import map_blocks_of_frames
from opticam_dask.shipping import by_value
from opticam_dask.stages.profiles import wants_moffat
from opticam_dask.tables.atomic import forget
from opticam_dask.tables.compact import compact_dataset
from opticam_dask.tables.coverage import Coverage, doubled
from opticam_dask.tables.digest import made_with, record
from opticam_dask.tables.light_curves import PhotometryJob
from opticam_dask.tables.parts import existing_parts, is_whole, part_path
from opticam_dask.tables.swap import recover
from opticam_dask.workspace import versions

if TYPE_CHECKING:
    from opticam_dask.catalog.model import CameraCatalog
    from opticam_dask.io.blocks import FrameBlock
    from opticam_dask.photometers.base import BasePhotometer
    from opticam_dask.stages.catalog import Run, Say
    from opticam_dask.types import PsfModel
    from opticam_dask.workspace import OutputTree


@dataclass
class LightCurveSet:
    """Light curves of one photometer on disk."""

    tree: OutputTree
    photometer: BasePhotometer

    @property
    def label(self) -> str:
        """Name of this set of light curves."""
        return self.photometer.label

    @property
    def folder(self) -> Path:
        """Folder of the label."""
        return self.tree.lcs / self.label

    @property
    def root(self) -> Path:
        """Folder of the parquet dataset."""
        return self.tree.light_curves(self.label)

    def prepare(self, settings: dict[str, Any], *, overwrite: bool) -> None:
        """Forget results made with other settings, or refuse to."""
        self.folder.mkdir(parents=True, exist_ok=True)
        recorded = self.folder / "settings.json"
        if not made_with(recorded, settings, overwrite=overwrite):
            forget(self.folder, first=recorded)
            record(recorded, settings)

    def covered(self, blocks: list[FrameBlock], camera: str, say: Say) -> Coverage:
        """Frames with whole parts, however cut; damaged parts, and such as do not fit, are removed."""
        recover(self.root)
        wanted = Coverage(block.key for block in blocks)
        have = {key for key in existing_parts(self.root) if key[1] == camera}
        damaged = {key for key in have if not is_whole(part_path(self.root, key))}
        stray = {key for key in have if not wanted.encloses(key)} | doubled(have - damaged)
        for key in damaged | stray:
            part_path(self.root, key).unlink()
        if damaged:
            first = part_path(self.root, min(damaged))
            say(f"{camera}: parts damaged on disk, made again: {len(damaged)} (the first is {first})")
        return Coverage(have - damaged - stray)

    def compact(self, *, run: Run, say: Say) -> None:
        """Merge the parts of nights and cameras that have many."""
        least = compact_from()
        if not least:
            return

        def shared(function: Any, folders: Any, root: Path) -> list[Any]:
            return run(map_blocks_of_frames(function, folders, root), f"merging parts: {self.label}")

        try:
            done = compact_dataset(self.root.resolve(), least=least, run=shared)
        except OpticamError as error:
            # The light curves are whole; merged they are only read faster.
            say(f"warning: light curves '{self.label}' are complete, but not merged: {error}")
            return
        merged = [one for one in done if one.after < one.before]
        if merged:
            before, after = sum(one.before for one in merged), sum(one.after for one in merged)
            say(f"light curves '{self.label}': {before} parts merged into {after}")
        for one in done:
            if one.reason:
                say(f"{one.camera}: parts of {one.night} not merged: {one.reason}")

    def job(self, catalog: CameraCatalog, moffat: PsfModel | None) -> PhotometryJob:
        """Describe what measures this set in the frames of a camera."""
        return PhotometryJob(
            label=self.label,
            root=self.root.resolve(),
            photometer=by_value(self.photometer),
            psf=moffat if moffat is not None and wants_moffat(self.photometer) else catalog.psf,
            moments=catalog.psf,
            psf_per_frame=self.photometer.psf == "frame",
            provenance={**versions(), "label": self.label},
        )
