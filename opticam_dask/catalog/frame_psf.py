"""PSF of every frame, from the alignment table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from opticam_dask.kernels.moments import axes_of
from opticam_dask.types import PsfModel

if TYPE_CHECKING:
    import pandas as pd

PSF_COLUMNS = ("psf_semimajor", "psf_semiminor", "psf_orientation")


def frame_psfs(alignment: pd.DataFrame, psf: PsfModel) -> NDArray[np.float64]:
    """PSF of every frame, gaps filled.

    Parameters
    ----------
    alignment : DataFrame
        Columns of `schema.ALIGNMENT_COLUMNS`, of one camera, in any order.
    psf : PsfModel
        PSF of the run, from moments: for frames of a night none of which has a PSF of its own.

    Returns
    -------
    ndarray, shape (n, 3)
        Sigmas along major and minor axis [pixel] and position of the major axis [degree] of each row of
        `alignment`. A frame without a PSF gets one between those of its neighbours in time: its covariance is
        interpolated, and held before the first and after the last of the night. No row is NaN.
    """
    own = covariances_of(alignment[list(PSF_COLUMNS)].to_numpy(np.float64))
    run = covariances_of(np.array([[psf.semimajor_sigma, psf.semiminor_sigma, psf.orientation]]))[0]
    night, mjd = alignment["night"].to_numpy().astype(str), alignment["MJD"].to_numpy(np.float64)
    frame = alignment["frame"].to_numpy(np.float64)
    for name in np.unique(night):
        rows = np.flatnonzero(night == name)
        # a frame without a time takes its place by its number
        clock = mjd[rows] if np.isfinite(mjd[rows]).all() else frame[rows]
        own[rows] = _filled(own[rows], clock, run)
    return ellipses(own)


def ellipses(shapes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sigmas along the axes [pixel] and orientation [degree] of covariances (xx, xy, yy), shape (n, 3)."""
    major, minor, angle = axes_of(shapes[:, 0], shapes[:, 1], shapes[:, 2])
    return np.column_stack([major, minor, np.degrees(angle)])


def covariances_of(psfs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Covariances (xx, xy, yy) [pixel^2] of ellipses as rows (major, minor [pixel], orientation [degree])."""
    major2, minor2, angle = psfs[:, 0] ** 2, psfs[:, 1] ** 2, np.radians(psfs[:, 2])
    c, s = np.cos(angle), np.sin(angle)
    return np.column_stack(
        [major2 * c**2 + minor2 * s**2, (major2 - minor2) * s * c, major2 * s**2 + minor2 * c**2]
    )


def _filled(
    shapes: NDArray[np.float64], clock: NDArray[np.float64], run: NDArray[np.float64]
) -> NDArray[np.float64]:
    known = np.asarray(np.isfinite(shapes).all(axis=1))
    if not known.any():
        return np.tile(run, (len(shapes), 1))
    order = np.flatnonzero(known)[np.argsort(clock[known], kind="stable")]
    between = [np.interp(clock, clock[order], shapes[order, i]) for i in range(3)]
    return np.where(known[:, None], shapes, np.column_stack(between))
