"""What users make masters with: correctors of bias, dark and flat field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opticam_dask.calibration.build import Recipe
from opticam_dask.calibration.corrector import (
    CLIP_SIGMA,
    Corrector,
    detector_of,
    flat_pedestal,
    pedestal_of,
    run_on_client,
)
from opticam_dask.calibration.frames import FrameSet, Run, Say
from opticam_dask.calibration.masters import MasterRef
from opticam_dask.calibration.pedestal import Pedestal
from opticam_dask.errors import InputError
from opticam_dask.instrument import OPTICAM_MX, Instrument
from opticam_dask.io.frame_files import Source
from opticam_dask.types import Image


class BiasCorrector(Corrector):
    """Subtracts a master bias.

    Masters are per arm and binning, whatever the filter.

    Parameters
    ----------
    out_directory : path
        Masters are kept in its folder ``cal``.
    biases_directory : path, pattern or list of paths, optional
        Bias frames of all cameras.
    c1_biases_directory, c2_biases_directory, c3_biases_directory : path, pattern or list of paths, optional
        Bias frames of one camera each, whatever their headers say.
    instrument : Instrument
        How to read the headers.
    recursive : bool
        Whether to look into folders inside folders.
    sigma : float
        Values farther from the centre than so many standard deviations are left out.
    verbose : bool
        Whether to print what is done.
    """

    kind = "bias"

    def __init__(
        self,
        out_directory: Path | str,
        biases_directory: Source | None = None,
        c1_biases_directory: Source | None = None,
        c2_biases_directory: Source | None = None,
        c3_biases_directory: Source | None = None,
        *,
        instrument: Instrument = OPTICAM_MX,
        recursive: bool = False,
        sigma: float = CLIP_SIGMA,
        verbose: bool = True,
    ) -> None:
        places = (biases_directory, c1_biases_directory, c2_biases_directory, c3_biases_directory)
        super().__init__(out_directory, places, instrument, recursive, sigma, verbose)

    def create_master_biases(self, overwrite: bool = False, *, run: Run = run_on_client) -> None:
        """Make the master biases; see `Corrector.build`."""
        self.build(run, overwrite=overwrite)

    def correct(self, image: Image, camera: str) -> NDArray[np.float64]:
        """Subtract the bias from a raw image.

        Parameters
        ----------
        image : ndarray, shape (ny, nx) [adu]
            Raw image.
        camera : str
            ``'<arm>:<filter>'``, an arm, or a filter.

        Returns
        -------
        ndarray of float64 [adu]
            NaN where the master is.
        """
        return np.asarray(image, np.float64) - self.master_for(np.asarray(image), camera).data

    def _plan(self, sets: list[FrameSet], others: list[Corrector], say: Say) -> list[Recipe]:
        return [Recipe((one,), Pedestal(), self.sigma, self.folder) for one in sets]


class DarkNoiseCorrector(Corrector):
    """Subtracts dark current.

    With a bias corrector, the master is a rate [adu / s], from darks of one or more exposure times, and is
    scaled to each frame's. Without, a master holds bias and dark together, for frames of its exposure time
    only. Masters are per arm and binning, whatever the filter.

    Parameters
    ----------
    out_directory : path
        Masters are kept in its folder ``cal``.
    darks_directory : path, pattern or list of paths, optional
        Dark frames of all cameras.
    c1_darks_directory, c2_darks_directory, c3_darks_directory : path, pattern or list of paths, optional
        Dark frames of one camera each, whatever their headers say.
    bias_corrector : BiasCorrector, optional
        What to subtract the bias with; a Reducer lends its own.
    from_header : bool
        Subtract the header's dark current, the same from every pixel, where there is no dark frame.
    instrument : Instrument
        How to read the headers.
    recursive : bool
        Whether to look into folders inside folders.
    sigma : float
        Values farther from the centre than so many standard deviations are left out.
    verbose : bool
        Whether to print what is done.

    Raises
    ------
    InputError
        If both dark frames and `from_header` are given, or neither.
    """

    kind = "dark"

    def __init__(
        self,
        out_directory: Path | str,
        darks_directory: Source | None = None,
        c1_darks_directory: Source | None = None,
        c2_darks_directory: Source | None = None,
        c3_darks_directory: Source | None = None,
        *,
        bias_corrector: BiasCorrector | None = None,
        from_header: bool = False,
        instrument: Instrument = OPTICAM_MX,
        recursive: bool = False,
        sigma: float = CLIP_SIGMA,
        verbose: bool = True,
    ) -> None:
        places = (darks_directory, c1_darks_directory, c2_darks_directory, c3_darks_directory)
        super().__init__(out_directory, places, instrument, recursive, sigma, verbose, needed=False)
        if from_header == bool(self.sources):
            raise InputError("give a folder of dark frames, or from_header=True, and not both")
        self.bias_corrector, self.from_header = bias_corrector, from_header

    def settings(self) -> dict[str, Any]:
        """Give what masters are made with, fit for JSON."""
        return {**super().settings(), "from_header": self.from_header}

    def create_master_darks(self, overwrite: bool = False, *, run: Run = run_on_client) -> None:
        """Make the master darks; see `Corrector.build`."""
        self.build(run, overwrite=overwrite)

    def correct(self, image: Image, camera: str, exposure_s: float) -> NDArray[np.float64]:
        """Subtract the dark from an image.

        Parameters
        ----------
        image : ndarray, shape (ny, nx) [adu]
            Image without its bias; raw if there is no bias corrector.
        camera : str
            ``'<arm>:<filter>'``, an arm, or a filter.
        exposure_s : float
            Exposure time [s].

        Returns
        -------
        ndarray of float64 [adu]
            NaN where the master is.

        Raises
        ------
        InputError
            If the master holds bias and dark of another exposure time.
        """
        image = np.asarray(image, np.float64)
        self.master_for(image, camera)
        arm = self.camera_of(camera).partition(":")[0]
        if matched := self.matched(arm, "", (image.shape[0], image.shape[1])):
            return np.asarray(image - Pedestal(matched=matched).maps(exposure_s)[0])
        return np.asarray(image - self.master_for(image, camera).data * exposure_s)

    def matched(self, arm: str, binning: str, shape: tuple[int, int]) -> tuple[tuple[float, MasterRef], ...]:
        """Exposure times and masters of bias and dark together; none if the masters are rates."""
        found = [recipe for recipe in self.matching(arm, binning, shape) if not recipe.is_rate]
        return tuple((recipe.sets[0].exposure, recipe.reference) for recipe in found)

    def _others(
        self, bias_corrector: Corrector | None, dark_noise_corrector: Corrector | None
    ) -> list[Corrector]:
        bias = self.bias_corrector or bias_corrector
        return [] if bias is None else [bias]

    def _plan(self, sets: list[FrameSet], others: list[Corrector], say: Say) -> list[Recipe]:
        if not others:
            return [Recipe((one,), Pedestal(), self.sigma, self.folder) for one in sets]
        groups: dict[tuple[str, str], list[FrameSet]] = {}
        for one in sets:
            groups.setdefault((one.name, one.binning), []).append(one)
        return [
            Recipe(tuple(some), pedestal_of(detector_of(some[0]), others), self.sigma, self.folder)
            for some in groups.values()
        ]


class FlatFieldCorrector(Corrector):
    """Divides by a master flat.

    Each flat loses bias and dark and is divided by its own level, so that a change of the lamp or the
    twilight does not count as noise. Masters are per arm, filter and binning, 1 on average.

    Parameters
    ----------
    out_directory : path
        Masters are kept in its folder ``cal``.
    flats_directory : path, pattern or list of paths, optional
        Flats of all cameras.
    c1_flats_directory, c2_flats_directory, c3_flats_directory : path, pattern or list of paths, optional
        Flats of one camera each, whatever their headers say but for the filter.
    bias_corrector, dark_noise_corrector : optional
        What to subtract bias and dark of the flats with; a Reducer lends its own.
    instrument : Instrument
        How to read the headers.
    recursive : bool
        Whether to look into folders inside folders.
    sigma : float
        Values farther from the centre than so many standard deviations are left out.
    verbose : bool
        Whether to print what is done.

    Raises
    ------
    InputError
        If no folder is given.
    """

    kind = "flat"

    def __init__(
        self,
        out_directory: Path | str,
        flats_directory: Source | None = None,
        c1_flats_directory: Source | None = None,
        c2_flats_directory: Source | None = None,
        c3_flats_directory: Source | None = None,
        *,
        bias_corrector: BiasCorrector | None = None,
        dark_noise_corrector: DarkNoiseCorrector | None = None,
        instrument: Instrument = OPTICAM_MX,
        recursive: bool = False,
        sigma: float = CLIP_SIGMA,
        verbose: bool = True,
    ) -> None:
        places = (flats_directory, c1_flats_directory, c2_flats_directory, c3_flats_directory)
        super().__init__(out_directory, places, instrument, recursive, sigma, verbose)
        self.bias_corrector, self.dark_noise_corrector = bias_corrector, dark_noise_corrector

    def create_master_flats(self, overwrite: bool = False, *, run: Run = run_on_client) -> None:
        """Make the master flats; see `Corrector.build`."""
        self.build(run, overwrite=overwrite)

    def correct(self, image: Image, fltr: str) -> NDArray[np.float64]:
        """Divide an image by the flat.

        Parameters
        ----------
        image : ndarray, shape (ny, nx)
            Image without bias and dark.
        fltr : str
            Filter, or ``'<arm>:<filter>'``.

        Returns
        -------
        ndarray of float64
            NaN at the flat's bad pixels.
        """
        master = self.master_for(np.asarray(image), fltr)
        return np.asarray(image, np.float64) / np.where(master.mask, np.nan, master.data)

    def _others(
        self, bias_corrector: Corrector | None, dark_noise_corrector: Corrector | None
    ) -> list[Corrector]:
        found = (self.bias_corrector or bias_corrector, self.dark_noise_corrector or dark_noise_corrector)
        return [other for other in found if other is not None and other.sources]

    def _plan(self, sets: list[FrameSet], others: list[Corrector], say: Say) -> list[Recipe]:
        if not others:
            say("warning: flats without bias frames: their level holds the bias, and the flat is too flat")
        return [Recipe((one,), flat_pedestal(one, others), self.sigma, self.folder) for one in sets]
