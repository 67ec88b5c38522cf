"""Figures of a reduction and the tables behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from opticam_dask.catalog.growth import growth_curves
from opticam_dask.plotting.growth import growth_figure
from opticam_dask.plotting.noise import noise_figure
from opticam_dask.plotting.style import save_figure, show_in_notebook
from opticam_dask.stages.noise import noise_of_frame, reference_exposure, table_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from opticam_dask.catalog.model import CameraCatalog
    from opticam_dask.photometers.base import BasePhotometer
    from opticam_dask.stages.catalog import CatalogStage
    from opticam_dask.workspace import OutputTree


def growth(
    tree: OutputTree, catalogs: Mapping[str, CameraCatalog], scales: Sequence[float], *, show: bool
) -> pd.DataFrame:
    """Growth curves of all cameras, drawn into ``diag/growth_curves.pdf``."""
    curves = {camera: growth_curves(catalog, scales) for camera, catalog in catalogs.items()}
    _keep(growth_figure(curves), tree, "growth_curves", show=show)
    return pd.concat([rows.assign(camera=camera) for camera, rows in curves.items()], ignore_index=True)


def noise(
    tree: OutputTree,
    stage: CatalogStage,
    catalogs: Mapping[str, CameraCatalog],
    photometer: BasePhotometer,
    *,
    show: bool,
) -> pd.DataFrame:
    """Noise budgets of all cameras' reference frames, drawn into ``diag/<label>_noise_budget.pdf``."""
    budgets = {
        camera: noise_of_frame(reference_exposure(catalog, stage), catalog, photometer)
        for camera, catalog in catalogs.items()
    }
    figure = noise_figure(budgets, title=photometer.label, unit=stage.unit)
    _keep(figure, tree, f"{photometer.label}_noise_budget", show=show)
    tables = [table_of(camera, catalogs[camera], budget) for camera, budget in budgets.items()]
    return pd.concat(tables, ignore_index=True)


def _keep(figure: Figure, tree: OutputTree, name: str, *, show: bool) -> None:
    save_figure(figure, tree.diag / f"{name}.pdf")
    if show:
        show_in_notebook(figure)
