"""The facade: a folder of frames in, catalogues and light curves out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from opticam_dask import config
from opticam_dask.calibration import (
    BiasCorrector,
    CalibrationOptions,
    DarkNoiseCorrector,
    FlatFieldCorrector,
    calibrations_for,
)
from opticam_dask.catalog.build import AlignmentConfig, CameraCatalog
from opticam_dask.cluster_spec import Place
from opticam_dask.errors import InputError
from opticam_dask.inspection import Inspection
from opticam_dask.instrument import OPTICAM_MX, Instrument
from opticam_dask.io.frame_index import write_frames
from opticam_dask.io.scan_report import scan_report
from opticam_dask.observation import DataSource, header_mapper, scan_beside, usable, without_barycentre
from opticam_dask.photometers.base import BasePhotometer
from opticam_dask.runner import place_of
from opticam_dask.session import Session
from opticam_dask.stages import CatalogStage, PhotometryStage
from opticam_dask.stages.coordinates import WcsOption, check_wcs
from opticam_dask.stages.gallery import Gallery
from opticam_dask.tables.light_curves import BlockSummary
from opticam_dask.workspace import Journal, OutputTree, settings_of_results, versions

if TYPE_CHECKING:
    from astropy.coordinates import SkyCoord
    from astropy.table import QTable


class Reducer(Inspection):
    """Reduce the frames of an observation: scan, catalogue, photometry.

    Parameters
    ----------
    out_directory : path
        Where results go; created when missing.
    data_directory : path, glob or sequence of paths
        FITS frames of one or more cameras.
    aperture_selector : callable
        Chooses the PSF's size from the sizes of the stars: a list of sigmas in, one sigma out.
    background : callable, optional
        Two-dimensional background, image -> object with ``background`` and ``background_rms``;
        by default that of `DefaultBackground`, with boxes that suit the frame.
    barycenter : bool
        Whether to compute BMJD; if not, it is NaN and the CSV files hold MJD.
    finder : callable, optional
        Source finder, (image, threshold) -> table; by default `DefaultFinder`.
    instrument : Instrument
        How to read the headers.
    number_of_processors : int, optional
        Worker processes of the local cluster; by default one a core.
    show_plots : bool
        Whether figures appear in a notebook as they are made; they are saved in any case.
    threshold : float
        Detection threshold in units of the background's scatter.
    verbose : bool
        Whether to print progress; ``opticam.log`` gets it in any case.
    cluster : str, ClusterSpec or distributed.Client, optional
        Where to compute: an active `distributed.Client` is used as it is; else ``'local'`` (default),
        ``'threads'``, a batch system such as ``'slurm'``, a scheduler's address, or a scheduler file.
        `ClusterSpec` says more: adaptive numbers of workers, their size, a dashboard, a report.
    target : SkyCoord or str, optional
        Coordinates to barycentre with, such as ``'05:34:31.9 +22:00:52'``; by default the header's pointing.
    wcs : FITS header, astropy WCS, path of a FITS file, or mapping of cameras to these, optional
        World coordinates of the reference frames, for a BMJD of each source's own: light travel times differ
        by up to 0.7 s over 5 arcminutes. By default those in the frames' headers, where there are any;
        sources without coordinates have the BMJD of `target`.
    recursive : bool
        Whether to look into sub-folders of `data_directory`.
    bias_corrector, dark_noise_corrector, flat_corrector : optional
        `BiasCorrector`, `DarkNoiseCorrector` and `FlatFieldCorrector`: where master frames come from.
    bad_pixels : ndarray of bool, path of a FITS file, or mapping of these by camera, optional
        Bad pixels, besides those the masters show: true, or not 0, where bad.
    region_of_interest : ((y0, y1), (x0, x1)), or mapping of these by camera, optional
        Rows and columns to keep; y1 and x1 are not part of them.
    image_filter : callable, optional
        Image in, image of the same shape out: a median over 3 x 3 pixels against warm ones, say.
    rebin_factor : int
        Pixels to add up along each axis.
    remove_cosmic_rays : bool
        Whether each frame is searched for cosmic rays; their pixels are left out and flagged.
    electrons : bool
        Whether fluxes are in electrons, by the gain, instead of adu.
    figures : bool, optional
        Whether to draw figures of frames, catalogues and light curves into ``diag``; by default the engine
        setting of this name says, which is true.

    Raises
    ------
    InputError
        If there is no usable frame, no master frame that fits a camera, or `out_directory` cannot be
        written to.
    """

    def __init__(
        self,
        out_directory: Path | str,
        data_directory: DataSource,
        *,
        aperture_selector: Callable[..., Any] = np.median,
        background: Callable[..., Any] | None = None,
        barycenter: bool = True,
        finder: Callable[..., Any] | None = None,
        instrument: Instrument = OPTICAM_MX,
        number_of_processors: int | None = None,
        show_plots: bool = True,
        threshold: float = 5.0,
        verbose: bool = True,
        cluster: Place = None,
        target: SkyCoord | str | None = None,
        wcs: WcsOption = None,
        recursive: bool = False,
        bias_corrector: BiasCorrector | None = None,
        dark_noise_corrector: DarkNoiseCorrector | None = None,
        flat_corrector: FlatFieldCorrector | None = None,
        bad_pixels: Any = None,
        region_of_interest: Any = None,
        image_filter: Callable[..., Any] | None = None,
        rebin_factor: int = 1,
        remove_cosmic_rays: bool = False,
        electrons: bool = False,
        figures: bool | None = None,
    ) -> None:
        if not threshold > 0:
            raise InputError(f"threshold must be positive, not {threshold}")
        if number_of_processors is not None and number_of_processors < 1:
            raise InputError(f"number_of_processors must be at least 1, not {number_of_processors}")
        calibration = CalibrationOptions(
            bias_corrector=bias_corrector,
            dark_noise_corrector=dark_noise_corrector,
            flat_corrector=flat_corrector,
            bad_pixels=bad_pixels,
            region_of_interest=region_of_interest,
            image_filter=image_filter,
            rebin_factor=rebin_factor,
            remove_cosmic_rays=remove_cosmic_rays,
            electrons=electrons,
        )
        self.out_directory = Path(out_directory)
        self.data_directory = data_directory
        self.instrument = instrument
        self.verbose = verbose
        self.show_plots = show_plots
        self._tree = OutputTree(out_directory)
        self._journal = Journal(self._tree, verbose=verbose)
        self._place = place_of(cluster)
        self._settings = {
            "data_directory": str(data_directory),
            "instrument": instrument.to_dict(),
            "barycenter": barycenter,
            "target": None if target is None else str(target),
            "recursive": recursive,
        }
        self._run = Session(cluster, n_workers=number_of_processors, progress=verbose)
        self._scan(recursive=recursive, target=target, barycenter=barycenter)
        self._stage = CatalogStage(
            tree=self._tree,
            frames=usable(self.frames, data_directory),
            aperture_selector=aperture_selector,
            background=background,
            finder=finder,
            threshold=threshold,
            instrument=instrument,
            barycenter=barycenter,
            wcs=wcs,
        )
        self._stage.calibrations = calibrations_for(
            self._stage.frames, calibration, run=self._run, say=self.say
        )
        check_wcs(wcs, sorted(self._stage.cameras()))
        self._gallery = Gallery(
            self.say, show=show_plots, draw=config.figures() if figures is None else figures
        )
        self._catalogs: dict[str, CameraCatalog] = self._stage.known(self.say)
        if not self._stage.is_made:
            self._begin()

    def _scan(self, *, recursive: bool, target: SkyCoord | str | None, barycenter: bool) -> None:
        self._index = scan_beside(
            self.data_directory,
            self._tree,
            instrument=self.instrument,
            recursive=recursive,
            target=target,
            map_headers=self._map_headers,
        )
        self.frames = self._index if barycenter else without_barycentre(self._index)
        self.say(scan_report(self.frames))

    def _map_headers(self, func: Callable[..., Any], batches: Sequence[Any]) -> list[Any]:
        """Read headers; there are new frames, so that what follows needs the cluster."""
        self._run.begin()
        return header_mapper(self._run)(func, batches)

    def _begin(self) -> None:
        """Write the frame index, the log and the settings: what is asked is sure not to be refused."""
        if not self._journal.is_open:
            write_frames(self._index, self._tree.frames)
            self._journal.open()
            self._record()

    def _record(self) -> None:
        config = {**self._settings, **self._stage.settings(), **settings_of_results(self._tree)}
        self._tree.record(self._tree.misc / "reduction_parameters.json", config)
        self._tree.record(
            self._tree.root / "provenance.json",
            {
                "versions": versions(),
                "command": sys.argv,
                "cluster": self._place,
                "config": config,
            },
        )

    def say(self, message: str) -> None:
        """Log a message, and print it when verbose."""
        self._journal.say(message)

    @property
    def catalogs(self) -> dict[str, QTable]:
        """Source catalogue of each camera."""
        return {camera: catalog.table for camera, catalog in self._catalogs.items()}

    @property
    def psf_params(self) -> dict[str, dict[str, float]]:
        """PSF of each camera: semimajor_sigma and semiminor_sigma [pixel], orientation [degrees]."""
        return {
            camera: {
                "semimajor_sigma": catalog.psf.semimajor_sigma,
                "semiminor_sigma": catalog.psf.semiminor_sigma,
                "orientation": catalog.psf.orientation,
            }
            for camera, catalog in self._catalogs.items()
        }

    def create_catalogs(
        self,
        max_catalog_sources: int = 15,
        n_alignment_sources: int = 15,
        transform_type: Literal["affine", "translation"] = "affine",
        rotation_limit: float | None = None,
        translation_limit: float | Sequence[float] | None = None,
        scale_limit: float | None = None,
        overwrite: bool = False,
    ) -> None:
        """Align and stack the frames of each camera, and catalogue the sources of the stack.

        Parameters
        ----------
        max_catalog_sources : int
            Brightest sources to keep.
        n_alignment_sources : int
            Brightest stars to align with.
        transform_type : {'affine', 'translation'}
            ``'affine'`` fits shift, rotation and scale; ``'translation'`` a shift, and works with one star.
        rotation_limit : float, optional
            Largest rotation a frame may have [degrees].
        translation_limit : float or pair of float, optional
            Largest shift a frame may have [pixel], along both axes or each.
        scale_limit : float, optional
            Largest departure of the scale from one.
        overwrite : bool
            Whether to replace catalogues made with other settings.

        Raises
        ------
        CatalogError
            If no camera gives a catalogue.
        SettingsChangedError
            If catalogues made with other settings exist and `overwrite` is false.
        """
        config = AlignmentConfig(
            max_catalog_sources=max_catalog_sources,
            n_alignment_sources=n_alignment_sources,
            transform_type=transform_type,
            rotation_limit=rotation_limit,
            translation_limit=translation_limit,
            scale_limit=scale_limit,
        )
        if not self._stage.is_made_with(config, overwrite=overwrite):
            self._begin()
        self._catalogs = self._stage.create(config, run=self._run, say=self.say, overwrite=overwrite)
        if self._journal.is_open:
            self._record()
        self._draw_catalogs()

    def photometry(
        self,
        photometer: BasePhotometer | Sequence[BasePhotometer],
        *,
        overwrite: bool = False,
        export_csv: bool = True,
    ) -> pd.DataFrame:
        """Measure every catalogued source in every frame and write the light curves.

        Parameters
        ----------
        photometer : BasePhotometer or sequence of BasePhotometer
            `OptimalPhotometer`, `AperturePhotometer`, or one's own. Several, such as apertures of several
            radii, share one pass over the pixels; each has a label of its own.
        overwrite : bool
            Whether to replace light curves made with other settings.
        export_csv : bool
            Whether to write ``lcs/<label>/<camera>_source_<id>.csv`` too.

        Returns
        -------
        DataFrame
            One row per label and block of frames: rows written, rows with a flux, seconds, unreadable frames.

        Raises
        ------
        CatalogError
            If there are no catalogues yet.
        InputError
            If two photometers have one label.
        SettingsChangedError
            If light curves made with other settings exist and `overwrite` is false.
        """
        catalogs = self._require_catalogs()
        given = [photometer] if isinstance(photometer, BasePhotometer) else list(photometer)
        photometers = [self._equipped(each) for each in given]
        stage = PhotometryStage(self._stage, catalogs, photometers)
        stage.check(overwrite=overwrite)
        self._begin()
        summaries = stage.measure(
            run=self._run,
            say=self.say,
            overwrite=overwrite,
            meanwhile=lambda: self._draw_photometers(photometers),
        )
        self._record()
        if export_csv:
            stage.export(run=self._run, say=self.say, measured=summaries)
        self._draw_light_curves(photometers)
        return pd.DataFrame(summaries, columns=list(BlockSummary.__dataclass_fields__))

    def close(self) -> None:
        """Finish the figures and stop the cluster this reducer started; results stay where they are."""
        self._gallery.finish()
        self._run.close()

    def __enter__(self) -> Reducer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._gallery.drop()
        self.close()
