"""What a reduction shows of itself: calibrated cubes, growth curves, noise budgets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from opticam_dask.catalog.growth import SCALES
from opticam_dask.errors import CatalogError
from opticam_dask.plotting.style import save_figure, show_in_notebook
from opticam_dask.stages import CatalogStage, diagnostics, figures, movies
from opticam_dask.stages.gallery import Gallery

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from opticam_dask.catalog.model import CameraCatalog
    from opticam_dask.instrument import Instrument
    from opticam_dask.photometers.base import BasePhotometer
    from opticam_dask.session import Session
    from opticam_dask.workspace import OutputTree


class Inspection(ABC):
    """Part of `Reducer` that looks at frames and catalogues and changes neither."""

    out_directory: Path
    instrument: Instrument
    frames: pd.DataFrame
    show_plots: bool
    _tree: OutputTree
    _stage: CatalogStage
    _catalogs: dict[str, CameraCatalog]
    _run: Session
    _gallery: Gallery

    @abstractmethod
    def say(self, message: str) -> None:
        """Log a message, and print it when verbose."""

    def observation(self) -> xr.DataTree:
        """Open the frames as lazy cubes, calibrated as they are read; see `open_observation`.

        Returns
        -------
        xarray.DataTree
            One node per camera. With ``remove_cosmic_rays`` whole frames are searched, which takes seconds
            for one of 2048 x 2048 pixels.
        """
        from opticam_dask.io.cube import open_observation

        night = open_observation(instrument=self.instrument, frames=self.frames, prepare=self._stage.prepared)
        for node in night.children.values():
            node["image"].attrs["units"] = self._stage.unit
        return night

    def growth_curves(self, scales: Sequence[float] = SCALES) -> pd.DataFrame:
        """Measure how the light of each source grows with the aperture, and draw ``diag/growth_curves.pdf``.

        Parameters
        ----------
        scales : sequence of float
            Semi-axes of the apertures in units of the PSF's FWHM, increasing.

        Returns
        -------
        DataFrame
            ``camera`` and the columns of `opticam_dask.catalog.growth.growth_curves`.

        Raises
        ------
        CatalogError
            If there are no catalogues yet.
        """
        table, figure = diagnostics.growth(self._require_catalogs(), scales)
        self._keep(figure, diagnostics.growth_path(self._tree))
        return table

    def create_gifs(self, most_frames: int = movies.MOST_FRAMES) -> list[Path]:
        """Animate the frames of each camera, the sources marked where the transforms put them.

        Parameters
        ----------
        most_frames : int
            Frames of each animation, evenly spread over the observation.

        Returns
        -------
        list of Path
            ``cat/<camera>_images.gif`` of each camera, ':' as '-'. The colour of the title tells the
            reference frame, aligned ones, and such as could not be aligned. A frame that cannot be read is
            left out.

        Raises
        ------
        CatalogError
            If there are no catalogues yet, or no frame can be read.
        InputError
            If `most_frames` is not positive.
        """
        return movies.gifs(self._stage, self._require_catalogs(), most_frames=most_frames, run=self._run)

    def _draw_catalogs(self) -> None:
        """Begin to draw what the catalogue pass found; photometry goes on meanwhile."""
        figures.of_catalogs(self._gallery, self._stage, self._catalogs)
        figures.of_headers(self._gallery, self._stage)
        self._gallery.show()

    def _draw_photometers(self, photometers: Sequence[BasePhotometer]) -> None:
        """Begin to draw what is known of photometers before they have measured."""
        for photometer in photometers:
            figures.of_photometer(self._gallery, self._stage, self._catalogs, photometer, run=self._run)

    def _draw_light_curves(self, photometers: Sequence[BasePhotometer]) -> None:
        """Draw how well the sources were measured, and wait for all figures."""
        for photometer in photometers if self._gallery.draws else ():
            figures.of_light_curves(self._gallery, self._stage, self._catalogs, photometer, run=self._run)
        self._gallery.finish()

    def noise_budget(self, photometer: BasePhotometer) -> pd.DataFrame:
        """Say where the errors come from in each camera's reference frame.

        Draws ``diag/<label>_noise_budget.pdf``: the terms of the error against flux, and which is largest
        where.

        Parameters
        ----------
        photometer : BasePhotometer
            What measures the sources; its `NoiseBudget` says which terms count.

        Returns
        -------
        DataFrame
            One row per ``camera`` and ``source``: ``flux``, its 1-sigma errors by cause, ``shot_err``,
            ``sky_err``, ``level_err``, ``flat_err`` and ``scintillation_err``, and the whole, ``flux_err``;
            NaN where there is no flux.

        Raises
        ------
        CatalogError
            If there are no catalogues yet.
        """
        catalogs, own = self._require_catalogs(), self._equipped(photometer)
        table, figure = diagnostics.noise(self._stage, catalogs, own, run=self._run, say=self.say)
        self._keep(figure, diagnostics.noise_path(self._tree, own.label))
        return table

    def _keep(self, figure: Figure, path: Path) -> None:
        """Write a figure that was asked for, and show it below the cell that asked."""
        self._gallery.finish()
        save_figure(figure, path)
        if self.show_plots:
            show_in_notebook(figure)

    def _equipped(self, photometer: BasePhotometer) -> BasePhotometer:
        """Photometer whose noise budget knows the telescope."""
        own = copy(photometer)
        own.noise = photometer.noise.for_instrument(self.instrument)
        return own

    def _require_catalogs(self) -> dict[str, CameraCatalog]:
        if not self._catalogs:
            raise CatalogError(
                f"{self.out_directory}: no catalogues of these frames yet; call create_catalogs() first"
            )
        return self._catalogs
