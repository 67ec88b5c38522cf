"""One shard of a store from the frames it is to hold: written beside, read back, renamed, recorded."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from opticam_dask.errors import FrameReadError, InputError
from opticam_dask.io.blocks import FrameBlock
from opticam_dask.io.indexing import axis_indices
from opticam_dask.io.zarr_store.layout import ArrayLayout, shard_path
from opticam_dask.io.zarr_store.shards import (
    Shard,
    ShardError,
    checksum,
    decode_frame,
    encode_frame,
    write_shard,
)
from opticam_dask.io.zarr_store.tables import (
    ShardRecord,
    StoredFrame,
    read_record,
    write_record,
)
from opticam_dask.schema import FRAME_META
from opticam_dask.tables.atomic import replacing
from opticam_dask.types import Image


@dataclass(frozen=True)
class ShardJob:
    """Frames that belong into one shard.

    Parameters
    ----------
    root : str
        The store.
    camera : str
        Camera of the array.
    number : int
        Number of the shard.
    layout : ArrayLayout
        Layout of the array.
    frames : tuple of StoredFrame
        The frames, in order of place, not yet read.
    """

    root: str
    camera: str
    number: int
    layout: ArrayLayout
    frames: tuple[StoredFrame, ...]

    def __dask_tokenize__(self) -> object:
        return type(self).__name__, self.root, self.camera, self.number, repr(self.frames)

    @property
    def path(self) -> Path:
        """File of the shard."""
        return shard_path(self.root, self.camera, self.number)


@dataclass(frozen=True)
class ShardSummary:
    """What became of a shard.

    Parameters
    ----------
    camera : str
        Camera.
    pixel_bytes, stored_bytes : int
        Bytes of the pixels, and of the file.
    unreadable : tuple of (str, int, int, str)
        File, HDU, plane and reason of each frame without pixels.
    damage : tuple of str
        What is wrong with it.
    was_there : bool
        Whether it was finished before.
    """

    camera: str
    pixel_bytes: int
    stored_bytes: int
    unreadable: tuple[tuple[str, int, int, str], ...] = ()
    damage: tuple[str, ...] = ()
    was_there: bool = False


@dataclass(frozen=True)
class _Packed:
    """A frame as it goes into the shard."""

    frame: StoredFrame
    tiles: list[bytes]


def is_done(job: ShardJob) -> bool:
    """Whether the shard is there, made from these very frames; one with frames that failed is not."""
    record = read_record(job.root, job.camera, job.number)
    if record is None or any(frame.reason for frame in record.frames):
        return False
    try:
        size = job.path.stat().st_size
    except OSError:
        return False
    return size == record.size and [f.source for f in record.frames] == [f.source for f in job.frames]


def make_shard(job: ShardJob, verify: bool = False) -> ShardSummary:
    """Read the frames of a shard, write it, check it against them, and record it as finished.

    A finished shard is left alone, unless `verify` asks for its checksums and they do not fit. Frames that it
    holds already, from the same files, are kept as they are.

    Raises
    ------
    InputError
        If the disk is full or cannot be written to, or what comes back from it is not what was written.
    """
    if is_done(job) and not (verify and check_shard(job).damage):
        return replace(_summary(job, job.path.stat().st_size, list(job.frames)), was_there=True)
    return _make(job)


def _make(job: ShardJob) -> ShardSummary:
    packed = sorted(_packed(job), key=lambda each: each.frame.place)
    tiles: list[list[bytes]] = [[] for _ in range(job.layout.frames_per_shard)]
    for each in packed:
        tiles[_place(each.frame, job.layout)] = each.tiles
    with replacing(job.path, staging=Path(job.root)) as temporary:
        write_shard(temporary, tiles, job.layout)
        _compare(temporary, tiles, job.layout)
        size = temporary.stat().st_size
    frames = [each.frame for each in packed]
    write_record(job.root, job.camera, job.number, ShardRecord(size, tuple(frames)))
    return _summary(job, size, frames)


def _summary(job: ShardJob, size: int, frames: list[StoredFrame]) -> ShardSummary:
    frame_bytes = int(np.prod(job.layout.shape)) * np.dtype(job.layout.dtype).itemsize
    lost = tuple((f.path, f.hdu, f.plane, f.reason) for f in frames if f.reason)
    return ShardSummary(job.camera, frame_bytes * (len(frames) - len(lost)), size, lost)


def _packed(job: ShardJob) -> Iterator[_Packed]:
    """Give every frame of a shard, compressed: from the shard as it is, or else from its file."""
    kept = _kept(job)
    fresh = [frame for frame in job.frames if frame.source not in kept]
    yield from kept.values()
    for position, image in _block(job, fresh).frames():
        frame = fresh[position]
        if isinstance(image, FrameReadError):
            yield _Packed(replace(frame, reason=image.detail), [])
        else:
            yield _Packed(replace(frame, crc32c=_crc(image)), _encoded(job, frame, image))


def _block(job: ShardJob, frames: list[StoredFrame]) -> FrameBlock:
    meta = np.zeros(len(frames), FRAME_META)
    meta["hdu"], meta["plane"] = [f.hdu for f in frames], [f.plane for f in frames]
    band = job.camera.partition(":")[2]
    paths = tuple(frame.path for frame in frames)
    return FrameBlock("", job.camera, band, job.layout.shape, job.layout.dtype, paths, meta)


def _encoded(job: ShardJob, frame: StoredFrame, image: Image) -> list[bytes]:
    """Compress a frame, and see that it decompresses to the same bits."""
    tiles = encode_frame(image, job.layout)
    again = decode_frame(tiles, job.layout)
    if again.tobytes() != image.tobytes():
        where = f"{frame.path} [hdu {frame.hdu}, plane {frame.plane}]"
        raise InputError(f"{where}: its compression is not lossless; check the memory of this machine")
    return tiles


def _kept(job: ShardJob) -> dict[tuple[Any, ...], _Packed]:
    """Frames that the shard on disk holds already, by their source; damaged ones are made again."""
    record = read_record(job.root, job.camera, job.number)
    wanted = {frame.source for frame in job.frames}
    if record is None:
        return {}
    kept = {}
    with ExitStack() as stack:
        try:
            shard = stack.enter_context(Shard(job.path, job.layout))
        except ShardError:
            return {}
        for frame in record.frames:
            if frame.source in wanted and _can_stay(shard, frame, job.layout):
                kept[frame.source] = _Packed(frame, shard.packed(_place(frame, job.layout)))
    return kept


def _can_stay(shard: Shard, frame: StoredFrame, layout: ArrayLayout) -> bool:
    """Whether to keep a frame as it is: its pixels are sound, or what failed then cannot be tried again."""
    return not Path(frame.path).exists() if frame.reason else not _fault(shard, frame, layout)


def _place(frame: StoredFrame, layout: ArrayLayout) -> int:
    return frame.place % layout.frames_per_shard


def _fault(shard: Shard, frame: StoredFrame, layout: ArrayLayout) -> str:
    """Say what is wrong with a frame of a shard; empty if its pixels are those that were recorded."""
    image = np.empty(layout.shape, layout.dtype)
    place = _place(frame, layout)
    if not shard.holds(place):
        return "missing"
    try:
        shard.read_into(image, place, *axis_indices((), layout.shape))
    except ShardError as error:
        return str(error)
    return "" if _crc(image) == frame.crc32c else "damaged: not the pixels that were ingested"


def _crc(image: Image) -> str:
    return checksum(np.ascontiguousarray(image).view(np.uint8).data).hex()


def _compare(path: Path, tiles: list[list[bytes]], layout: ArrayLayout) -> None:
    """Read a shard back, from the disk where the system allows it, and compare it with what was written."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)
    try:
        with Shard(path, layout) as shard:
            same = all(shard.packed(place) == each for place, each in enumerate(tiles))
    except ShardError as error:
        raise InputError(f"{path}: what was written does not come back: {error}") from error
    if not same:
        raise InputError(f"{path}: what was written does not come back; check the disk")


def check_shard(job: ShardJob) -> ShardSummary:
    """Read a shard and compare it with its checksums; the original files are not needed."""
    record = read_record(job.root, job.camera, job.number)
    if record is None or [f.source for f in record.frames] != [f.source for f in job.frames]:
        return ShardSummary(job.camera, 0, 0, damage=(f"{job.path}: not finished",))
    try:
        with Shard(job.path, job.layout) as shard:
            faults = [(f, _fault(shard, f, job.layout)) for f in record.frames if not f.reason]
    except ShardError as error:
        return replace(_summary(job, 0, list(record.frames)), damage=(f"{job.path}: {error}",))
    damage = (
        f"{job.path}: frame {frame.place}, {frame.path} [hdu {frame.hdu}, plane {frame.plane}]: {why}"
        for frame, why in faults
        if why
    )
    return replace(_summary(job, record.size, list(record.frames)), damage=tuple(damage))
