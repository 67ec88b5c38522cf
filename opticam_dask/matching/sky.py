"""Fields on the sky: positions on a tangent plane."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from opticam_dask.kernels.transform import apply, scale_of
from opticam_dask.kernels.transform_fit import fit_affine, fit_similarity
from opticam_dask.types import XY, Affine

_LARGEST_DEG = 20.0  # farther from the centre nothing of the same field can be


@dataclass(frozen=True, eq=False)
class TangentPlane:
    """Where pixels are on the sky.

    Parameters
    ----------
    centre : tuple of float
        Right ascension and declination where the plane touches the sky [degree].
    affine : ndarray, shape (2, 3)
        From pixels into the plane, x to the east, y to the north [degree].
    """

    centre: tuple[float, float]
    affine: Affine

    @property
    def scale(self) -> float:
        """Degrees per pixel."""
        return scale_of(self.affine)

    def sky(self, xy: XY) -> XY:
        """Right ascension and declination of pixels, shape (n, 2) [degree]."""
        return from_plane(apply(self.affine, xy), self.centre)


def to_plane(sky: XY, centre: tuple[float, float]) -> XY:
    """Gnomonic projection of (ra, dec) [degree]; NaN for what is far from the centre.

    References
    ----------
    Calabretta & Greisen 2002, A&A 395, 1077, section 5.1.3.
    """
    ra, dec = np.deg2rad(sky[:, 0] - centre[0]), np.deg2rad(sky[:, 1])
    dec0 = math.radians(centre[1])
    cosine = math.sin(dec0) * np.sin(dec) + math.cos(dec0) * np.cos(dec) * np.cos(ra)
    cosine = np.where(cosine > math.cos(math.radians(_LARGEST_DEG)), cosine, np.nan)
    x = np.cos(dec) * np.sin(ra) / cosine
    y = (math.cos(dec0) * np.sin(dec) - math.sin(dec0) * np.cos(dec) * np.cos(ra)) / cosine
    return np.rad2deg(np.column_stack([x, y]))


def from_plane(plane: XY, centre: tuple[float, float]) -> XY:
    """Right ascension and declination, shape (n, 2) [degree]: undo `to_plane`."""
    x, y = np.deg2rad(plane).T
    dec0 = math.radians(centre[1])
    ra = np.arctan2(x, math.cos(dec0) - y * math.sin(dec0))
    dec = np.arctan2((math.sin(dec0) + y * math.cos(dec0)) * np.cos(ra), math.cos(dec0) - y * math.sin(dec0))
    return np.column_stack([np.mod(np.rad2deg(ra) + centre[0], 360.0), np.rad2deg(dec)])


def plane_of(xy: XY, sky: XY, centre: tuple[float, float] | None = None) -> TangentPlane | None:
    """Fit a plane to sources whose sky coordinates are known.

    Parameters
    ----------
    xy, sky : ndarray, shape (n, 2)
        Places [pixel], right ascension and declination [degree]; NaN where unknown.
    centre : tuple of float, optional
        Where the plane touches; by default at the first source.

    Returns
    -------
    TangentPlane or None
        None if fewer than two coordinates are known, or they lie far from the centre.
    """
    known = np.isfinite(sky).all(axis=1)
    if known.sum() < 2:
        return None
    at = centre if centre is not None else (float(sky[known][0, 0]), float(sky[known][0, 1]))
    plane = to_plane(sky[known], at)
    near = np.asarray(np.isfinite(plane).all(axis=1))
    if near.sum() < 2:
        return None
    return TangentPlane(at, _fit(xy[known][near], plane[near]))


def _fit(xy: XY, plane: XY) -> Affine:
    weights = np.ones(len(xy))
    affine = np.asarray(fit_affine(xy, plane, weights)) if len(xy) > 2 else np.full((2, 3), np.nan)
    if np.isfinite(affine).all():
        return affine
    back = np.array([-1.0, 1.0])  # east is to the left of north where an image does not mirror
    similar = np.asarray(fit_similarity(np.ascontiguousarray(xy * back), plane, weights))
    return np.column_stack([similar[:, :2] * back, similar[:, 2]])
