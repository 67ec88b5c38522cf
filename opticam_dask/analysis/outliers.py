"""Outliers: samples far from the running median of those around them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from opticam_dask.analysis.gti import MAX_GAP, stretches
from opticam_dask.analysis.light_curve import FloatArray, LightCurve
from opticam_dask.errors import InputError

MAD_TO_SIGMA = 1.482602218505602


def find_outliers(
    curve: LightCurve,
    *,
    window: int = 25,
    n_sigma: float = 5.0,
    max_gap: float = MAX_GAP,
) -> NDArray[np.bool_]:
    """Mark samples far from the running median, stretch by stretch without a gap.

    A sample is far if it is off by more than `n_sigma` times the larger of its own error and the scatter
    (from the running median of absolute deviations) around it: errors that are too small do not turn good
    samples into outliers, nor does a quiet stretch. Signals shorter than half a window can be lost: flares,
    eclipses; look at what is marked, or take a shorter window.

    Parameters
    ----------
    curve : LightCurve
        What to search.
    window : int
        Samples in the running median, an odd number, 3 or more; stretches with fewer are not searched.
    n_sigma : float
        How far is too far.
    max_gap : float
        What a gap is, see `opticam_dask.analysis.gti.stretches`.

    Returns
    -------
    ndarray of bool, shape (n,)
        True for outliers.

    Raises
    ------
    InputError
        If a value makes no sense.
    """
    if window < 3 or window % 2 == 0:
        raise InputError(f"window must be an odd number of samples, 3 or more, not {window}")
    if not n_sigma > 0:
        raise InputError(f"n_sigma must be above zero, not {n_sigma}")
    marked = np.zeros(len(curve), dtype=bool)
    for rows in stretches(curve, max_gap):
        if rows.stop - rows.start >= window:
            off, scatter = _running(curve.flux[rows], window)
            marked[rows] = np.abs(off) > n_sigma * np.maximum(curve.flux_err[rows], scatter)
    return marked


def _running(flux: FloatArray, window: int) -> tuple[FloatArray, FloatArray]:
    """Distance from the running median, and scatter about it."""
    from scipy.ndimage import median_filter

    off = flux - median_filter(flux, window, mode="reflect")
    return off, MAD_TO_SIGMA * median_filter(np.abs(off), window, mode="reflect")
