"""One night with every defect that has a flag: camera 1:g is spoilt, 2:r sees the stars cleanly."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from scipy.special import erf

SHAPE = (171, 203)
N_FRAMES = 16
SIGMA = 1.8
SKY, SATURATION = 100.0, 60000.0
DRIFT = (0.35, -0.25)
"""Of the field, from frame to frame [pixel]."""

STARS: dict[str, tuple[float, float, float]] = {
    "nan": (30.2, 30.7, 30000.0),
    "saturated": (100.4, 30.3, 28000.0),
    "occulted": (160.8, 31.1, 26000.0),
    "ray": (30.6, 85.9, 24000.0),
    "ring": (100.5, 80.2, 22000.0),
    "edge": (175.1, 80.4, 20000.0),
    "bad": (66.3, 58.8, 18000.0),
    "hot": (132.7, 60.4, 17000.0),
    "one": (150.2, 135.4, 16000.0),
    "other": (158.3, 135.9, 14000.0),
    "pair": (104.3, 131.2, 16000.0),
    "crowded": (60.1, 128.3, 20000.0),
    **{
        f"crowd {n}": (
            60.1 + 13.0 * np.cos(n * np.pi / 2 + 0.3),
            128.3 + 13.0 * np.sin(n * np.pi / 2 + 0.3),
            12000.0 - 300 * n,
        )
        for n in range(4)
    },
}
"""Place in frame 0 and total counts of each star, named after what happens to it."""
COMPANIONS = frozenset(star for star in STARS if star == "other" or star.startswith("crowd "))
"""Stars that only 1:g sees."""
HIDDEN = (107.6, 133.3, 9000.0)
"""Another, which the finder does not tell from ``pair``."""

NAN, SATURATED, OCCULTED, CLOUDY, CONSTANT = 2, 3, 4, 5, 6
UNREADABLE, SHIFTED, STRUCK, RINGED, MISSING, DOUBLED, LAST = 9, 10, 11, 12, 13, 14, 15
"""Frames of 1:g that something happens in; `MISSING` was never written, `LAST` has the time of `DOUBLED`."""
SHIFT = 24.0
HOT_AT = 8
"""Frame in which the star ``hot`` lies 2 pixels beside the hot pixel of 1:g."""


def place(star: str, frame: int) -> tuple[float, float]:
    """Where a star is in a frame of either camera, but for the shifted one."""
    x, y, _ = STARS[star]
    return x + DRIFT[0] * frame, y + DRIFT[1] * frame


def pixel(star: str, frame: int, dx: int = 0, dy: int = 0) -> tuple[int, int]:
    """Row and column of the pixel at a star's centre, or some pixels away."""
    x, y = place(star, frame)
    return round(y) + dy, round(x) + dx


def _sky(frame: int, seed: int, factor: dict[str, float], shift: float = 0.0) -> Any:
    image = np.full(SHAPE, SKY)
    for star, (x0, y0, total) in {**STARS, "hidden": HIDDEN}.items():
        x, y = x0 + DRIFT[0] * frame + shift, y0 + DRIFT[1] * frame
        across, up = _integrals(SHAPE[1], x), _integrals(SHAPE[0], y)
        image += factor.get(star, 1.0) * total * np.outer(up, across)
    return np.random.default_rng([frame, seed]).poisson(image).astype(np.float32)


def _integrals(n: int, centre: float) -> Any:
    return 0.5 * np.diff(erf((np.arange(n + 1) - 0.5 - centre) / (SIGMA * np.sqrt(2.0))))


def spoilt(frame: int) -> Any:
    """Pixels of a frame of 1:g."""
    dimmed = dict.fromkeys({*STARS, "hidden"}, 10**-0.4) if frame == CLOUDY else {}
    gone = {"occulted": 0.0} if frame == OCCULTED else {}
    image = _sky(frame, 1, dimmed | gone, SHIFT if frame == SHIFTED else 0.0)
    image[pixel("hot", HOT_AT, dy=2)] += 20000.0
    if frame == NAN:
        image[pixel("nan", frame, dx=1)] = np.nan
    if frame == SATURATED:
        image[pixel("saturated", frame, dx=1)] = SATURATION
    if frame == STRUCK:
        image[pixel("ray", frame, dx=2, dy=1)] += 6000.0
    if frame == RINGED:
        y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
        distance = np.hypot(x - place("ring", frame)[0], y - place("ring", frame)[1])
        image[(distance > 8.5) & (distance < 32.0)] = np.nan
    return np.full(SHAPE, SKY, np.float32) if frame == CONSTANT else image


def clean(frame: int) -> Any:
    """Pixels of a frame of 2:r."""
    return _sky(frame, 2, dict.fromkeys({*COMPANIONS, "hidden"}, 0.0))


def _header(frame: int, **cards: Any) -> fits.Header:
    common = {"BINNING": "4x4", "GAIN": 1.0, "EXPOSURE": 1.0, "DARKCURR": 0.0, "INSTRUME": "OPTICAM"}
    return fits.Header(common | {"RDNOISE": 1.3, "SATLEVEL": SATURATION} | cards)


def name(camera: str, frame: int) -> str:
    """Name of a file, without the ending."""
    return f"240101{camera[-1]}{frame:09d}o"


def bad_pixels() -> Any:
    """Mask of 1:g, true at one pixel of the star ``bad``."""
    mask = np.zeros(SHAPE, bool)
    mask[pixel("bad", HOT_AT)] = True
    return mask


def write_night(folder: Path) -> None:
    """Write the frames: those of 1:g with fractions of seconds and a pointing, those of 2:r without."""
    for frame in range(N_FRAMES):
        second = DOUBLED if frame == LAST else frame
        if frame != MISSING:
            cards = {
                "FILTER": "g",
                "UT": f"2024-01-01 03:00:{second:02d}.250",
                "RA": "05:34:24",
                "DEC": "22:00:00",
            }
            path = folder / f"{name('1:g', frame)}.fits"
            fits.writeto(path, spoilt(frame), _header(frame, **cards))
            if frame == UNREADABLE:
                _spoil_pixels(path)
        cards = {"FILTER": "r", "UT": f"2024-01-01 03:00:{frame:02d}"}
        fits.writeto(folder / f"{name('2:r', frame)}.fits", clean(frame), _header(frame, **cards))


def _spoil_pixels(path: Path) -> None:
    """Compress a file and zero the second half: its header can be read, its pixels cannot."""
    packed = gzip.compress(path.read_bytes(), 1)
    path.unlink()
    half = len(packed) // 2
    path.with_suffix(".fits.gz").write_bytes(packed[:half] + bytes(len(packed) - half))
