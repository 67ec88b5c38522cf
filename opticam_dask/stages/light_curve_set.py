"""Light curves of one photometer on disk: what is there, what is missing, and how it is merged."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opticam_dask.config import compact_from
from opticam_dask.errors import OpticamError
from opticam_dask.lazy.chunks import map_blocks_of_frames
from opticam_dask.shipping import by_value
from opticam_dask.stages.profiles import wants_moffat
from opticam_dask.tables.atomic import forget, sweep
from opticam_dask.tables.compact import compact_dataset
from opticam_dask.tables.coverage import Coverage, doubled
from opticam_dask.tables.digest import digest, made_with, record
from opticam_dask.tables.light_curves import PhotometryJob
from opticam_dask.tables.parts import existing_parts, part_path
from opticam_dask.tables.records import fault_of
from opticam_dask.tables.swap import recover
from opticam_dask.workspace import versions

if TYPE_CHECKING:
    from opticam_dask.catalog.model import CameraCatalog
    from opticam_dask.io.blocks import FrameBlock
    from opticam_dask.photometers.base import BasePhotometer
    from opticam_dask.stages.catalog import Run, Say
    from opticam_dask.tables.parts import PartKey
    from opticam_dask.types import PsfModel
    from opticam_dask.workspace import OutputTree

_FAULTS = {
    "damaged": "parts damaged on disk or without a record, as earlier versions wrote them",
    "failed": "parts whose frames could not be measured before",
}


@dataclass
class LightCurveSet:
    """Light curves of one photometer on disk."""

    tree: OutputTree
    photometer: BasePhotometer
    made_of: str = field(default="", init=False)

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

    @property
    def recorded(self) -> Path:
        """Settings the light curves were made with."""
        return self.folder / "settings.json"

    def prepare(self, settings: dict[str, Any], *, overwrite: bool) -> None:
        """Forget results made with other settings, or refuse to."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not made_with(self.recorded, settings, overwrite=overwrite):
            forget(self.folder, first=self.recorded)
            record(self.recorded, settings)
        sweep(self.folder)
        self.made_of = digest(settings)

    def covered(self, blocks: list[FrameBlock], camera: str, say: Say) -> Coverage:
        """Frames with whole parts, however cut; parts that are damaged, failed or do not fit are removed."""
        recover(self.root)
        wanted = Coverage(block.key for block in blocks)
        have = {key for key in existing_parts(self.root) if key[1] == camera}
        faults = {key: fault_of(part_path(self.root, key), key, self.made_of) for key in have}
        faulty = {key for key, fault in faults.items() if fault}
        stray = {key for key in have if not wanted.encloses(key)} | doubled(have - faulty)
        for key in faulty | stray:
            part_path(self.root, key).unlink(missing_ok=True)
        self._tell(camera, faults, say)
        return Coverage(have - faulty - stray)

    def outdate_exports(self) -> None:
        """Remove CSV files, which lack rows that are about to be measured, until they are written anew."""
        for path in self.folder.glob("*_source_*.csv"):
            path.unlink()

    def _tell(self, camera: str, faults: dict[PartKey, str], say: Say) -> None:
        """Say which parts are made again."""
        for fault in sorted(set(faults.values()) - {""}):
            keys = [key for key in faults if faults[key] == fault]
            first = part_path(self.root, min(keys))
            what = _FAULTS.get(fault, f"parts in the wrong place ({fault})")
            say(f"{camera}: {what}, made again: {len(keys)} (the first is {first})")

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
            made_of=self.made_of,
        )
