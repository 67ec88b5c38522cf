"""The two looks at each calibration frame, on workers: sums go to disk, and memory holds one set of them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opticam_dask.calibration.pedestal import Pedestal
from opticam_dask.errors import FrameReadError
from opticam_dask.io.blocks import FrameBlock
from opticam_dask.kernels.background import as_pixels
from opticam_dask.kernels.calibrate import (
    NOTHING,
    Digits,
    Response,
    Sums,
    add_to_extremes,
    add_within,
    merged,
)
from opticam_dask.types import Image

STRIP = 128  # rows merged at a time
_SAMPLES = 2**18  # pixels looked at for the level of a flat
_CLIP, _ROUNDS = 3.0, 5
_BRIGHTEST = 0.9  # of the saturation level: flats above are not linear
_RANGE_ADU = 2.0**17
_RANGE_WIDE = 2.0**24  # of numbers wider than 16 bits
_RANGE_FLAT = 8.0  # a flat's pixel in units of its level


@dataclass(frozen=True, eq=False)
class Piece:
    """Frames that one task looks at.

    Parameters
    ----------
    frames : FrameBlock
        The frames.
    pedestal : Pedestal
        What is subtracted from each.
    flat : bool
        Whether each is then divided by its level.
    digits : Digits
        How values become integers.
    folder, number : Path, int
        Where the sums go.
    """

    frames: FrameBlock
    pedestal: Pedestal
    flat: bool
    digits: Digits
    folder: Path
    number: int

    def __dask_tokenize__(self) -> object:
        return type(self).__qualname__, str(self.folder), self.number, self.frames.__dask_tokenize__()


@dataclass(frozen=True)
class Look:
    """What a look at one frame gave: its level [adu] (1 unless a flat), or why it is left out."""

    path: str
    level: float
    seconds: float
    reason: str = ""


def digits_of(frames: FrameBlock, *, flat: bool) -> Digits:
    """Digits that hold the sums of all the frames."""
    wide = np.dtype(frames.dtype).itemsize > 2
    return Digits.of(_RANGE_FLAT if flat else _RANGE_WIDE if wide else _RANGE_ADU, len(frames))


def first_look(piece: Piece) -> list[Look]:
    """Write sums and extremes of the frames of a piece to disk."""
    sums = Sums.empty(piece.frames.shape, extremes=True)
    looks = []
    for look, image, response in _prepared(piece):
        looks.append(look)
        if image is not None:
            add_to_extremes(image, response, piece.digits, sums)
    _save(piece, "first", sums)
    return looks


def second_look(piece: Piece) -> int:
    """Write sums of what lies within the bounds to disk."""
    bounds = np.load(piece.folder / "bounds.npy")
    sums = Sums.empty(piece.frames.shape, extremes=False)
    for _, image, response in _prepared(piece):
        if image is not None:
            add_within(image, response, piece.digits, bounds, sums)
    _save(piece, "second", sums)
    return len(piece.frames)


def strips_of(folder: Path, look: str, pieces: int, shape: tuple[int, int]) -> Iterator[tuple[slice, Sums]]:
    """Add up the pieces a few rows at a time; no more than these rows is in memory."""
    planes = 5 if look == "first" else 1
    for start in range(0, shape[0], STRIP):
        rows = slice(start, min(start + STRIP, shape[0]))
        parts = [
            Sums(
                _rows(folder / f"{look}-sums-{number}.npy", (2, *shape), rows, np.int64),
                _rows(folder / f"{look}-small-{number}.npy", (planes, *shape), rows, np.int32),
            )
            for number in range(pieces)
        ]
        yield rows, merged(parts)


def _rows(path: Path, shape: tuple[int, int, int], rows: slice, dtype: Any) -> NDArray[Any]:
    """Rows of each plane of a file of sums; read, not mapped: mapped pages would count as memory in use."""
    planes, ny, nx = shape
    out = np.empty((planes, rows.stop - rows.start, nx), dtype)
    with path.open("rb") as file:
        header = path.stat().st_size - planes * ny * nx * out.itemsize
        for plane in range(planes):
            file.seek(header + (plane * ny + rows.start) * nx * out.itemsize)
            out[plane].ravel()[:] = np.fromfile(file, dtype, out[plane].size)
    return out


def _save(piece: Piece, look: str, sums: Sums) -> None:
    """Write sums beside and rename them: a task may run twice. They need not survive a power cut."""
    for name in ("sums", "small"):
        path = piece.folder / f"{look}-{name}-{piece.number}.npy"
        beside = path.with_name(f"{uuid.uuid4().hex}.npy")
        np.save(beside, getattr(sums, name))
        beside.replace(path)


def _prepared(piece: Piece) -> Iterator[tuple[Look, Image | None, Response]]:
    """Each frame, and what is to be done to its values; None for one that is left out."""
    for i, frame in piece.frames.frames():
        path, meta = piece.frames.paths[i], piece.frames.meta[i]
        seconds, saturation = float(meta["exposure"]), float(meta["saturation"])
        if isinstance(frame, FrameReadError):
            yield Look(path, np.nan, seconds, frame.detail), None, Response()
            continue
        image = as_pixels(frame)
        bias, dark = piece.pedestal.maps(seconds) if piece.flat else (NOTHING, NOTHING)
        level, reason = _level(image, bias, dark, seconds, saturation) if piece.flat else (1.0, "")
        response = Response(
            bias, dark, seconds, factor=1.0 / level if level > 0 else 1.0, saturation=saturation
        )
        yield Look(path, level, seconds, reason), None if reason else image, response


def _level(
    image: Image, bias: NDArray[Any], dark: NDArray[Any], seconds: float, saturation: float
) -> tuple[float, str]:
    """Clipped mean of a flat above its pedestal [adu], of pixels all over it; and why it cannot serve."""
    step = max(1, round((image.size / _SAMPLES) ** 0.5))
    some = np.s_[::step, ::step]
    raw = image[some].astype(np.float64)
    values = raw - (bias[some] if bias.size else 0.0) - (dark[some] * seconds if dark.size else 0.0)
    kept = values[np.isfinite(values) & ~(raw >= saturation)]
    if 2 * kept.size < raw.size:
        return np.nan, "half of its pixels are saturated or not numbers"
    for _ in range(_ROUNDS):
        near = np.abs(kept - np.median(kept)) <= _CLIP * kept.std()
        if near.all():
            break
        kept = kept[near]
    level = float(kept.mean())
    if not level > 0:
        return level, f"no light: its level is {level:.4g} adu above the bias"
    if float(np.median(raw)) > _BRIGHTEST * saturation:
        return level, f"too bright: its level is {level:.4g} adu, saturation {saturation:g}"
    return level, ""
