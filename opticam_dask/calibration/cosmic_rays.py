"""Cosmic rays of a single frame, by their edges: sharper than any star's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opticam_dask.types import XY

SIGMAS = 5.0
"""Edge of a ray, at least, in units of the noise there."""
NEIGHBOURS = 0.5
"""The same for pixels beside a ray, in units of `SIGMAS`."""
CONTRAST = 5.0
"""Edge of a ray, at least, in units of the fine structure that stars have as well."""
SMOOTH = 0.65
"""Mean of the pixels on two opposite sides of a star's pixel, at least, in units of that pixel: it is
exp(-1/(2 s^2)) for a star of standard deviation s, so stars of 1.1 pixels and more are safe."""
_SURE = 3.0  # a ray's pixel exceeds what a star's could be by this many standard deviations
_ROUNDS = 4
_UNKNOWN_READ_NOISE = 5.0  # electron
_MARGIN = 8  # the method looks at the surroundings of a pixel [pixel]
_NONE = np.empty(0, np.int64)


def cosmic_rays(
    image: NDArray[np.float32], bad: NDArray[np.bool_], *, gain: float, read_noise: float
) -> NDArray[np.int64]:
    """Find the pixels hit by cosmic rays with L.A.Cosmic (van Dokkum 2001), as astroscrappy has it.

    Parameters
    ----------
    image : ndarray, shape (ny, nx), float32
        Frame with its sky but without bias; values at bad pixels do not matter.
    bad : ndarray of bool
        Pixels that are known to be bad, saturated ones included: none of them is a cosmic ray.
    gain : float
        Gain [electron per unit of the image].
    read_noise : float
        Read noise [electron]; 5 if NaN.

    Returns
    -------
    ndarray of int64
        Flat indices.

    Notes
    -----
    The method takes the cores of bright stars for rays where they are hardly wider than a pixel. So what it
    finds stands only where at least one pixel is sharper than that of any star: above what its neighbours
    on two opposite sides allow, see `SMOOTH`.
    """
    import astroscrappy

    usual = float(np.median(image[~bad])) if not bad.all() else 0.0
    filled = np.where(bad, np.float32(usual), image).astype(np.float32)
    found: Any
    found, _ = astroscrappy.detect_cosmics(
        np.ascontiguousarray(filled, np.float32),
        inmask=np.ascontiguousarray(bad),
        sigclip=SIGMAS,
        sigfrac=NEIGHBOURS,
        objlim=CONTRAST,
        gain=gain,
        readnoise=read_noise if math.isfinite(read_noise) else _UNKNOWN_READ_NOISE,
        satlevel=math.inf,
        niter=_ROUNDS,
        sepmed=True,
        cleantype="medmask",
        fsmode="median",
    )
    found = np.asarray(found) & ~bad
    return _sharp_groups(filled - np.float32(usual), found, usual, gain, read_noise) if found.any() else _NONE


def cosmic_rays_near(
    image: NDArray[np.float32],
    bad: NDArray[np.bool_],
    places: XY,
    reach: float,
    *,
    gain: float,
    read_noise: float,
) -> NDArray[np.int64]:
    """Find the pixels hit by cosmic rays near some places; as `cosmic_rays`, which looks at the whole frame.

    Parameters
    ----------
    image, bad, gain, read_noise
        As for `cosmic_rays`.
    places : ndarray, shape (n, 2) [pixel]
        Where to look; NaN and places off the frame are skipped.
    reach : float
        Half width of the square to look at around each place [pixel].

    Returns
    -------
    ndarray of int64
        Flat indices, sorted. Where the squares together are larger than the frame, the frame is searched.
    """
    half, (ny, nx) = math.ceil(reach) + _MARGIN, image.shape
    with np.errstate(invalid="ignore"):
        near = ((places > -half) & (places < np.array([nx, ny]) + half - 1)).all(axis=1)
    corners = np.floor(places[near] + 0.5).astype(np.int64) - half
    if len(corners) * (2 * half + 1) ** 2 >= ny * nx:
        return cosmic_rays(image, bad, gain=gain, read_noise=read_noise)
    found = [_NONE]
    for x, y in np.unique(corners, axis=0):
        rows = slice(max(y, 0), min(y + 2 * half + 1, ny))
        columns = slice(max(x, 0), min(x + 2 * half + 1, nx))
        window = image[rows, columns]
        hit = cosmic_rays(window, bad[rows, columns], gain=gain, read_noise=read_noise)
        row, column = np.divmod(hit, window.shape[1])
        found.append((row + rows.start) * nx + column + columns.start)
    return np.unique(np.concatenate(found))


def _sharp_groups(
    light: NDArray[np.float32], found: NDArray[np.bool_], sky: float, gain: float, read_noise: float
) -> NDArray[np.int64]:
    """Flat indices of groups of touching pixels of which one at least is sharper than a star."""
    from scipy.ndimage import label

    groups, _ = label(found, np.ones((3, 3)))
    y, x = np.nonzero(found)
    padded = np.pad(light, 1, mode="edge")
    across = 0.5 * (padded[y + 1, x] + padded[y + 1, x + 2])
    along = 0.5 * (padded[y, x + 1] + padded[y + 2, x + 1])
    beside = np.minimum(across, along).astype(np.float64)
    value = light[y, x].astype(np.float64)
    dark = (read_noise / gain) ** 2 if math.isfinite(read_noise) else (_UNKNOWN_READ_NOISE / gain) ** 2
    star = np.maximum(beside, 0.0) / SMOOTH  # what a star could have here, and its noise: not the ray's own
    noise = np.sqrt(
        (np.maximum(star + sky, 0.0) / gain + dark)
        + (np.maximum(beside + sky, 0.0) / gain + dark) / (2.0 * SMOOTH**2)
    )
    sharp = np.unique(groups[y, x][value - star > _SURE * noise])
    return np.flatnonzero(np.isin(groups, sharp) & found)
