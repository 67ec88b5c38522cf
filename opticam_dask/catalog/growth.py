"""Growth curves: how the flux of a source grows with the radius of the aperture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from opticam_dask.errors import InputError
from opticam_dask.kernels.annulus import annulus_statistics
from opticam_dask.kernels.aperture import aperture_sums
from opticam_dask.kernels.stamps import Ellipse
from opticam_dask.types import FWHM_PER_SIGMA, PsfModel

if TYPE_CHECKING:
    import pandas as pd

    from opticam_dask.catalog.model import CameraCatalog

SCALES = tuple(np.round(np.arange(0.2, 3.01, 0.2), 1))
"""Default semi-axes [FWHM of the PSF along each axis]."""

_SKY_WIDTH = 1.0  # of the annulus of sky around the largest aperture [FWHM]


def growth_curves(catalog: CameraCatalog, scales: Sequence[float] = SCALES) -> pd.DataFrame:
    """Sum the light of each source in elliptical apertures of growing size, on the stacked image.

    The apertures have the shape of the PSF; the sky is the clipped mean of an annulus just outside the
    largest. Stacking widens stars a little, and pixels of the stack are correlated, so there are no errors.

    Parameters
    ----------
    catalog : CameraCatalog
        Sources, PSF and stack.
    scales : sequence of float
        Semi-axes in units of the PSF's full width at half maximum along each axis, increasing.

    Returns
    -------
    DataFrame
        One row per source and aperture: ``source``; ``scale``; ``radius``, the geometric mean of the
        semi-axes [pixel]; ``flux`` [adu]; ``fraction`` of the flux in the largest aperture, NaN where that is
        not positive or part of it lies off the stack; ``model``, the same of the PSF. Light is taken to be
        even within a pixel, so small apertures hold up to 1 % less of a narrow star.

    Raises
    ------
    InputError
        If the scales do not increase from above 0.
    """
    import pandas as pd

    sizes = np.asarray(scales, float)
    if sizes.ndim != 1 or not sizes.size or not (np.diff(sizes, prepend=0.0) > 0).all():
        raise InputError(f"scales of a growth curve must increase from above 0, not {list(scales)}")
    flux = _fluxes(catalog, sizes)
    with np.errstate(invalid="ignore", divide="ignore"):
        fraction = np.where(flux[:, -1:] > 0, flux / flux[:, -1:], np.nan)
    model = enclosed(catalog.psf, sizes)
    n, source = len(sizes), np.asarray(catalog.table["source"], np.int32)
    return pd.DataFrame(
        {
            "source": np.repeat(source, n),
            "scale": np.tile(sizes, len(source)),
            "radius": np.tile(sizes * catalog.psf.fwhm, len(source)),
            "flux": flux.ravel(),
            "fraction": fraction.ravel(),
            "model": np.tile(model / model[-1], len(source)),
        }
    )


def enclosed(psf: PsfModel, scales: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fraction of a star's light within ellipses of the PSF's shape, semi-axes in units of its FWHM.

    References
    ----------
    Trujillo et al. 2001, MNRAS 328, 977, for the Moffat profile.
    """
    if psf.beta is None:
        return np.asarray(1.0 - np.exp(-0.5 * (scales * FWHM_PER_SIGMA) ** 2))
    square = 4.0 * (2.0 ** (1.0 / psf.beta) - 1.0) * scales**2
    return np.asarray(1.0 - (1.0 + square) ** (1.0 - psf.beta))


def _fluxes(catalog: CameraCatalog, sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Background-subtracted counts, shape (n_source, n_sizes); NaN where the aperture is not all there."""
    image, xy = catalog.stacked_image, catalog.xy
    shapes = [_aperture(catalog.psf, scale) for scale in sizes]
    outer = (sizes[-1] + _SKY_WIDTH) / sizes[-1]
    sky = annulus_statistics(image, xy, shapes[-1], r_in=1.0, r_out=outer).mean
    seen = np.where(np.isfinite(image), 1.0, 0.0)
    columns = []
    for shape in shapes:
        area = aperture_sums(seen, xy, shape)
        whole = area > 0.999 * np.pi * shape.semimajor * shape.semiminor
        columns.append(np.where(whole, aperture_sums(image, xy, shape) - sky * area, np.nan))
    return np.column_stack(columns)


def _aperture(psf: PsfModel, scale: float) -> Ellipse:
    size = scale * FWHM_PER_SIGMA
    return Ellipse(size * psf.semimajor_sigma, size * psf.semiminor_sigma, psf.orientation_rad)
