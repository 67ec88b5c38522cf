"""Which figures a reduction draws of itself, and from which tables."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from opticam_dask.catalog.alignment import AFFINE_COLUMNS
from opticam_dask.catalog.background import MeshBackground
from opticam_dask.catalog.frame_psf import frame_psfs
from opticam_dask.kernels.background import as_pixels, default_box_size
from opticam_dask.kernels.transform import apply
from opticam_dask.lazy.chunks import map_blocks_of_frames
from opticam_dask.photometers.aperture import AperturePhotometer
from opticam_dask.photometers.local_background import BaseLocalBackground
from opticam_dask.plotting.apertures import Measured, Outline, apertures_figure
from opticam_dask.plotting.catalogs import catalogs_figure
from opticam_dask.plotting.frame_quality import over_time_figure
from opticam_dask.plotting.header_times import header_times_figure
from opticam_dask.plotting.meshes import Mesh, background_meshes_figure
from opticam_dask.plotting.psfs import psfs_figure
from opticam_dask.plotting.source_quality import rms_figure, snr_figure
from opticam_dask.stages import diagnostics
from opticam_dask.stages.light_curve_set import LightCurveSet
from opticam_dask.stages.noise import is_reference, reference_exposure
from opticam_dask.stages.profiles import moffat_psfs
from opticam_dask.tables.quality import frame_quality
from opticam_dask.tables.source_quality import source_quality

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from opticam_dask.catalog.model import CameraCatalog
    from opticam_dask.photometers.base import BasePhotometer
    from opticam_dask.stages.catalog import CatalogStage, Run
    from opticam_dask.stages.gallery import Gallery
    from opticam_dask.types import PsfModel

_SOURCES_PER_TASK = 8  # bounds the memory for their rows


def of_headers(gallery: Gallery, stage: CatalogStage) -> None:
    """Draw ``diag/header_times.pdf``."""
    tree = stage.tree
    # The catalogues are made anew whenever frames come or go.
    made = [tree.cat / "settings.json"]
    gallery.add(tree.diag / "header_times.pdf", lambda: header_times_figure(stage.cameras()), made)


def of_catalogs(gallery: Gallery, stage: CatalogStage, catalogs: Mapping[str, CameraCatalog]) -> None:
    """Draw ``cat/catalogs.pdf``, and into ``diag`` the sky, seeing, PSFs, meshes and growth curves."""
    tree = stage.tree
    made = [tree.alignment, tree.cat / "settings.json"]
    shown = {camera: (c.stacked_image, c.xy, c.psf) for camera, c in catalogs.items()}
    gallery.add(tree.cat / "catalogs.pdf", lambda: catalogs_figure(shown), made, always=True)
    sky, seeing = ("background", "background_rms"), ("fwhm", "transparency")
    gallery.add(tree.diag / "background.pdf", partial(_over_time, stage, sky), made)
    gallery.add(tree.diag / "seeing.pdf", partial(_over_time, stage, seeing), made)
    gallery.add(tree.diag / "psfs.pdf", lambda: psfs_figure(shown), made)
    gallery.add(tree.diag / "background_meshes.pdf", lambda: _meshes(stage, catalogs), made)
    gallery.add(diagnostics.growth_path(tree), lambda: diagnostics.growth(catalogs)[1], made, aside=True)


def of_photometer(
    gallery: Gallery,
    stage: CatalogStage,
    catalogs: Mapping[str, CameraCatalog],
    photometer: BasePhotometer,
    *,
    run: Run,
) -> None:
    """Draw ``<label>_apertures.pdf`` and ``<label>_noise_budget.pdf`` into ``diag``."""
    tree, label = stage.tree, photometer.label
    made = [LightCurveSet(tree, photometer).recorded]
    apertures, noise = tree.diag / f"{label}_apertures.pdf", diagnostics.noise_path(tree, label)
    gallery.add(apertures, lambda: _apertures(stage, catalogs, photometer, run=run), made)
    budget = partial(diagnostics.noise, stage, catalogs, photometer, run=run, say=lambda _: None)
    gallery.add(noise, lambda: budget()[1], made, aside=True)


def of_light_curves(
    gallery: Gallery,
    stage: CatalogStage,
    catalogs: Mapping[str, CameraCatalog],
    photometer: BasePhotometer,
    *,
    run: Run,
) -> None:
    """Draw ``<label>_snr.pdf`` and ``<label>_rms_vs_median.pdf`` into ``diag``."""
    diag, label = stage.tree.diag, photometer.label
    snr, rms = diag / f"{label}_snr.pdf", diag / f"{label}_rms_vs_median.pdf"
    parts = list(LightCurveSet(stage.tree, photometer).root.rglob("*.parquet"))
    if gallery.wants(snr, parts) or gallery.wants(rms, parts):
        quality = quality_of_sources(stage, catalogs, photometer, run=run)
        gallery.add(snr, lambda: snr_figure(quality, title=label, unit=stage.unit), parts)
        gallery.add(rms, lambda: rms_figure(quality, title=label, unit=stage.unit), parts)


def quality_of_sources(
    stage: CatalogStage, catalogs: Mapping[str, CameraCatalog], photometer: BasePhotometer, *, run: Run
) -> dict[str, pd.DataFrame]:
    """Sum up the light curves of all sources on the cluster; see `tables.source_quality`."""
    root = LightCurveSet(stage.tree, photometer).root.resolve()
    jobs = [
        (camera, sources[start : start + _SOURCES_PER_TASK])
        for camera, sources in ((c, k.table["source"].tolist()) for c, k in catalogs.items())
        for start in range(0, len(sources), _SOURCES_PER_TASK)
    ]
    tables = run(map_blocks_of_frames(_quality, jobs, root), "summing up light curves")
    whole: pd.DataFrame = pd.concat(tables, ignore_index=True)
    return {str(camera): rows for camera, rows in whole.groupby("camera")}


def _quality(job: tuple[str, list[int]], root: Path) -> pd.DataFrame:
    return source_quality(root, *job)


def _psfs(
    stage: CatalogStage, catalogs: Mapping[str, CameraCatalog], photometer: BasePhotometer, *, run: Run
) -> dict[str, PsfModel]:
    """PSF that the photometer works with in each camera's reference frame."""
    moffat = moffat_psfs(stage, catalogs, [photometer], run=run, say=lambda _: None)
    found = {}
    for camera, catalog in catalogs.items():
        job = LightCurveSet(stage.tree, photometer).job(catalog, moffat.get(camera))
        found[camera] = job.psf_of(frame_psfs(catalog.alignment, catalog.psf)[is_reference(catalog)][0])
    return found


