"""Figures of a reduction and the tables behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from opticam_dask.catalog.frame_psf import frame_psfs
from opticam_dask.catalog.growth import SCALES, growth_curves
from opticam_dask.plotting.growth import growth_figure
from opticam_dask.plotting.noise import noise_figure
from opticam_dask.stages.corrections import corrections
from opticam_dask.stages.light_curve_set import LightCurveSet
from opticam_dask.stages.noise import is_reference, noise_of_frame, reference_exposure, table_of
from opticam_dask.stages.profiles import moffat_psfs

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

    from opticam_dask.catalog.model import CameraCatalog
    from opticam_dask.photometers.base import BasePhotometer
    from opticam_dask.stages.catalog import CatalogStage, Run, Say
    from opticam_dask.workspace import OutputTree


def growth(
    catalogs: Mapping[str, CameraCatalog], scales: Sequence[float] = SCALES
) -> tuple[pd.DataFrame, Figure]:
    """Growth curves of all cameras, and their figure."""
    curves = {camera: growth_curves(catalog, scales) for camera, catalog in catalogs.items()}
    table = pd.concat([rows.assign(camera=camera) for camera, rows in curves.items()], ignore_index=True)
    return table, growth_figure(curves)


def noise(
    stage: CatalogStage,
    catalogs: Mapping[str, CameraCatalog],
    photometer: BasePhotometer,
    *,
    run: Run,
    say: Say,
) -> tuple[pd.DataFrame, Figure]:
    """Noise budgets of all cameras' reference frames, and their figure."""
    moffat = moffat_psfs(stage, catalogs, [photometer], run=run, say=say)
    of_label = LightCurveSet(stage.tree, photometer)
    jobs = {camera: of_label.job(catalog, moffat.get(camera)) for camera, catalog in catalogs.items()}
    factors = {}
    if photometer.corrects_by_measurement:
        factors = corrections(of_label.folder, stage, catalogs, jobs, run=run, say=say)
    budgets = {}
    for camera, catalog in catalogs.items():
        job = jobs[camera]
        own = frame_psfs(catalog.alignment, catalog.psf)[is_reference(catalog)][0]
        exposure = reference_exposure(catalog, stage)
        budget = noise_of_frame(exposure, catalog, job.psf_of(own), photometer)
        budgets[camera] = budget.scaled(factors.get(camera, 1.0))
    tables = [table_of(camera, catalogs[camera], budget) for camera, budget in budgets.items()]
    figure = noise_figure(budgets, title=photometer.label, unit=stage.unit)
    return pd.concat(tables, ignore_index=True), figure


def growth_path(tree: OutputTree) -> Path:
    """Where the figure of the growth curves is."""
    return tree.diag / "growth_curves.pdf"


def noise_path(tree: OutputTree, label: str) -> Path:
    """Where the figure of a photometer's noise budgets is."""
    return tree.diag / f"{label}_noise_budget.pdf"
