"""Measured aperture correction: bright stars in a large aperture, over what a photometer makes of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from opticam_dask.catalog.bright import ClearFrames, clear_frames, isolated_sources
from opticam_dask.catalog.frame_psf import frame_psfs
from opticam_dask.errors import CatalogError, FrameReadError
from opticam_dask.kernels.transform import apply
from opticam_dask.lazy.chunks import map_blocks_of_frames
from opticam_dask.photometers.aperture import AperturePhotometer
from opticam_dask.photometers.local_background import DefaultLocalBackground
from opticam_dask.schema import Flag
from opticam_dask.tables.atomic import write_text
from opticam_dask.tables.digest import digest, read_settings
from opticam_dask.types import FWHM_PER_SIGMA, XY

if TYPE_CHECKING:
    from pathlib import Path

    from opticam_dask.catalog.model import CameraCatalog
    from opticam_dask.io.blocks import FrameBlock
    from opticam_dask.photometers.base import BasePhotometer
    from opticam_dask.stages.catalog import CatalogStage, Run, Say
    from opticam_dask.tables.light_curves import PhotometryJob

LARGE = 4.0
"""Semi-axes of the large aperture [FWHM]."""
SKY = (4.5, 6.0)
"""Its annulus of sky [FWHM]."""
N_STARS = 8
_GOOD_SNR = 30.0  # of a star in the large aperture
_CLIP = 4.0  # robust standard deviations
_SPOILT = int(
    Flag.EDGE
    | Flag.SATURATED
    | Flag.NON_FINITE
    | Flag.COSMIC_RAY
    | Flag.NOT_MATCHED
    | (Flag.NOT_ALIGNED | Flag.FIT_FAILED)
)


@dataclass(frozen=True)
class Correction:
    """Factor from a photometer's fluxes to those in a large aperture, its error, and on how many it rests."""

    factor: float
    error: float
    n: int


@dataclass(frozen=True, eq=False)
class _Plan:
    frames: ClearFrames
    xy: XY
    stars: NDArray[np.intp]
    shapes: NDArray[np.float64]
    job: PhotometryJob
    hot: NDArray[np.int64]


def corrections(
    folder: Path,
    stage: CatalogStage,
    catalogs: Mapping[str, CameraCatalog],
    jobs: Mapping[str, PhotometryJob],
    *,
    run: Run,
    say: Say,
) -> dict[str, float]:
    """Aperture correction of each camera, measured or read back from ``aperture_correction.json``.

    Parameters
    ----------
    folder : Path
        Folder of the label.
    stage : CatalogStage
        Frames.
    catalogs, jobs : mapping
        By camera.
    run, say : callable
        Computes tasks; tells the user a line.

    Raises
    ------
    CatalogError
        If a camera has no bright, isolated star.
    """
    path = folder / "aperture_correction.json"
    known = read_settings(path) or {}
    for camera, job in jobs.items():
        settings = job.photometer.load().settings()
        made_of = digest({"catalog": catalogs[camera].digest(), "photometer": settings})
        if known.get(camera, {}).get("made_of") == made_of:
            continue
        found = measure_correction(stage.blocks(camera), catalogs[camera], job, run=run)
        known[camera] = {**asdict(found), "made_of": made_of}
        say(
            f"{camera}: {job.label}: aperture correction {found.factor:.4f} +- {found.error:.4f} "
            f"from {found.n} measurements of bright stars"
        )
    write_text(path, json.dumps(known, indent=2, sort_keys=True) + "\n")
    return {camera: float(known[camera]["factor"]) for camera in jobs}


def measure_correction(
    blocks: list[FrameBlock], catalog: CameraCatalog, job: PhotometryJob, *, run: Run
) -> Correction:
    """Measure bright, isolated stars on some clear frames in a large aperture and with a photometer.

    Parameters
    ----------
    blocks : list of FrameBlock
        Frames of the camera.
    catalog : CameraCatalog
        Sources and transforms.
    job : PhotometryJob
        The photometer and its PSF.
    run : callable
        Computes a dask array of objects and returns them in order.

    Returns
    -------
    Correction
        Mean ratio, weighted by inverse variances, outliers left out.

    Raises
    ------
    CatalogError
        If there is no bright, isolated star.
    """
    frames = clear_frames(blocks, catalog)
    ordered = catalog.alignment.sort_values(["night", "frame"], ignore_index=True)
    shapes = frame_psfs(ordered, catalog.psf)[frames.row]
    plan = _Plan(frames, catalog.xy, isolated_sources(catalog)[:N_STARS], shapes, job, catalog.hot)
    tasks = map_blocks_of_frames(_ratios, frames.blocks, plan)
    parts = run(tasks, f"{catalog.camera}: aperture correction") if frames.blocks else []
    ratio, error = np.concatenate([np.empty((0, 2)), *parts]).T
    if not ratio.size:
        raise CatalogError(
            f"camera {catalog.camera}: no aperture correction, for no frame shows an isolated, unsaturated "
            "star that is bright enough; use aperture_correction='profile'"
        )
    return _mean(ratio, error)


def _mean(ratio: NDArray[np.float64], error: NDArray[np.float64]) -> Correction:
    middle = np.median(ratio)
    width = 1.4826 * np.median(np.abs(ratio - middle))
    good = np.abs(ratio - middle) <= _CLIP * max(width, float(np.median(error)))
    weight = 1.0 / error[good] ** 2
    factor = float((weight * ratio[good]).sum() / weight.sum())
    return Correction(factor, float(weight.sum() ** -0.5), int(good.sum()))


def _ratios(block: FrameBlock, plan: _Plan) -> NDArray[np.float64]:
    """Ratios of fluxes and their errors, shape (n, 2), of the stars of a (small) block."""
    parts = [np.empty((0, 2))]
    where = plan.frames.index_of(block)
    for i, frame in block.exposures():
        if not isinstance(frame, FrameReadError):
            parts.append(_ratios_of_frame(frame, int(where[i]), plan))
    return np.concatenate(parts)


def _ratios_of_frame(frame: Any, number: int, plan: _Plan) -> NDArray[np.float64]:
    psf = plan.job.psf_of(plan.shapes[number])
    photometer: BasePhotometer = plan.job.photometer.load()
    places = apply(plan.frames.affine[number], plan.xy)
    small = photometer.measure(frame, places, psf, hot=plan.hot)[plan.stars]
    inner, outer = (scale * FWHM_PER_SIGMA for scale in SKY)
    sky = DefaultLocalBackground(inner, outer)
    wide = AperturePhotometer(
        forced=True, aperture_correction=False, scale=LARGE, local_background_estimator=sky
    )
    centres = np.column_stack([small["x"], small["y"]])
    large = wide.measure(frame, centres, psf, hot=plan.hot)
    with np.errstate(invalid="ignore", divide="ignore"):
        good = ((small["flags"] | large["flags"]) & _SPOILT) == 0
        good &= (small["flux"] > 0) & (large["flux"] > _GOOD_SNR * large["flux_err"])
        found = np.column_stack([large["flux"] / small["flux"], large["flux_err"] / small["flux"]])
    return np.asarray(found[good])