def _over_time(stage: CatalogStage, columns: tuple[str, ...]) -> Figure:
    quality = frame_quality(stage.tree.root)
    cameras = {str(camera): rows for camera, rows in quality.groupby("camera")}
    return over_time_figure(cameras, columns, unit=stage.unit)


def _meshes(stage: CatalogStage, catalogs: Mapping[str, CameraCatalog]) -> Figure:
    meshes = {}
    for camera, catalog in catalogs.items():
        image = as_pixels(reference_exposure(catalog, stage).image)
        box = default_box_size(image.shape[1], catalog.psf.semimajor_sigma)
        background = stage.background or MeshBackground(box)
        rows, columns = np.broadcast_to(getattr(background, "box_size", box), 2).tolist()
        meshes[camera] = Mesh(image, np.asarray(background(image).background), (rows, columns))
    return background_meshes_figure(meshes, unit=stage.unit)


def _apertures(
    stage: CatalogStage,
    catalogs: Mapping[str, CameraCatalog],
    how: BasePhotometer,
    *,
    run: Run,
) -> Figure:
    """Draw the reference frames with what the photometer measures around their sources."""
    measured, psfs = {}, _psfs(stage, catalogs, how, run=run)
    for camera, catalog in catalogs.items():
        image = reference_exposure(catalog, stage).image
        xy = apply(transforms_of(catalog.alignment)[is_reference(catalog)][0], catalog.xy)
        measured[camera] = Measured(image, xy, *_outlines(psfs[camera], how))
    return apertures_figure(measured, title=how.label)


def _outlines(psf: PsfModel, how: BasePhotometer) -> tuple[tuple[Outline, ...], tuple[Outline, ...]]:
    """Aperture of a photometer (of a profile, its ellipse of one FWHM), and its annulus if it has one."""
    reach = how.reach(psf)
    kind = "aperture" if isinstance(how, AperturePhotometer) else "one FWHM of the profile"
    angle = float(np.degrees(reach.orientation_rad))
    aperture = Outline(reach.semimajor, reach.semiminor, angle, kind)
    sky = how.local_background_estimator
    if not isinstance(sky, BaseLocalBackground):
        return (aperture,), ()
    scales = (sky.r_in_scale, sky.r_out_scale)
    axes = [(scale * psf.semimajor_sigma, scale * psf.semiminor_sigma) for scale in scales]
    return (aperture,), tuple(Outline(*pair, psf.orientation, "sky annulus") for pair in axes)


def transforms_of(alignment: pd.DataFrame) -> NDArray[np.float64]:
    """Stack the transforms of an alignment table, shape (n, 2, 3)."""
    return alignment[list(AFFINE_COLUMNS)].to_numpy(np.float64).reshape(-1, 2, 3)
