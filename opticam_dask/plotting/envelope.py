"""Long lines drawn with few points: lowest and highest value in each of some thousand steps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MAX_STEPS = 2_000


def envelope(
    x: NDArray[np.float64], y: NDArray[np.float64], *, log: bool = False, steps: int = MAX_STEPS
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Thin a line so that it looks the same: peaks and troughs stay.

    Parameters
    ----------
    x, y : ndarray, shape (n,)
        Line; `x` increases. Values of `y` that are NaN are left out.
    log : bool
        Steps are even in log `x`, for a logarithmic axis; what is not above zero is left out.
    steps : int
        Steps along `x`.

    Returns
    -------
    x, y : ndarray, shape (at most 2 * steps,)
        Of each step the lowest and the highest point, in order of `x`; a short line as it is.
    """
    good = np.isfinite(x) & np.isfinite(y) & ((x > 0) | (not log))
    x, y = x[good], y[good]
    if len(x) <= 2 * steps:
        return x, y
    along = np.log(x) if log else x
    number = ((along - along[0]) / (along[-1] - along[0]) * (steps * (1 - 1e-12))).astype(np.int64)
    order = np.lexsort((y, number))
    starts = np.flatnonzero(np.diff(number[order], prepend=-1))
    stops = np.append(starts[1:], len(order)) - 1
    kept = np.unique(np.concatenate([order[starts], order[stops]]))
    return x[kept], y[kept]
