"""Where the sky under a source comes from: annulus, mesh, a map, or a function of the user's."""

from __future__ import annotations

import logging
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from opticam_dask.kernels.annulus import annulus_area, annulus_statistics
from opticam_dask.kernels.background import background_mesh
from opticam_dask.kernels.noise import level_variance
from opticam_dask.kernels.optimal import SourceSky
from opticam_dask.kernels.stamps import Ellipse
from opticam_dask.photometers.estimator import arguments, takes_error, try_call
from opticam_dask.photometers.local_background import DefaultLocalBackground
from opticam_dask.photometers.source_digest import qualified_name
from opticam_dask.schema import Flag

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from opticam_dask.kernels.background import BackgroundMesh
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
    image, psf = request.exposure.image, request.psf
    if estimator is None:
        if request.background is None:
            return MeshSky(image, request.box_size)
        return MapSky(request.shown, psf, request.background)
    if has_kernel(estimator):
        return AnnulusSky(image, psf, estimator)
    return EstimatorSky(request.shown, psf, estimator, gain=request.exposure.gain, box_size=request.box_size)


def has_kernel(estimator: Any) -> bool:
    """Whether a compiled kernel gives the numbers of a local background estimator."""
    return type(estimator) is DefaultLocalBackground and estimator.kernel_rule() is not None


def ellipse_of(psf: PsfModel) -> Ellipse:
    """PSF as the kernels take it."""
    return Ellipse(psf.semimajor_sigma, psf.semiminor_sigma, psf.orientation_rad)


def _sky(
    level: NDArray[np.float64], scatter: NDArray[np.float64], n_sky: NDArray[Any] | float, reason: Flag
) -> tuple[SourceSky, NDArray[np.int64]]:
    bad = ~(np.isfinite(level) & np.isfinite(scatter))
    sky = SourceSky(
        np.where(bad, np.nan, level),
        np.where(bad, np.nan, scatter),
        np.where(bad, np.nan, level_variance(scatter, np.asarray(n_sky, dtype=float))),
    )
    return sky, np.where(bad, int(reason), 0)


class AnnulusSky:
    """Sigma-clipped annulus around each source, by the kernel; its mean is known to scatter / sqrt(n)."""

    def __init__(self, image: Image, psf: PsfModel, settings: DefaultLocalBackground) -> None:
        self.image, self.psf, self.settings = image, psf, settings

    def at(self, xy: XY) -> tuple[SourceSky, NDArray[np.int64]]:
        """Sky in the annuli around ``xy``."""
        sky = annulus_statistics(
            self.image,
            xy,
            ellipse_of(self.psf),
            r_in=self.settings.r_in_scale,
            r_out=self.settings.r_out_scale,
            rule=self.settings.kernel_rule(),
        )
        return _sky(sky.mean, sky.std, sky.n_pixels, Flag.FEW_SKY_PIXELS)


class MeshSky:
    """Two-dimensional background, by the kernel.

    The level is taken to be known as well as the mean of one box; the median filter of the mesh makes up
    for the mode being noisier than the mean.
    """

    def __init__(self, image: Image, box_size: int) -> None:
        self.mesh = background_mesh(image, box_size)

    def at(self, xy: XY) -> tuple[SourceSky, NDArray[np.int64]]:
        """Sky of the mesh at ``xy``."""
        level, scatter = self.mesh.at(xy)
        n_box = float(self.mesh.box_size[0] * self.mesh.box_size[1])
        return _sky(level, scatter, n_box, Flag.FEW_SKY_PIXELS)


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
            return _sky(nothing, nothing, self.n_sky, Flag.FIT_FAILED)
        column, row = np.floor(xy + 0.5).astype(np.int64).T
        return _sky(self.maps[0][row, column], self.maps[1][row, column], self.n_sky, Flag.FIT_FAILED)


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
        return _sky(level, scatter, annulus_area(ellipse_of(self.psf)), Flag.FIT_FAILED)


def _error_image(image: Image, mesh: BackgroundMesh, gain: float) -> NDArray[np.float64]:
    """1-sigma error of each pixel [adu]: scatter of the sky and shot noise of what is above it."""
    level, rms = mesh.image()
    signal = np.maximum(np.nan_to_num(image - level, nan=0.0, posinf=0.0, neginf=0.0), 0.0)
    return np.asarray(np.sqrt(rms**2 + signal / gain), dtype=float)
