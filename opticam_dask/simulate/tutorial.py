"""The tutorial's scene: six stars in three bands, one of them variable."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np

from opticam_dask.errors import InputError
from opticam_dask.progress import progress_bar
from opticam_dask.simulate.observations import simulate_flats
from opticam_dask.simulate.parts import CameraSetup, Variable
from opticam_dask.simulate.progress import simulate_with_bar, updater
from opticam_dask.simulate.scene import Scene

SEED = 123
N_STARS = 6
DETECTOR_SIDE = 2048
REFERENCE_BINNING = 4
BORDER = 128.0
"""Least distance of a star from the edge [unbinned pixel]."""

SIGMA = 6.0
"""Sigma of the PSF [unbinned pixel]."""

JITTER = 4.0
"""Scatter of the pointing per axis [unbinned pixel]."""

FILTERS = ("g", "r", "i")
VARIABLE_STAR = 2
RMS = 0.02
FREQUENCY_HZ = 0.135
LAGS = (0.0, math.pi / 2, math.pi)
QUANTUM = 1 / 64
"""Pixels are kept to this fraction of a count, 1/640 of the noise: files shrink to less than a third."""

GAP_START, GAP_CONTINUE = 0.02, 0.95
_OBSERVING = "[OPTICAM] Generating observations"


def tutorial_scene(
    n_images: int = 100, circular_aperture: bool = True, binning_scale: int = 4, *, gappy: bool = False
) -> Scene:
    """Scene of the tutorial.

    At a binning of 4 the six stars total 8461 to 1636 counts over a sky of 100 +- 10 per pixel.
    At a finer binning the same light would spread below the noise, so totals grow as the number
    of pixels: a star's peak is the same at 1x1, 2x2 and 4x4. At a coarser one totals stay.

    Parameters
    ----------
    n_images : int
        Exposures per camera.
    circular_aperture : bool
        Shadow outside a circle.
    binning_scale : int
        Binning; the frames have 2048 // binning_scale rows and columns.
    gappy : bool
        Lose exposures at random, in runs.

    Raises
    ------
    InputError
        If a value makes no sense.
    """
    if isinstance(binning_scale, bool) or not isinstance(binning_scale, int) or not 1 <= binning_scale <= 64:
        raise InputError(f"binning_scale must be a whole number from 1 to 64, not {binning_scale!r}")
    side = DETECTOR_SIDE // binning_scale
    # The sine's time runs with the starts of the exposures, that of Variable with their middles.
    to_middle = math.pi * FREQUENCY_HZ
    return Scene(
        seed=SEED,
        n_frames=n_images,
        cameras=tuple(CameraSetup(filter=name) for name in FILTERS),
        shape=(side, side),
        binning=binning_scale,
        stars=_stars(binning_scale),
        profile="sampled-gaussian",
        semimajor_sigma=SIGMA / binning_scale,
        semiminor_sigma=SIGMA / binning_scale,
        read_noise=0.0,
        noise="gaussian",
        jitter_px=JITTER / binning_scale,
        gap_start=GAP_START if gappy else 0.0,
        gap_continue=GAP_CONTINUE if gappy else 0.0,
        variables=(
            Variable(
                star=VARIABLE_STAR,
                amplitude=RMS * math.sqrt(2.0),
                frequency_hz=FREQUENCY_HZ,
                phase_rad=tuple(lag - to_middle for lag in LAGS),
            ),
        ),
        circular_aperture=circular_aperture,
        dtype="float64",
        quantum=QUANTUM,
        header_style="plain",
    )


def generate_observations(
    out_directory: str | Path,
    n_images: int = 100,
    circular_aperture: bool = True,
    binning_scale: int = 4,
    overwrite: bool = False,
) -> None:
    """Simulate the tutorial's observations: three cameras, one image per second.

    Parameters
    ----------
    out_directory : str or Path
        Folder for the images and their ``truth.parquet``.
    n_images : int
        Images per camera.
    circular_aperture : bool
        Shadow outside a circle; `generate_flats` makes the flats to correct it.
    binning_scale : int
        Binning.
    overwrite : bool
        Make images again that are there already, or were made with other settings.

    Raises
    ------
    InputError
        If a value makes no sense, or the folder holds images made with other settings.
    """
    scene = tutorial_scene(n_images, circular_aperture, binning_scale)
    _describe(scene)
    simulate_with_bar(scene, out_directory, overwrite=overwrite, title=_OBSERVING)


def generate_gappy_observations(
    out_directory: str | Path,
    n_images: int = 1000,
    circular_aperture: bool = True,
    binning_scale: int = 4,
    overwrite: bool = False,
) -> None:
    """Simulate the tutorial's observations with gaps common to all cameras.

    Parameters and errors are those of `generate_observations`; ``n_images`` counts lost ones too.
    """
    scene = tutorial_scene(n_images, circular_aperture, binning_scale, gappy=True)
    _describe(scene)
    simulate_with_bar(scene, out_directory, overwrite=overwrite, title=_OBSERVING)


def generate_flats(
    out_directory: str | Path,
    n_flats: int = 5,
    binning_scale: int = 4,
    overwrite: bool = False,
) -> None:
    """Simulate sky flats with the circular shadow of `generate_observations`.

    Parameters
    ----------
    out_directory : str or Path
        Folder for ``<filter>-band_image_<i>.fits.gz``.
    n_flats : int
        Flats per camera.
    binning_scale : int
        Binning.
    overwrite : bool
        Make flats again that are there already.

    Raises
    ------
    InputError
        If a value makes no sense or the folder cannot be used.
    """
    scene = tutorial_scene(1, True, binning_scale)
    total = n_flats * len(FILTERS)
    with progress_bar(total, "[OPTICAM] Generating flats", "image", leave=True) as bar:
        simulate_flats(scene, out_directory, n_flats=n_flats, overwrite=overwrite, progress=updater(bar))


def _stars(binning: int) -> tuple[tuple[float, float, float], ...]:
    rng = np.random.default_rng(SEED)
    low, high = BORDER, DETECTOR_SIDE - BORDER
    xy = rng.uniform(low / REFERENCE_BINNING, high / REFERENCE_BINNING, (N_STARS, 2))
    xy *= REFERENCE_BINNING / binning
    totals = np.sort(np.round(10.0 ** (3.0 + rng.random(N_STARS))))[::-1]
    totals = totals * max(1.0, (REFERENCE_BINNING / binning) ** 2)
    return tuple((float(x), float(y), float(total)) for (x, y), total in zip(xy, totals, strict=True))


def _describe(scene: Scene) -> None:
    x, y, _ = (scene.stars or ())[VARIABLE_STAR - 1]
    _say(f"variable source is at ({x:.0f}, {y:.0f})")
    _say(f"variability RMS: {RMS:g} (fraction)")
    _say(f"variability frequency: {FREQUENCY_HZ:g} Hz")
    _say("variability phase lags:")
    for name, lag in zip(FILTERS, LAGS, strict=True):
        _say(f"    {name}-band: {lag:.3f} radians")


def _say(text: str) -> None:
    sys.stdout.write(f"[OPTICAM] {text}\n")
