"""Correctors and options of a reduction to the calibration of each camera's frames."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from opticam_dask.calibration.bad_pixels import BadPixels, given_mask
from opticam_dask.calibration.corrector import Corrector, pedestal_of, run_on_client
from opticam_dask.calibration.correctors import BiasCorrector, DarkNoiseCorrector, FlatFieldCorrector
from opticam_dask.calibration.frame import FrameCalibration
from opticam_dask.calibration.frames import Run, Say
from opticam_dask.calibration.maps import Layout, pack
from opticam_dask.errors import InputError
from opticam_dask.shipping import by_value

Region: TypeAlias = Sequence[Sequence[int]]
"""((first row, row after the last), (first column, column after the last)) of raw frames."""

_FILTERED = (
    "warning: fluxes are those of filtered images: a median over 3 x 3 pixels takes a tenth of the light of "
    "usual stars, and more of sharper ones; flux_err takes the pixels for independent and comes out too small"
)


@dataclass(frozen=True, eq=False)
class CalibrationOptions:
    """How raw frames are calibrated; the defaults leave them as they are.

    Parameters
    ----------
    bias_corrector, dark_noise_corrector, flat_corrector : optional
        Where master frames come from.
    bad_pixels : ndarray of bool, path of a FITS file, or mapping of these by camera or arm, optional
        Bad pixels of the raw frames, besides those the masters show: true, or not 0, where bad.
    region_of_interest : ((y0, y1), (x0, x1)), or mapping by camera or arm, optional
        Rows and columns to keep; y1 and x1 are not part of them.
    image_filter : callable, optional
        Function of an image that returns one of the same shape, such as a median over 3 x 3 pixels. Fluxes
        are then those of the filtered images: a median takes a tenth of the light of stars 4 pixels wide. The
        error of a flux takes its pixels for independent, and comes out too small.
    rebin_factor : int
        Pixels to add up along each axis.
    remove_cosmic_rays : bool
        Whether single frames are searched for cosmic rays.
    electrons : bool
        Whether images are in electrons instead of adu.

    Raises
    ------
    InputError
        If the rebin factor is not a positive whole number, or a corrector is of the wrong kind.
    """

    bias_corrector: BiasCorrector | None = None
    dark_noise_corrector: DarkNoiseCorrector | None = None
    flat_corrector: FlatFieldCorrector | None = None
    bad_pixels: BadPixels | Mapping[str, BadPixels] | None = None
    region_of_interest: Region | Mapping[str, Region] | None = None
    image_filter: Callable[..., Any] | None = None
    rebin_factor: int = 1
    remove_cosmic_rays: bool = False
    electrons: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.rebin_factor, bool) or not isinstance(self.rebin_factor, int | np.integer):
            raise InputError(f"rebin_factor must be a whole number, not {self.rebin_factor!r}")
        if self.rebin_factor < 1:
            raise InputError(f"rebin_factor must be at least 1, not {self.rebin_factor}")
        kinds = {"bias_corrector": "bias", "dark_noise_corrector": "dark", "flat_corrector": "flat"}
        for name, kind in kinds.items():
            corrector = getattr(self, name)
            if corrector is not None and getattr(corrector, "kind", None) != kind:
                raise InputError(f"{name} got a {type(corrector).__name__}")

    @property
    def nothing(self) -> bool:
        """Whether frames stay as they are."""
        given: list[Any] = [self.bias_corrector, self.dark_noise_corrector, self.flat_corrector]
        given += [self.bad_pixels, self.region_of_interest, self.image_filter]
        changes = self.rebin_factor > 1 or self.remove_cosmic_rays or self.electrons
        return not changes and all(one is None for one in given)

    def build(self, run: Run, say: Say) -> None:
        """Make the masters, each kind with those it needs."""
        bias, dark = self.bias_corrector, self.dark_noise_corrector
        if bias is not None:
            bias.build(run, say)
        if dark is not None:
            dark.build(run, say, bias_corrector=bias)
        if self.flat_corrector is not None:
            self.flat_corrector.build(run, say, bias_corrector=bias, dark_noise_corrector=dark)

    def for_camera(self, rows: pd.DataFrame, say: Say) -> FrameCalibration | None:
        """Calibration of one camera; None if its frames stay as they are. The masters exist by now.

        Parameters
        ----------
        rows : DataFrame
            Accepted rows of the frame index, of one camera.
        say : callable
            Told what is lost at the edges.

        Raises
        ------
        InputError
            If there is no master that fits the frames, or an option does not fit them.
        """
        if self.nothing:
            return None
        first = rows.iloc[0]
        camera, binning = str(first["camera"]), str(first["binning"])
        ny, nx = (int(length) for length in str(first["shape"]).split("x"))
        detectors: list[Corrector] = [
            one for one in (self.bias_corrector, self.dark_noise_corrector) if one is not None and one.sources
        ]
        pedestal = pedestal_of((camera.partition(":")[0], binning, (ny, nx)), detectors)
        for seconds in rows["exposure"].unique():
            pedestal.check(float(seconds))
        flat = self.flat_corrector
        return FrameCalibration(
            camera=camera,
            layout=self._layout(camera, (ny, nx), say),
            pedestal=pedestal,
            flat=None if flat is None else flat.reference(camera, binning, (ny, nx)),
            header_dark=self._header_dark(camera, rows),
            image_filter=None if self.image_filter is None else by_value(self.image_filter),
            remove_cosmic_rays=bool(self.remove_cosmic_rays),
            electrons=bool(self.electrons),
        )

    def _header_dark(self, camera: str, rows: pd.DataFrame) -> bool:
        if self.dark_noise_corrector is None or not self.dark_noise_corrector.from_header:
            return False
        if rows["dark_current"].isna().any():
            raise InputError(
                f"{camera}: no dark current in the headers; give it in a CameraSpec(dark_current=...), "
                "or a folder of dark frames"
            )
        return True

    def _layout(self, camera: str, shape: tuple[int, int], say: Say) -> Layout:
        region = _region(self.region_of_interest, camera, shape)
        bad = pack(given_mask(self.bad_pixels, camera, shape))
        layout = Layout(shape, region, int(self.rebin_factor), bad)
        (ny, nx), factor = layout.cropped, layout.factor
        if not all(layout.shape):
            raise InputError(f"{camera}: rebin_factor {factor} is larger than the frame, {ny}x{nx} pixels")
        if ny % factor or nx % factor:
            say(
                f"{camera}: the last {ny % factor} rows and {nx % factor} columns fill no square of "
                f"{factor}x{factor} pixels and are left out"
            )
        return layout


def calibrations_for(
    frames: pd.DataFrame, options: CalibrationOptions, *, run: Run = run_on_client, say: Say
) -> dict[str, FrameCalibration | None]:
    """Calibration of every camera; the masters are made where they do not exist yet.

    Parameters
    ----------
    frames : DataFrame
        Accepted rows of the frame index, of any number of cameras.
    options : CalibrationOptions
        What to do.
    run : callable
        ``run(tasks, description) -> list``.
    say : callable
        Told what is done.

    Returns
    -------
    dict
        By camera, in order of name; None for frames that stay as they are.

    Raises
    ------
    InputError
        If a camera has no master of a kind that was asked for; one line says what there is.
    """
    options.build(run, say)
    if options.image_filter is not None:
        say(_FILTERED)
    groups = frames.groupby("camera", sort=True)
    return {str(camera): options.for_camera(rows, say) for camera, rows in groups}


def _region(
    given: Region | Mapping[str, Region] | None, camera: str, shape: tuple[int, int]
) -> tuple[tuple[int, int], tuple[int, int]]:
    whole = ((0, shape[0]), (0, shape[1]))
    if isinstance(given, Mapping):
        given = given.get(camera, given.get(camera.partition(":")[0]))
    if given is None:
        return whole
    try:
        (y0, y1), (x0, x1) = ((operator.index(a), operator.index(b)) for a, b in given)
    except (TypeError, ValueError) as error:
        raise InputError(f"region_of_interest must be ((y0, y1), (x0, x1)), not {given!r}") from error
    if not (0 <= y0 < y1 <= shape[0] and 0 <= x0 < x1 <= shape[1]):
        raise InputError(
            f"{camera}: region_of_interest {given!r} lies beyond the frame, {shape[0]}x{shape[1]}"
        )
    return (y0, y1), (x0, x1)
