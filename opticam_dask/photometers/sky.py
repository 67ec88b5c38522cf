"""Where the sky under a source comes from: annulus, mesh, a map, or a function of the user's."""

from __future__ import annotations

import logging
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from opticam_dask.kernels.annulus import annulus_area, annulus_statistics
from opticam_dask.kernels.background import background_mesh
from opticam_dask.kernels.clipped_normal import clipped_normal
from opticam_dask.kernels.clipping import NO_CLIP, ClipRule
from opticam_dask.kernels.neighbours import OrderedSources, source_mask
from opticam_dask.kernels.optimal import SourceSky
from opticam_dask.kernels.plane import annulus_planes
from opticam_dask.kernels.stamps import Ellipse
from opticam_dask.photometers.estimator import arguments, takes_error, try_call
from opticam_dask.photometers.local_background import (
    MODE_WEIGHT,
    CompiledLocalBackground,
    StatisticLocalBackground,
)
from opticam_dask.photometers.source_digest import qualified_name
from opticam_dask.schema import Flag

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from opticam_dask.kernels.mesh_grid import BackgroundMesh
    from opticam_dask.types import XY, Exposure, Image, PsfModel


_log = logging.getLogger(__name__)


class Sky(Protocol):
    """Sky of one frame."""

    def at(self, xy: XY) -> tuple[SourceSky, NDArray[np.int64]]:
        """Sky under sources at ``xy``, shape (n, 2), and flags that say why it is NaN."""
        ...


class SkyRequest(NamedTuple):
    """What the sky of a frame is worked out from.

    Parameters
    ----------
    exposure : Exposure
        The frame, bad and hot pixels NaN.
    shown : ndarray, shape (ny, nx)
        The image as functions of the user's get to see it: hot pixels repaired.
    psf : PsfModel
        PSF of the frame.
    sources : ndarray, shape (n, 2) [pixel]
        Predicted positions of all catalogue sources in this frame; rows may be NaN.
    background : callable or None
        User's two-dimensional background.
    box_size : int
        Box of the mesh [pixel].
    """

    exposure: Exposure
    shown: Image
    psf: PsfModel
    sources: XY
    background: Callable[[Image], Any] | None
    box_size: int


def sky_of_frame(estimator: Any, request: SkyRequest) -> Sky:
    """Sky of one frame, by a local background estimator, or without one from a two-dimensional background."""
    image, psf, box_size = request.exposure.image, request.psf, request.box_size
    if estimator is None:
        if request.background is None:
            return MeshSky(image, box_size, psf, request.sources)
        return MapSky(request.shown, psf, request.background)
    if has_kernel(estimator):
        return AnnulusSky(image, psf, estimator, request.sources)
    return EstimatorSky(request.shown, psf, estimator, gain=request.exposure.gain, box_size=box_size)


def has_kernel(estimator: Any) -> bool:
    """Whether a compiled kernel gives the numbers of a local background estimator."""
    return isinstance(estimator, CompiledLocalBackground) and estimator.kernel_rule() is not None


def ellipse_of(psf: PsfModel, scale: float = 1.0) -> Ellipse:
    """PSF as the kernels take it, enlarged by ``scale``."""
    return Ellipse(scale * psf.semimajor_sigma, scale * psf.semiminor_sigma, psf.orientation_rad)


class _Estimate(NamedTuple):
    """Sky by any method: level, reported scatter and true noise of a pixel, and pixels worth of level."""

    level: NDArray[np.float64]
    scatter: NDArray[np.float64]
    noise: NDArray[np.float64]
    n_sky: NDArray[np.float64] | float

    def checked(self, reason: Flag) -> tuple[SourceSky, NDArray[np.int64]]:
        """Sky that is NaN in all fields or in none, and the reason where it is."""
        good = np.isfinite(self.level) & np.isfinite(self.scatter) & np.isfinite(self.noise)
        variance = self.noise**2 / np.maximum(self.n_sky, 1.0)
        columns = (self.level, self.scatter, variance, self.noise)
        if good.all():
            return SourceSky(*columns), np.zeros(len(good), np.int64)
        return SourceSky(*(np.where(good, column, np.nan) for column in columns)), np.where(
            good, 0, int(reason)
        )


