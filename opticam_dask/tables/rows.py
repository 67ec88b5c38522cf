"""Measurements of a block of frames -> rows of the light-curve table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from opticam_dask.schema import light_curve_schema

if TYPE_CHECKING:
    from opticam_dask.io.blocks import FrameBlock

_OF_FRAME = ("frame", "airmass", "exposure")
_MEASURED = ("flux", "flux_err", "bkg", "bkg_err", "x", "y")


def rows_of(
    frames: FrameBlock,
    source: NDArray[np.int32],
    results: NDArray[Any],
    flags: NDArray[np.int32],
    fwhm: NDArray[np.float64],
    times: tuple[NDArray[np.float64], NDArray[np.float64]],
    *,
    unit: str,
) -> pa.Table:
    """Light-curve rows of a block, sorted by source then frame.

    Parameters
    ----------
    frames : FrameBlock
        The frames.
    source : ndarray, shape (n_source,)
        IDs of the sources.
    results : ndarray of `schema.MEASUREMENT`, shape (n_frames, n_source)
        What was measured.
    flags : ndarray, shape (n_frames, n_source)
        Quality bits, those of the frames included.
    fwhm : ndarray, shape (n_frames,)
        FWHM of each frame [pixel].
    times : tuple of ndarray, each of shape (n_frames, n_source)
        MJD and BMJD of each measurement [d].
    unit : {'adu', 'electron'}
        Unit of the counts.

    Returns
    -------
    pyarrow.Table
        Columns of `schema.LIGHT_CURVES`.
    """
    n = results.size
    columns: dict[str, Any] = {
        name: pa.array([getattr(frames, name)] * n, pa.string()) for name in ("night", "camera", "filter")
    }
    columns |= {
        "source": np.repeat(source, len(frames)),
        "fwhm": np.tile(fwhm, len(source)),
        "flags": flags.T.ravel(),
        "MJD": times[0].T.ravel(),
        "BMJD": times[1].T.ravel(),
    }
    columns |= {name: np.tile(frames.meta[name], len(source)) for name in _OF_FRAME}
    columns |= {name: results[name].T.ravel() for name in _MEASURED}
    schema = light_curve_schema(unit)
    return pa.table([pa.array(columns[f.name], f.type) for f in schema], schema=schema)
