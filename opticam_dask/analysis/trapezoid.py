"""Depth, times and width of a transit by a trapezoid, which does not lose the depth in ingress and egress."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from opticam_dask.analysis.gti import cadence
from opticam_dask.analysis.light_curve import FloatArray, LightCurve
from opticam_dask.analysis.transits import Transit
from opticam_dask.analysis.units import SECONDS_PER_DAY
from opticam_dask.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Trapezoid:
    """Transit with straight ingress and egress.

    Parameters
    ----------
    depth, depth_err : float
        Relative to the flux outside.
    transit_time, transit_time_err : float [d]
        Middle of the first transit, in the system of the light curve's times.
    duration, duration_err : float [s]
        From the middle of ingress to the middle of egress.
    ingress, ingress_err : float [s]
        Length of ingress, and of egress; not below a step of the light curve.
    reduced_chi2 : float
        Chi-square per degree of freedom. Errors are 1 sigma, times its square root where it is above 1.
    """

    depth: float
    depth_err: float
    transit_time: float
    transit_time_err: float
    duration: float
    duration_err: float
    ingress: float
    ingress_err: float
    reduced_chi2: float


def fit_trapezoid(curve: LightCurve, transit: Transit) -> Trapezoid:
    """Fit a trapezoid, and the flux outside, to a transit that `box_least_squares` found.

    A box through a transit with ingress and egress is shallower than it; this is not.

    Parameters
    ----------
    curve : LightCurve
        What the transit was found in.
    transit : Transit
        Where to start from; the period is kept.

    Raises
    ------
    InputError
        If too few samples lie around the transit, or the fit does not converge.
    """
    from scipy.optimize import least_squares

    middle = (transit.transit_time - curve.epoch) * SECONDS_PER_DAY
    since = (curve.seconds - middle + 0.5 * transit.period) % transit.period - 0.5 * transit.period
    level = float(np.median(curve.flux))
    flux, error = curve.flux / level, curve.flux_err / level
    width = transit.duration
    # nothing tells how much shorter than a step the ingress is
    shortest = min(cadence(curve) / width, 0.1)
    start = np.array([1.0, transit.depth, 0.0, 1.0, 0.2])
    found = least_squares(
        lambda p: (shape(since, p, width) - flux) / error,
        start,
        bounds=([0.5, 0.0, -0.5, 0.3, shortest], [1.5, 1.0, 0.5, 1.7, 1.0]),
        x_scale=[1e-3, 1e-3, 1e-2, 1e-2, 1e-1],
    )
    free = len(flux) - len(start)
    if not found.success or free < 1:
        raise InputError(f"{curve}: a trapezoid cannot be fitted to the transit; take the box")
    chi2 = 2.0 * float(found.cost) / free
    errors = np.sqrt(np.diag(np.linalg.pinv(found.jac.T @ found.jac)) * max(1.0, chi2))
    _, depth, offset, duration, ingress = (float(value) for value in found.x)
    _, depth_err, offset_err, duration_err, ingress_err = (float(value) for value in errors)
    return Trapezoid(
        depth=depth,
        depth_err=depth_err,
        transit_time=transit.transit_time + offset * width / SECONDS_PER_DAY,
        transit_time_err=offset_err * width / SECONDS_PER_DAY,
        duration=duration * width,
        duration_err=duration_err * width,
        ingress=ingress * width,
        ingress_err=ingress_err * width,
        reduced_chi2=chi2,
    )


def shape(since: FloatArray, parameters: FloatArray, width: float) -> FloatArray:
    """Flux of a trapezoid.

    Parameters
    ----------
    since : ndarray, shape (n,) [s]
        Times about the middle.
    parameters : ndarray, shape (5,)
        Flux outside; depth; offset, duration and length of ingress in units of `width`.
    width : float [s]
        Unit of time.
    """
    outside, depth, offset, duration, ingress = parameters
    edge = np.abs(since / width - offset) - 0.5 * duration
    return np.asarray(outside * (1.0 - depth * np.clip(0.5 - edge / ingress, 0.0, 1.0)))