def _unclipped(
    scatter: NDArray[np.float64], n_pixels: NDArray[Any] | float, rule: ClipRule, fitted: int = 1
) -> NDArray[np.float64]:
    """Undo clipping: standard deviation of a pixel, given that of the ``n_pixels`` that clipping left [adu].

    It makes up for the tails that clipping took, and for the ``fitted`` parameters that the residuals have
    been freed of.
    """
    spread = n_pixels / np.maximum(n_pixels - fitted, 1)
    return np.asarray(scatter * np.sqrt(spread) / clipped_normal(rule).std, dtype=float)


class AnnulusSky:
    """Sigma-clipped annulus around each source, by the kernels.

    Parameters
    ----------
    image : ndarray, shape (ny, nx) [adu]
        Frame.
    psf : PsfModel
        PSF of the frame.
    settings : CompiledLocalBackground
        Estimator with a kernel.
    sources : ndarray, shape (m, 2), optional [pixel]
        All sources, for the masks of neighbours; rows may be NaN.
    """

    def __init__(
        self, image: Image, psf: PsfModel, settings: CompiledLocalBackground, sources: XY | None = None
    ) -> None:
        self.image, self.psf, self.settings = image, psf, settings
        self.rule = settings.kernel_rule() or NO_CLIP
        self.ellipse = ellipse_of(psf)
        self.sources = None
        if sources is not None and settings.mask_neighbours:
            self.sources = OrderedSources.of(sources, self.ellipse)

    def at(self, xy: XY) -> tuple[SourceSky, NDArray[np.int64]]:
        """Sky in the annuli around ``xy``; CROWDED_SKY where neighbours cover more than half of it."""
        if isinstance(self.settings, StatisticLocalBackground):
            estimate, masked, good = self._mixed(xy, self.settings)
        else:
            estimate, masked, good = self._plane(xy)
        sky, flags = estimate.checked(Flag.FEW_SKY_PIXELS)
        return sky, flags | int(Flag.CROWDED_SKY) * (masked > good)

    @property
    def _options(self) -> dict[str, Any]:
        scales = {"r_in": self.settings.r_in_scale, "r_out": self.settings.r_out_scale}
        return {**scales, "rule": self.rule, "sources": self.sources}

    def _mixed(
        self, xy: XY, settings: StatisticLocalBackground
    ) -> tuple[_Estimate, NDArray[np.int64], NDArray[np.int64]]:
        """Level from mean and median; its variance allows for what clipping does to either."""
        sky = annulus_statistics(self.image, xy, self.ellipse, **self._options)
        level, weight = settings.level_and_weight(sky.mean, sky.median, sky.std)
        noise = _unclipped(sky.std, sky.n_pixels, self.rule)
        n_sky = sky.n_pixels / clipped_normal(self.rule).level_variance(weight)
        return _Estimate(level, sky.std, noise, n_sky), sky.n_masked, sky.n_good

    def _plane(self, xy: XY) -> tuple[_Estimate, NDArray[np.int64], NDArray[np.int64]]:
        """Level of a plane, which clipping makes as much noisier as it does a mean."""
        sky = annulus_planes(self.image, xy, self.ellipse, **self._options)
        noise = _unclipped(sky.scatter, sky.n_pixels, self.rule, fitted=3)
        n_sky = 1.0 / (sky.leverage * clipped_normal(self.rule).mean_variance)
        return _Estimate(sky.level, sky.scatter, noise, n_sky), sky.n_masked, sky.n_good


_MESH_RULE = ClipRule(4.0, 4.0)
_MESH_EXCLUDE = 50.0  # percent of a box that masks may take


