"""Noise budget of a camera's reference frame."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from opticam_dask.catalog.alignment import AFFINE_COLUMNS
from opticam_dask.errors import FrameReadError
from opticam_dask.kernels.background import as_pixels, default_box_size
from opticam_dask.kernels.sky import without
from opticam_dask.kernels.transform import apply
from opticam_dask.photometers.noise_curve import noise_curve
from opticam_dask.photometers.sky import SkyRequest, sky_of_frame
from opticam_dask.types import XY, Exposure, PsfModel

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from opticam_dask.catalog.model import CameraCatalog
    from opticam_dask.kernels.optimal import SourceSky
    from opticam_dask.photometers.base import BasePhotometer
    from opticam_dask.stages.catalog import CatalogStage

_COLUMNS = {"flux": "flux", "source": "shot_err", "total": "flux_err"}
_CURVE_POINTS = 60
_BEYOND = 10.0  # the curve goes on to fluxes this many times fainter and brighter than the sources


class NoiseOfFrame(NamedTuple):
    """Errors of a frame's sources by cause, those of stars of any flux, and what the sky adds up from."""

    sources: NDArray[Any]
    curve: NDArray[Any]
    note: str

    def scaled(self, factor: float) -> NoiseOfFrame:
        """Return the budget of ``factor`` times the fluxes."""
        sources, curve = self.sources.copy(), self.curve.copy()
        for table in (sources, curve):
            for name in table.dtype.names or ():
                table[name] *= factor
        return NoiseOfFrame(sources, curve, self.note)


def reference_exposure(catalog: CameraCatalog, stage: CatalogStage) -> Exposure:
    """Read, and calibrate, the reference frame of a camera.

    Raises
    ------
    FrameReadError
        If it cannot be read any more.
    """
    night, _, frame = catalog.reference_frame
    rows = stage.cameras()[catalog.camera]
    (block,) = stage.blocks(catalog.camera, rows[(rows["night"] == night) & (rows["frame"] == frame)])
    _, exposure = next(block.exposures())
    if isinstance(exposure, FrameReadError):
        raise exposure
    return exposure


def noise_of_frame(
    exposure: Exposure, catalog: CameraCatalog, psf: PsfModel, photometer: BasePhotometer
) -> NoiseOfFrame:
    """Work out the noise budget of the sources of a camera's reference frame, as its light curves have it.

    Parameters
    ----------
    exposure : Exposure
        The frame.
    catalog : CameraCatalog
        Sources and transforms.
    psf : PsfModel
        PSF that the photometer works with in this frame.
    photometer : BasePhotometer
        What measures them.
    """
    xy = _places(catalog)
    image = without(as_pixels(exposure.image), catalog.hot)
    box = default_box_size(image.shape[1], psf.semimajor_sigma)
    sources = photometer.noise_terms(exposure, xy, psf, box_size=box, hot=catalog.hot)
    request = SkyRequest(replace(exposure, image=image), image, psf, xy, None, box)
    sky, _ = sky_of_frame(photometer.local_background_estimator, request).at(xy)
    flux = sources["flux"][sources["flux"] > 0]
    low, high = (flux.min(), flux.max()) if flux.size else (1e2, 1e6)
    curve = noise_curve(
        photometer, np.geomspace(low / _BEYOND, high * _BEYOND, _CURVE_POINTS), psf, sky, exposure
    )
    return NoiseOfFrame(sources, curve, _sky_note(sky, exposure))


def is_reference(catalog: CameraCatalog) -> NDArray[np.bool_]:
    """Which row of the alignment table is the reference frame's."""
    night, _, frame = catalog.reference_frame
    rows = catalog.alignment
    return np.asarray((rows["night"] == night) & (rows["frame"] == frame))


def _places(catalog: CameraCatalog) -> XY:
    """Places of the sources in the reference frame [pixel], by its own transform."""
    affine = catalog.alignment.loc[is_reference(catalog), list(AFFINE_COLUMNS)]
    return apply(affine.to_numpy(np.float64).reshape(2, 3), catalog.xy)


def _sky_note(sky: SourceSky, exposure: Exposure) -> str:
    """Say how much of the sky's scatter read-out and dark current explain."""
    parts = {"read-out": exposure.read_noise, "dark": math.sqrt(max(exposure.dark, 0.0))}
    known = [f"{name} {value / exposure.gain:.2g}" for name, value in parts.items() if math.isfinite(value)]
    tail = f", of which {', '.join(known)}" if known else ""
    return f"noise per pixel of sky {np.nanmedian(sky.noise):.3g}{tail}"


def table_of(camera: str, catalog: CameraCatalog, budget: NoiseOfFrame) -> pd.DataFrame:
    """Errors of a camera's sources as a table, the columns named as errors are."""
    import pandas as pd

    source = np.asarray(catalog.table["source"], np.int32)
    errors = pd.DataFrame(budget.sources)
    errors.columns = [_COLUMNS.get(name, f"{name}_err") for name in errors.columns]
    return pd.concat([pd.DataFrame({"camera": camera, "source": source}), errors], axis=1)
