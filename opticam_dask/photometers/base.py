"""What all photometers do: find the sources in a frame, take their sky, and say what went wrong."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from opticam_dask.errors import InputError
from opticam_dask.kernels.background import as_pixels, default_box_size
from opticam_dask.kernels.centroid import WINDOW, claim_winners, recentre
from opticam_dask.kernels.marks import marked_near
from opticam_dask.kernels.profile import PROFILE_RADIUS
from opticam_dask.photometers.estimator import takes_error
from opticam_dask.photometers.hot_pixels import without_hot
from opticam_dask.photometers.local_background import DefaultLocalBackground
from opticam_dask.photometers.noise_budget import DEFAULT_NOISE, NoiseBudget
from opticam_dask.photometers.records import (
    check_request,
    empty_result,
    empty_terms,
    fill_terms,
    flag_blends,
    has_flux,
    on_frame,
    response_at,
)
from opticam_dask.photometers.sky import (
    AnnulusSky,
    EstimatorSky,
    SkyRequest,
    ellipse_of,
    has_kernel,
    sky_of_frame,
)
from opticam_dask.photometers.source_digest import identity, qualified_name
from opticam_dask.schema import NULL_FLUX_FLAGS, Flag
from opticam_dask.types import Exposure

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from opticam_dask.kernels.noise import Fluxes
    from opticam_dask.kernels.optimal import SourceSky
    from opticam_dask.kernels.stamps import Ellipse
    from opticam_dask.photometers.noise_budget import NoiseTerms
    from opticam_dask.photometers.records import Rows
    from opticam_dask.photometers.sky import Sky
    from opticam_dask.types import XY, Image, PsfModel

ProfileName = Literal["gaussian", "moffat"]

MIN_SIGNAL_TO_NOISE = 3.0
"""A star must stand out by this much from the sky, through a filter matched to the PSF, to be found."""

_NOT_MATCHED, _FIT_FAILED, _NO_FLUX = int(Flag.NOT_MATCHED), int(Flag.FIT_FAILED), int(NULL_FLUX_FLAGS)
_SIGHT = 12.0
"""Pixels within this many standard deviations of a source can bear on it: profile, annulus, and room."""


_PIXEL = 1.0
"""A pixel counts as far as its corners, which are less than this from its centre [pixel]."""


class BasePhotometer(ABC):
    """Base of photometers; a subclass defines `extract` and `reach`.

    Parameters
    ----------
    forced : bool
        Measure at the predicted positions. If not, each source is re-centred first, and its flux is NaN
        where it is not found.
    source_matching_tolerance : float
        Farthest that a source may be found from its predicted position, in units of the PSF's standard
        deviations added in quadrature.
    local_background_estimator : callable, optional
        Local background: `DefaultLocalBackground`, an object of a class derived from `BaseLocalBackground`,
        or any function with the parameters ``data, position, semimajor_axis, semiminor_axis, orientation``,
        and ``error`` if it likes, that returns level and scatter per pixel. None uses the two-dimensional
        background of the frame.
    psf : {'run', 'frame'}
        Which PSF the photometer is to be called with: the camera's, or each frame's own.
    noise : NoiseBudget
        Terms of the error of a flux.

    Raises
    ------
    InputError
        If the tolerance is not positive, the estimator has other parameters, or another one is none of these.
    """

    def __init__(
        self,
        forced: bool = False,
        source_matching_tolerance: float = 5.0,
        local_background_estimator: Any = None,
        psf: Literal["run", "frame"] = "run",
        noise: NoiseBudget = DEFAULT_NOISE,
    ) -> None:
        if not 0 < source_matching_tolerance < math.inf:
            raise InputError(f"source_matching_tolerance must be positive, not {source_matching_tolerance}")
        if local_background_estimator is not None:
            takes_error(local_background_estimator)
        if psf not in ("run", "frame"):
            raise InputError(f"psf is 'run' or 'frame', not {psf!r}")
        if not isinstance(noise, NoiseBudget):
            raise InputError(f"noise is a NoiseBudget, not {noise!r}")
        self.forced = bool(forced)
        self.source_matching_tolerance = float(source_matching_tolerance)
        self.local_background_estimator = local_background_estimator
        self.psf = psf
        self.noise = noise

    @abstractmethod
    def extract(self, frame: Exposure, xy: XY, psf: PsfModel, sky: SourceSky) -> Fluxes:
        """Flux, weight sums and flags of the sources at ``xy``, shape (n, 2), over the given sky."""

    @abstractmethod
    def reach(self, psf: PsfModel) -> Ellipse:
        """Ellipse around a source in which another source counts as blended [pixel]."""

    def footprint(self, psf: PsfModel) -> Ellipse:
        """Ellipse around a source in which a marked pixel counts [pixel]."""
        return self.reach(psf)

    @property
    def corrects_by_measurement(self) -> bool:
        """Whether fluxes are to be multiplied by an aperture correction that a reduction measures."""
        return bool(getattr(self, "aperture_correction", None) == "measured")

    def extent(self, psf: PsfModel) -> float:
        """Distance from a predicted place within which light may count as the source's [pixel]."""
        matching = 0.0 if self.forced else self._tolerance(psf)
        return max(self.footprint(psf).semimajor, PROFILE_RADIUS * psf.semimajor_sigma) + matching

    def pixels_within(self, psf: PsfModel) -> float:
        """Distance from where a source is measured of the farthest pixel that `extract` uses [pixel].

        Infinite unless a class says otherwise, for itself: what its subclasses look at is not known.
        """
        return math.inf

    def sight(self, psf: PsfModel) -> float:
        """Distance from a predicted place within which all pixels lie that bear on its measurement [pixel].

        Infinite where whole frames are needed: for a background of the frame, and for functions and classes
        of the user's.
        """
        estimator = self.local_background_estimator
        ours = "pixels_within" in vars(type(self)) and type(self.noise) is NoiseBudget
        if not ours or estimator is None or not has_kernel(estimator):
            return math.inf
        scale = max(float(estimator.r_out_scale), WINDOW)
        matching = 0.0 if self.forced else self._tolerance(psf)
        return max(scale * psf.semimajor_sigma, self.pixels_within(psf)) + matching + _PIXEL

    def variant(self) -> str:
        """Part of the label that tells apart runs with other options, such as ``_moffat``."""
        return ""

    @property
    def label(self) -> str:
        """Name of the results, such as ``forced_aperture`` or ``optimal_annulus``."""
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", type(self).__name__).lower().removesuffix("_photometer")
        forced = "forced_" if self.forced else ""
        sky = "" if self.local_background_estimator is None else "_annulus"
        frame = "_psf_frame" if self.psf == "frame" else ""
        return f"{forced}{name}{sky}{self.variant()}{frame}{'_corrected' * self.corrects_by_measurement}"

    def settings(self) -> dict[str, Any]:
        """Everything that changes the numbers, fit for JSON, with name and digest of the estimator."""
        estimator = self.local_background_estimator
        return {
            "photometer": qualified_name(self),
            "label": self.label,
            **vars(self),
            "noise": {**asdict(self.noise), **_own_budget(self.noise)},
            "local_background_estimator": None if estimator is None else identity(estimator),
        }

    def measure(
        self,
        frame: Image | Exposure,
        xy: XY,
        psf: PsfModel,
        *,
        gain: float = 1.0,
        saturation: float = math.nan,
        background: Callable[[Image], Any] | None = None,
        box_size: int | None = None,
        hot: NDArray[np.int64] | None = None,
    ) -> NDArray[np.void]:
        """Measure sources in one frame.

        Parameters
        ----------
        frame : Exposure, or ndarray, shape (ny, nx) [adu]
            Frame of any numeric type; NaN marks a bad pixel.
        xy : ndarray, shape (n, 2) [pixel]
            Predicted positions; a NaN row gives NaN with NOT_ALIGNED.
        psf : PsfModel
            PSF of the frame.
        gain, saturation : float
            Gain [electron / adu] and saturation level [adu] of a bare array; an Exposure has its own.
        background : callable, optional
            Maps a frame to an object with ``background`` and ``background_rms``; used where there is no
            local background estimator. Default: the mesh kernel.
        box_size : int, optional
            Box of the mesh [pixel]. Default: `kernels.background.default_box_size`.
        hot : ndarray of int64, optional
            Flat indices of pixels to count as bad. Functions of the user's for the background need not know
            of bad pixels: they see the median of the pixels around instead.

        Returns
        -------
        ndarray of schema.MEASUREMENT, shape (n,)
            A NaN flux has a flag of `schema.NULL_FLUX_FLAGS`.

        Raises
        ------
        InputError
            If the frame, the positions, the gain or the hot pixels are not what they should be.
        """
        exposure = frame if isinstance(frame, Exposure) else Exposure(frame, gain=gain, saturation=saturation)
        return self._observe(exposure, xy, psf, background, box_size, hot)[0]

    def noise_terms(
        self,
        frame: Image | Exposure,
        xy: XY,
        psf: PsfModel,
        *,
        gain: float = 1.0,
        saturation: float = math.nan,
        **known: Any,
    ) -> NDArray[np.void]:
        """Errors of the fluxes of one frame, by cause; parameters are those of `measure`.

        Returns
        -------
        ndarray, shape (n,)
            Fields ``flux``, and its 1-sigma errors ``source``, ``sky``, ``level``, ``flat``,
            ``scintillation`` and ``total`` [adu], NaN where there is no flux. ``total`` is ``flux_err``.

        Raises
        ------
        InputError
            As `measure`.
        """
        exposure = frame if isinstance(frame, Exposure) else Exposure(frame, gain=gain, saturation=saturation)
        result, rows, variances = self._observe(exposure, xy, psf, **known)
        terms = empty_terms(len(result))
        if variances is not None:
            fill_terms(terms, rows, result["flux"][rows], variances)
        return terms

    def _observe(
        self,
        frame: Exposure,
        xy: XY,
        psf: PsfModel,
        background: Callable[[Image], Any] | None = None,
        box_size: int | None = None,
        hot: NDArray[np.int64] | None = None,
    ) -> tuple[NDArray[np.void], Rows, NoiseTerms | None]:
        """Measurements, and of the rows that could be measured the variances by cause."""
        image, xy = as_pixels(frame.image), np.asarray(xy, dtype=float)
        check_request(frame, xy, image.shape)
        box_size = box_size or default_box_size(image.shape[1], psf.semimajor_sigma)
        sight = self._sight(psf)
        image, shown = without_hot(image, xy, sight, hot, self.local_background_estimator, background)
        frame = frame if image is frame.image else replace(frame, image=image)
        request = SkyRequest(frame, shown, psf, xy, background, box_size)
        result, rows = empty_result(xy, image.shape, forced=self.forced)
        variances = None
        if len(xy[rows]):
            sky = sky_of_frame(self.local_background_estimator, request)
            place, lost = self._places(request, xy[rows], sky)
            variances = self._fill(result, rows, request, place, lost, sky)
        flag_blends(result, self.reach(psf), psf)
        return result, rows, variances

    def _sight(self, psf: PsfModel) -> float:
        """Distance from a predicted place within which pixels can bear on a source [pixel]."""
        scale = max(_SIGHT, getattr(self.local_background_estimator, "r_out_scale", 0.0))
        matching = 0.0 if self.forced else self._tolerance(psf)
        return max(scale * psf.semimajor_sigma, self.reach(psf).semimajor) + matching + 2.0

    def _tolerance(self, psf: PsfModel) -> float:
        """Farthest that a source may be found from its predicted place [pixel]."""
        return self.source_matching_tolerance * math.hypot(psf.semimajor_sigma, psf.semiminor_sigma)

    def _places(self, request: SkyRequest, xy: XY, sky: Sky) -> tuple[XY, NDArray[np.bool_]]:
        """Where to measure, and which sources were not found (those stay at their predicted places)."""
        if self.forced:
            return xy, np.zeros(len(xy), dtype=bool)
        image, psf = request.exposure.image, request.psf
        guide = AnnulusSky(image, psf, DefaultLocalBackground()) if isinstance(sky, EstimatorSky) else sky
        level, scatter, *_ = guide.at(xy)[0]
        found = recentre(image, xy, ellipse_of(psf), level, scatter, self._tolerance(psf))
        seen = (found.signal_to_noise >= MIN_SIGNAL_TO_NOISE) & on_frame(found.xy, image.shape)
        claims = np.where(seen[:, None], found.xy, np.nan)
        keeps = claim_winners(claims, np.hypot(*(claims - xy).T), psf.semiminor_sigma)
        return np.where(keeps[:, None], found.xy, xy), ~keeps

    def _fill(
        self,
        result: NDArray[np.void],
        rows: Rows,
        request: SkyRequest,
        place: XY,
        lost: NDArray[np.bool_],
        sky: Sky,
    ) -> NoiseTerms:
        """Measure the sources in ``rows`` at ``place``, write them into ``result``, return the variances."""
        under, flags = sky.at(place)
        frame, psf = request.exposure, request.psf
        fluxes = self.extract(frame, place, psf, under)
        variances = self.noise.terms(fluxes, under, frame, response_at(frame, place))
        total = variances.total
        good = has_flux(fluxes, under, total) & ~lost
        flags = flags | fluxes.flags | _NOT_MATCHED * lost
        flags |= marked_near(frame.marked, frame.marks, frame.image.shape, place, self.footprint(psf))
        flags |= _FIT_FAILED * (~good & ((flags & _NO_FLUX) == 0))
        result["flux"][rows] = np.where(good, fluxes.flux, np.nan)
        result["flux_err"][rows] = np.sqrt(np.where(good, total, np.nan))
        result["bkg"][rows], result["bkg_err"][rows] = under.level, under.scatter
        result["x"][rows], result["y"][rows] = place.T
        result["flags"][rows] |= flags.astype(np.int32)
        return variances


def _own_budget(noise: NoiseBudget) -> dict[str, Any]:
    """Name and digest of a user's own kind of budget; nothing for ours."""
    return {} if type(noise) is NoiseBudget else {"budget": identity(type(noise))}
