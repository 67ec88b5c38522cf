"""Small nights, each spoilt in one way: what users bring, made with plain numpy and astropy."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

SHAPE = (131, 149)
N_FRAMES = 8
SIGMA = 1.8
STARS = np.array(
    [
        (30.2, 40.7, 21000.0),
        (100.4, 30.3, 15000.0),
        (70.8, 95.1, 12000.0),
        (118.6, 88.9, 9000.0),
        (45.5, 75.2, 7000.0),
        (85.1, 58.4, 5000.0),
    ]
)
DRIFT = (0.8, -0.5)


def pixels(frame: int, *, shift: tuple[float, float] = (0.0, 0.0), stars: Any = STARS, seed: int = 0) -> Any:
    rng = np.random.default_rng([frame, seed])
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    image = np.full(SHAPE, 100.0)
    for x0, y0, total in np.asarray(stars).reshape(-1, 3):
        dx = x - x0 - DRIFT[0] * frame - shift[0]
        dy = y - y0 - DRIFT[1] * frame - shift[1]
        image += total / (2 * np.pi * SIGMA**2) * np.exp(-0.5 * (dx**2 + dy**2) / SIGMA**2)
    return np.clip(rng.poisson(image), 0, 65535).astype(np.uint16)


def header(frame: int, **changes: Any) -> fits.Header:
    cards = {
        "FILTER": "g",
        "BINNING": "4x4",
        "GAIN": 1.0,
        "EXPOSURE": 1.0,
        "DARKCURR": 0.0,
        "INSTRUME": "OPTICAM",
        "RA": 0.0,
        "DEC": 20.0,
        "UT": f"2024-01-01 03:00:{frame:02d}.250",
        "SATLEVEL": 60000.0,
    } | changes
    return fits.Header({key: value for key, value in cards.items() if value is not None})


def name(frame: int) -> str:
    return f"240101g{frame:09d}o.fits"


def write(folder: Path, frame: int, data: Any = None, **changes: Any) -> Path:
    path = folder / name(frame)
    fits.writeto(path, pixels(frame) if data is None else data, header(frame, **changes), overwrite=True)
    return path


def good_night(folder: Path, n: int = N_FRAMES) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for frame in range(n):
        write(folder, frame)
    return folder


@dataclass(frozen=True)
class Case:
    """One spoilt night: how to spoil it, what is said, and what still comes out."""

    name: str
    spoil: Callable[[Path], Any]
    says: tuple[str, ...] = ()
    exit_code: int = 0
    rows: int | None = N_FRAMES
    """Rows of source 1 in the table; None when there is no table."""
    lost: int = 0
    """Rows of source 1 whose flux is NaN."""
    flag: str | None = None
    """A flag that must be set on some row."""


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def _missing(folder: Path) -> None:
    _empty(folder)
    folder.rmdir()


def _no_fits(folder: Path) -> None:
    _empty(folder)
    (folder / "notes.txt").write_text("cloudy")


def _truncated(folder: Path) -> None:
    path = folder / name(3)
    path.write_bytes(path.read_bytes()[:2000])


def _truncated_data(folder: Path) -> None:
    path = folder / name(3)
    path.write_bytes(path.read_bytes()[: 2880 * 4])


def _truncated_gz(folder: Path) -> None:
    path = folder / name(3)
    packed = gzip.compress(path.read_bytes())
    path.unlink()
    (folder / f"{name(3)}.gz").write_bytes(packed[: len(packed) // 2])


def _zero_bytes(folder: Path) -> None:
    (folder / name(3)).write_bytes(b"")


def _garbage(folder: Path) -> None:
    (folder / name(3)).write_bytes(np.random.default_rng(1).bytes(40_000))


def _only(n: int) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        for path in sorted(folder.iterdir())[n:]:
            path.unlink()

    return spoil


def _star_nan(folder: Path) -> None:
    data = pixels(3).astype(np.float32)
    x, y = round(STARS[0, 0] + 3 * DRIFT[0]), round(STARS[0, 1] + 3 * DRIFT[1])
    data[y - 1 : y + 2, x - 1 : x + 2] = np.nan
    for frame in range(N_FRAMES):
        write(folder, frame, data if frame == 3 else pixels(frame).astype(np.float32))


def _few_nans(folder: Path) -> None:
    rng = np.random.default_rng(2)
    for frame in range(N_FRAMES):
        data = pixels(frame).astype(np.float32)
        data[rng.random(SHAPE) < 0.001] = np.nan
        write(folder, frame, data)


def _saturated(folder: Path) -> None:
    for frame in range(N_FRAMES):
        write(folder, frame, np.minimum(pixels(frame), 700), SATLEVEL=700.0)


def _edge_star(folder: Path) -> None:
    # Inside when catalogued; drift takes its profile over the edge in the last frames.
    stars = STARS.copy()
    stars[1, :2] = (131.5, 40.0)
    for frame in range(N_FRAMES):
        write(folder, frame, pixels(2 * frame, stars=stars))


def _cloud(frame: int) -> Callable[[Path], Any]:
    return lambda folder: write(folder, frame, pixels(frame, stars=STARS * (1, 1, 0)))


def _constant(folder: Path) -> None:
    write(folder, 3, np.full(SHAPE, 100, np.uint16))


def _all_nan(folder: Path) -> None:
    write(folder, 3, np.full(SHAPE, np.nan, np.float32))


def _other_filter(folder: Path) -> None:
    write(folder, 3, FILTER="H-alpha")


def _duplicate(folder: Path) -> None:
    write(folder, 4, UT="2024-01-01 03:00:03.250")


def _far(folder: Path) -> None:
    for frame in (2, 5):
        write(folder, frame, pixels(frame, shift=(18.0, -9.0)))


def _one_arm(folder: Path) -> None:
    for frame in range(N_FRAMES):
        path = folder / name(frame).replace("240101g", "240101i")
        fits.writeto(path, pixels(frame, seed=1), header(frame, FILTER="i"))


KEPT = N_FRAMES - 1

CASES = (
    Case("empty folder", _empty, ("no FITS file",), exit_code=1, rows=None),
    Case("missing folder", _missing, ("data does not exist",), exit_code=1, rows=None),
    Case("no FITS", _no_fits, ("no FITS file",), exit_code=1, rows=None),
    Case("truncated file", _truncated, (name(3),), rows=KEPT),
    Case("empty file", _zero_bytes, (name(3), "empty"), rows=KEPT),
    Case("garbage", _garbage, (name(3), "not a FITS file"), rows=KEPT),
    Case("missing keyword", lambda f: write(f, 3, EXPOSURE=None), (name(3), "EXPOSURE"), rows=KEPT),
    Case("wrong type", lambda f: write(f, 3, EXPOSURE="long"), (name(3), "EXPOSURE", "long"), rows=KEPT),
    Case("mixed binning", lambda f: write(f, 3, BINNING="2x2"), (name(3), "2x2"), rows=KEPT),
    Case("mixed shape", lambda f: write(f, 3, pixels(3)[:100]), (name(3), "100x149"), rows=KEPT),
    Case("one frame", _only(1), rows=1),
    Case("two frames", _only(2), rows=2),
    Case("duplicate times", _duplicate, ("that of another frame",), flag="BAD_TIME"),
    Case("all-NaN frame", _all_nan, lost=1, flag="NOT_ALIGNED"),
    Case("constant frame", _constant, lost=1, flag="NOT_ALIGNED"),
    Case("cloud with no star", _cloud(1), lost=1, flag="NOT_ALIGNED"),
    Case("saturated star", _saturated, flag="SATURATED"),
    Case("star on the edge", _edge_star),
    Case("0.1 % NaN pixels", _few_nans),
    Case("NaN on one star in one frame", _star_nan, flag="NON_FINITE"),
    Case("cloud in the reference frame", _cloud(N_FRAMES // 2), lost=1, flag="NOT_ALIGNED"),
    Case("unknown filter", _other_filter, (name(3), "H-alpha"), rows=KEPT),
    Case("one arm missing", _one_arm),
    Case("frames 20 px off", _far),
    Case("truncated data, whole header", _truncated_data, (name(3), "truncated"), rows=KEPT),
    Case("truncated gzip", _truncated_gz, (name(3),), rows=KEPT),
    Case("path in FILTER", lambda f: write(f, 3, FILTER="../../x"), (name(3),), rows=KEPT),
)