class MeshSky:
    """Two-dimensional background, by the kernel: sources masked, a plane below, clipped means above it.

    Clipping at 4 sigma keeps the mean of a Poisson sky within 0.003 / gain [adu] of the truth; at 3 sigma it
    is 0.04 / gain too low. Where the sources leave no box enough pixels nothing is masked, the boxes
    give their modes, and all levels have CROWDED_SKY.

    Parameters
    ----------
    image : ndarray, shape (ny, nx) [adu]
        Frame.
    box_size : int
        Box of the mesh [pixel].
    psf : PsfModel
        PSF of the frame.
    sources : ndarray, shape (m, 2) [pixel]
        All sources; rows may be NaN.
    """

    def __init__(self, image: Image, box_size: int, psf: PsfModel, sources: XY) -> None:
        self.rule = _MESH_RULE
        mask = source_mask(image.shape, sources, ellipse_of(psf))
        self.mesh = background_mesh(
            image,
            box_size,
            rule=self.rule,
            mask=mask,
            estimator="mean",
            exclude_percentile=_MESH_EXCLUDE,
            detrend=True,
        )
        self.crowded = not self.mesh.n_pixels.any()
        if self.crowded:
            self.rule = ClipRule()
            self.mesh = background_mesh(image, box_size)

    def at(self, xy: XY) -> tuple[SourceSky, NDArray[np.int64]]:
        """Sky of the mesh at ``xy``; CROWDED_SKY where all boxes around are filled from farther ones."""
        level, scatter = self.mesh.at(xy)
        n_sky, n_box = self.mesh.effective_pixels(xy), self.mesh.typical_pixels
        far = n_sky == 0
        noise = _unclipped(scatter, n_box, self.rule)
        variance = clipped_normal(self.rule).level_variance(np.array(MODE_WEIGHT if self.crowded else 0.0))
        n_sky = np.where(far, n_box, n_sky) / variance
        sky, flags = _Estimate(level, scatter, noise, n_sky).checked(Flag.FEW_SKY_PIXELS)
        return sky, flags | np.where(self.crowded | far, int(Flag.CROWDED_SKY), 0)


class MapSky:
    """Background that a user's function computed for the frame, with ``background`` and ``background_rms``.

    Its level's error is unknown; that of a mean over the default annulus stands in for it.
    """

    def __init__(self, image: Image, psf: PsfModel, background: Callable[[Image], Any]) -> None:
        self.n_sky = annulus_area(ellipse_of(psf))
        self.maps: tuple[NDArray[Any], NDArray[Any]] | None = None
        try:
            result = background(image)
            maps = np.asarray(result.background, dtype=float), np.asarray(result.background_rms, dtype=float)
            self.maps = maps if maps[0].shape == maps[1].shape == image.shape else None
        except Exception as error:  # a user's function: what it cannot do costs this frame only
            _log.debug("background %s: %s", qualified_name(background), error)

    def at(self, xy: XY) -> tuple[SourceSky, NDArray[np.int64]]:
        """Sky of the map in the pixels that hold ``xy``."""
        if self.maps is None:
            nothing = np.full(len(xy), np.nan)
            return _Estimate(nothing, nothing, nothing, self.n_sky).checked(Flag.FIT_FAILED)
        column, row = np.floor(xy + 0.5).astype(np.int64).T
        level, scatter = self.maps[0][row, column], self.maps[1][row, column]
        return _Estimate(level, scatter, scatter, self.n_sky).checked(Flag.FIT_FAILED)


class EstimatorSky:
    """A user's estimator, called once per source.

    Its level's error is unknown; that of a mean over the default annulus stands in for it.
    """

    def __init__(self, image: Image, psf: PsfModel, estimator: Any, *, gain: float, box_size: int) -> None:
        self.image, self.psf, self.estimator = image, psf, estimator
        self.gain, self.box_size = gain, box_size

    @cached_property
    def _images(self) -> dict[str, NDArray[np.float64]]:
        """Image, and error image if wanted, in float64 and read-only: one source cannot spoil the next."""
        images = {"data": self.image.astype(np.float64)}
        if takes_error(self.estimator):
            images["error"] = _error_image(self.image, background_mesh(self.image, self.box_size), self.gain)
        for image in images.values():
            image.setflags(write=False)
        return images

    def at(self, xy: XY) -> tuple[SourceSky, NDArray[np.int64]]:
        """Sky as the estimator sees it at ``xy``."""
        pairs = [try_call(self.estimator, self._images, arguments(place, self.psf)) for place in xy]
        level, scatter = np.array(pairs, dtype=float).reshape(-1, 2).T
        n_sky = annulus_area(ellipse_of(self.psf))
        return _Estimate(level, scatter, scatter, n_sky).checked(Flag.FIT_FAILED)


def _error_image(image: Image, mesh: BackgroundMesh, gain: float) -> NDArray[np.float64]:
    """1-sigma error of each pixel [adu]: scatter of the sky and shot noise of what is above it."""
    level, rms = mesh.image()
    signal = np.maximum(np.nan_to_num(image - level, nan=0.0, posinf=0.0, neginf=0.0), 0.0)
    return np.asarray(np.sqrt(rms**2 + signal / gain), dtype=float)
