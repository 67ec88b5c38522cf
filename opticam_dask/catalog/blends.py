"""Sources of a stack whose image is that of more than one star."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from opticam_dask.kernels.moments import covariances
from opticam_dask.kernels.shape import relative_variance

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ENOUGH = 4  # bright stars, below which it is not known what one looks like
_BRIGHT = 0.03  # relative variance of the moments of a star at a signal-to-noise ratio of 20
_ELONGATION = 0.25  # of one axis' variance over the other's, less 1: optics alone may do this
_CLIP = 5.0  # standard deviations


def blended(stars: NDArray[np.void], gain: float) -> NDArray[np.bool_]:
    """Tell blends from single stars by their elongation against the common shape of all.

    Two stars too close for the finder widen their image along one axis. So does a resolved
    neighbour that shines into the image. A saturated star, or one out of focus, is widened along both, and a
    stack that smears stars smears many: none of these counts.

    Parameters
    ----------
    stars : ndarray of `kernels.moments.STAR`, shape (n,)
        Sources of a stack.
    gain : float
        Electrons per adu of the stack: the gain times the number of frames.

    Returns
    -------
    ndarray of bool, shape (n,)
        False for faint sources, and for all if fewer than four are bright.
    """
    found = np.zeros(len(stars), dtype=bool)
    variance = relative_variance(stars, gain)
    good = np.flatnonzero(stars["converged"] & (variance < _BRIGHT))
    if len(good) < _ENOUGH:
        return found
    excess = _elongation(covariances(stars[good]))
    typical = float(np.median(excess))
    spread = 1.4826 * float(np.median(np.abs(excess - typical)))
    limit = np.maximum(_ELONGATION + _CLIP * np.sqrt(variance[good]), _CLIP * spread)
    found[good] = excess - typical > limit
    return found


def _elongation(shapes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ratio of the largest to the smallest variance of each star, less 1, where the common shape is round."""
    xx, cross, yy = np.median(shapes, axis=0)
    root = np.linalg.cholesky([[xx, cross], [cross, yy]])
    inverse = np.linalg.inv(root)
    matrices = shapes[:, [0, 1, 1, 2]].reshape(-1, 2, 2)
    low, high = np.linalg.eigvalsh(inverse @ matrices @ inverse.T).T
    return np.asarray(high / low - 1.0)
