"""Sums over elliptical apertures with the exact area of each pixel inside."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from opticam_dask.kernels.noise import FLUX_COLUMNS, NO_FLAT, Fluxes, keep_good, weighted_flux
from opticam_dask.kernels.optimal import MIN_FRACTION
from opticam_dask.kernels.profile import all_plain, fill_profile, pixel_flag, profile_radius
from opticam_dask.kernels.stamps import stamp_batches
from opticam_dask.kernels.sums import dot

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from opticam_dask.kernels.optimal import SourceSky
    from opticam_dask.kernels.stamps import Ellipse
    from opticam_dask.types import XY, Image

_TOUCHES = 1e-10
"""An area below this is rounding: exact overlaps are good to about 1e-13 [pixel^2]."""


def aperture_sums(image: Image, xy: XY, aperture: Ellipse) -> NDArray[np.float64]:
    """Sum an image over elliptical apertures, bad pixels counted as 0.

    Parameters
    ----------
    image : ndarray, shape (ny, nx), uint16, float32 or float64 [adu]
        Image; nothing is subtracted.
    xy : ndarray, shape (n, 2) [pixel]
        Centres.
    aperture : Ellipse
        Semi-axes and angle.

    Returns
    -------
    ndarray, shape (n,) [adu]
        Sums; 0 for an aperture wholly off the frame.
    """
    sums = np.zeros(len(xy))
    shape = (aperture.semimajor, aperture.semiminor, aperture.orientation_rad)
    for rows, stamps in stamp_batches(image, xy, aperture.half_extent(1.0)):
        _sum_all(stamps.pixels, stamps.xy, shape, sums[rows])
    return sums


def aperture_fluxes(
    image: Image,
    xy: XY,
    psf: Ellipse,
    aperture: Ellipse,
    sky: SourceSky,
    *,
    saturation: float = math.nan,
    beta: float = math.inf,
    correct: bool = True,
    flat_variance: NDArray[np.float32] | None = None,
) -> Fluxes:
    """Background-subtracted counts of stars in elliptical apertures.

    Parameters
    ----------
    image : ndarray, shape (ny, nx), uint16, float32 or float64 [adu]
        NaN marks a bad pixel.
    xy : ndarray, shape (n, 2) [pixel]
        Positions.
    psf : Ellipse
        Standard deviations of the profile (of a Moffat: its FWHM / 2.3548) and the angle of its major axis.
    aperture : Ellipse
        Semi-axes of the aperture and the angle of the first.
    sky : SourceSky
        Sky under each source.
    saturation : float
        Level from which a pixel counts as saturated [adu]; NaN for none.
    beta : float
        Exponent of a Moffat profile; infinite for a Gaussian.
    correct : bool
        Divide by the part of the profile that the aperture holds, for total counts. If not, the counts in
        the aperture; what bad pixels and the frame's edge took away is still made up for by the profile.
    flat_variance : ndarray, shape (ny, nx), optional
        Relative variance of the flat field that the image was divided by.

    Returns
    -------
    Fluxes
        NaN where the sky is, and where less than half of the profile's counts in the aperture fall on good
        pixels (with EDGE or NON_FINITE set).
    """
    table = np.full((len(xy), FLUX_COLUMNS), np.nan)
    flags = np.zeros(len(xy), dtype=np.int64)
    sky_level = np.asarray(sky.level, dtype=float)
    radius = profile_radius(beta)
    half = np.maximum(psf.half_extent(radius), aperture.half_extent(1.0))
    shape = (*map(float, psf), float(beta), radius)
    flat = NO_FLAT if flat_variance is None else flat_variance
    for rows, stamps in stamp_batches(image, xy, (half[0], half[1])):
        _fluxes(
            stamps.pixels, stamps.xy, stamps.corner, stamps.shape, shape, tuple(aperture),
            sky_level[rows], saturation, correct, flat, table[rows], flags[rows],
        )  # fmt: skip
    return Fluxes.of(table, flags)


@njit(cache=True, nogil=True)
def _fluxes(pixels, xy, corner, frame, psf, aperture, level, saturation, correct, flat, table, flags):
    profile, weights = np.empty(pixels.shape[1:]), np.empty(pixels.shape[1:])
    kept = np.empty((4, pixels[0].size))
    for k in range(pixels.shape[0]):
        fill_profile(profile, xy[k, 0], xy[k, 1], psf)
        fill_overlap(weights, xy[k, 0], xy[k, 1], aperture[0], aperture[1], aperture[2])
        flags[k] = _aperture_flags(pixels[k], weights, corner[k], frame, saturation)
        n = keep_good(pixels[k], weights, profile, level[k], flat, corner[k], kept)
        areas, part = kept[1, :n], kept[2, :n]
        held, whole = dot(areas, part), dot(weights.ravel(), profile.ravel())
        if held > 0.0 and held >= MIN_FRACTION * whole:
            scale = 1.0 if correct else whole
            weighted_flux(kept[0, :n], areas, part, kept[3, :n], scale, table[k])


@njit(cache=True, nogil=True)
def _aperture_flags(pixels, weights, corner, frame, saturation):
    flags = np.int64(0)
    if all_plain(pixels, saturation):
        return flags
    for j in range(pixels.shape[0]):
        for i in range(pixels.shape[1]):
            if weights[j, i] > 0.0:
                flags |= pixel_flag(pixels[j, i], corner[0] + i, corner[1] + j, frame, saturation)
    return flags


@njit(cache=True, nogil=True)
def _sum_all(pixels, xy, aperture, sums):
    weights = np.empty(pixels.shape[1:])
    for k in range(pixels.shape[0]):
        fill_overlap(weights, xy[k, 0], xy[k, 1], aperture[0], aperture[1], aperture[2])
        for j in range(pixels.shape[1]):
            for i in range(pixels.shape[2]):
                if weights[j, i] > 0.0 and not math.isnan(pixels[k, j, i]):
                    sums[k] += weights[j, i] * pixels[k, j, i]


@njit(cache=True, nogil=True)
def fill_overlap(weights, x, y, a, b, theta):
    """Fill ``weights`` with the area of each pixel inside the ellipse.

    In coordinates along the axes, scaled by them, the ellipse is the unit circle and a pixel a
    parallelogram, whose overlap is exact; areas scale back by a * b.
    """
    cos, sin = math.cos(theta), math.sin(theta)
    column = (cos / a, -sin / b)  # one pixel along +x, in units of the axes
    row = (sin / a, cos / b)
    reach = 0.5 * (math.hypot(column[0], column[1]) + math.hypot(row[0], row[1]))
    for j in range(weights.shape[0]):
        for i in range(weights.shape[1]):
            u = (i - x) * column[0] + (j - y) * row[0]
            v = (i - x) * column[1] + (j - y) * row[1]
            distance = math.hypot(u, v)
            if distance >= 1.0 + reach:
                weights[j, i] = 0.0
            elif distance <= 1.0 - reach:
                weights[j, i] = 1.0
            else:
                area = a * b * _disc_overlap(u, v, column, row)
                # What rounding leaves of a pixel outside must not bring its flags along.
                weights[j, i] = area if area > _TOUCHES else 0.0


@njit(cache=True, nogil=True)
def _disc_overlap(u, v, column, row):
    """Area common to the unit disc and the parallelogram with centre (u, v) and the given sides."""
    corner_u = (-0.5, 0.5, 0.5, -0.5)
    corner_v = (-0.5, -0.5, 0.5, 0.5)
    area = 0.0
    for k in range(4):
        nxt = (k + 1) % 4
        area += _edge_overlap(
            u + corner_u[k] * column[0] + corner_v[k] * row[0],
            v + corner_u[k] * column[1] + corner_v[k] * row[1],
            u + corner_u[nxt] * column[0] + corner_v[nxt] * row[0],
            v + corner_u[nxt] * column[1] + corner_v[nxt] * row[1],
        )
    return max(area, 0.0)


@njit(cache=True, nogil=True)
def _edge_overlap(px, py, qx, qy):
    """Signed area common to the unit disc and the triangle (origin, p, q).

    Summed over the edges of a polygon, counter-clockwise, this is the area of the polygon in the disc.
    Where the edge runs inside the disc the area is a triangle, elsewhere a sector.
    """
    dx, dy = qx - px, qy - py
    square = dx * dx + dy * dy
    along = px * dx + py * dy
    discriminant = along * along - square * (px * px + py * py - 1.0)
    if discriminant <= 0.0:
        return _sector(px, py, qx, qy)
    root = math.sqrt(discriminant)
    enter, leave = (-along - root) / square, (-along + root) / square
    if enter >= 1.0 or leave <= 0.0:
        return _sector(px, py, qx, qy)
    enter, leave = max(enter, 0.0), min(leave, 1.0)
    ex, ey = px + enter * dx, py + enter * dy
    lx, ly = px + leave * dx, py + leave * dy
    area = 0.5 * (ex * ly - ey * lx)
    if enter > 0.0:
        area += _sector(px, py, ex, ey)
    if leave < 1.0:
        area += _sector(lx, ly, qx, qy)
    return area


@njit(cache=True, nogil=True)
def _sector(px, py, qx, qy):
    return 0.5 * math.atan2(px * qy - py * qx, px * qx + py * qy)
