"""Take out of a light curve what follows the airmass, the seeing, the place on the detector, or the sky."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from opticam_dask.analysis.light_curve import FloatArray, LightCurve
from opticam_dask.analysis.outliers import MAD_TO_SIGMA
from opticam_dask.analysis.units import to_hertz
from opticam_dask.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

Space: TypeAlias = Literal["flux", "magnitude"]
TIME = "time"
_MAG = 2.5 / math.log(10.0)


@dataclass(frozen=True, eq=False)
class Detrended:
    """A light curve without its trend, and the trend.

    Parameters
    ----------
    curve : LightCurve
        Flux over `model`. Samples where a regressor is unknown are not in it.
    model : ndarray, shape (n,)
        What the fluxes were divided by; 1 where every regressor has its median.
    coefficients : DataFrame
        Index: regressor, with ``^k`` for its k-th power. ``value`` and ``error`` per unit of the regressor
        (of its distance from ``centre``, its median): the relative flux, or the magnitude, that goes with it.
        Errors are 1 sigma, times the square root of the reduced chi-square where that is above 1.
    used : ndarray of bool, shape (n,)
        Samples in the fit; the others were clipped.
    removed : float
        Standard deviation of `model`: how much, relative to the flux, was taken out.
    reduced_chi2 : float
        Chi-square per degree of freedom of the samples used.
    n_left_out : int
        Samples left out since a regressor is unknown (NaN) or, in magnitudes, the flux is not above zero.
    """

    curve: LightCurve
    model: FloatArray
    coefficients: pd.DataFrame
    used: NDArray[np.bool_]
    removed: float
    reduced_chi2: float
    n_left_out: int


def detrend(
    curve: LightCurve,
    on: Sequence[str] = ("airmass",),
    *,
    degree: int = 1,
    space: Space = "flux",
    n_sigma: float = 5.0,
    protect: Sequence[Any] = (),
) -> Detrended:
    """Divide a light curve by the trend that a linear regression on some of its columns finds.

    A regression takes out whatever looks like its regressors, signals of the star included: a transit that
    falls on the rise of the airmass loses depth, a sine in step with the seeing loses amplitude. Look at
    ``removed`` and the coefficients' errors, take few regressors, and name known periods in `protect`: these
    are fitted at the same time, and stay in the light curve.

    Parameters
    ----------
    curve : LightCurve
        What to detrend.
    on : sequence of str
        Columns to regress on, and ``'time'``, in days.
    degree : int
        Highest power of each.
    space : {'flux', 'magnitude'}
        Fit the relative flux, or -2.5 log10 of it, in which extinction is linear in the airmass.
    n_sigma : float
        Samples further than this from the fit, in units of the larger of their error and the scatter, are
        clipped from the fit (not from the light curve) until none is.
    protect : sequence of Quantity or float [Hz]
        Frequencies of the star's own.

    Raises
    ------
    InputError
        If a column is missing, does not vary, or says the same as others, or too few samples are left.
    """
    if space not in get_args(Space):
        raise InputError(f"space must be one of {', '.join(get_args(Space))}, not {space!r}")
    terms = _terms(curve, on, degree)
    known = np.all([np.isfinite(term.samples) for term in terms], axis=0)
    if space == "magnitude":
        known &= curve.flux > 0
    good = curve.select(known)
    terms = [replace(term, samples=term.samples[known]) for term in terms]
    centred, scales = _standardised(good, terms)
    design = np.column_stack([np.ones(len(good)), centred, *_waves(good, protect)])
    values, errors = _observable(good, space)
    fit = _clipped_fit(good, design, values, errors, n_sigma)
    trend = centred @ fit.solution[1 : 1 + centred.shape[1]]
    model = trend / fit.solution[0] + 1.0 if space == "flux" else np.exp(-trend / _MAG)
    if not (model > 0).all():
        raise InputError(f"{curve}: the trend on {', '.join(on)} reaches zero; fit it in magnitudes")
    return Detrended(
        curve=good.with_flux(good.flux / model, good.flux_err / model),
        model=model,
        coefficients=_coefficients(terms, scales, fit, space),
        used=fit.used,
        removed=float(model.std()),
        reduced_chi2=fit.reduced_chi2,
        n_left_out=len(curve) - len(good),
    )


@dataclass(frozen=True)
class _Term:
    name: str
    samples: FloatArray
    centre: float


@dataclass(frozen=True)
class _Fit:
    solution: FloatArray
    covariance: FloatArray
    used: NDArray[np.bool_]
    reduced_chi2: float


def _terms(curve: LightCurve, on: Sequence[str], degree: int) -> list[_Term]:
    if degree < 1 or not on or isinstance(on, str):
        raise InputError(f"give a list of columns and a degree of 1 or more, not {on!r} and {degree}")
    terms = []
    for name in on:
        if name != TIME and name not in curve.columns:
            raise InputError(
                f"{curve}: no column {name!r} to detrend on; there are: {', '.join([TIME, *curve.columns])}"
            )
        values = curve.time - curve.epoch if name == TIME else curve.columns[name]
        finite = values[np.isfinite(values)]
        centre = float(np.median(finite)) if len(finite) else 0.0
        terms += [
            _Term(name if k == 1 else f"{name}^{k}", (values - centre) ** k, centre)
            for k in range(1, degree + 1)
        ]
    return terms


def _standardised(curve: LightCurve, terms: list[_Term]) -> tuple[FloatArray, FloatArray]:
    """Regressors of zero median and unit scatter, and their scatters."""
    if len(curve) < len(terms) + 2:
        raise InputError(f"{curve}: {len(curve)} samples with all regressors known are too few")
    matrix = np.column_stack([term.samples for term in terms])
    scales = matrix.std(axis=0)
    for term, scale in zip(terms, scales, strict=True):
        if not scale > 1e-12 * max(abs(term.centre), float(np.abs(term.samples).max())):
            raise InputError(f"{curve}: {term.name} does not vary; leave it out of the columns to detrend on")
    return (matrix - np.median(matrix, axis=0)) / scales, scales


def _waves(curve: LightCurve, protect: Sequence[Any]) -> list[FloatArray]:
    angles = [2 * math.pi * to_hertz(frequency, "protect") * curve.seconds for frequency in protect]
    return [wave(angle) for angle in angles for wave in (np.sin, np.cos)]


def _observable(curve: LightCurve, space: Space) -> tuple[FloatArray, FloatArray]:
    if space == "flux":
        return curve.flux, curve.flux_err
    return -_MAG * np.log(curve.flux), _MAG * curve.flux_err / curve.flux


def _clipped_fit(
    curve: LightCurve, design: FloatArray, values: FloatArray, errors: FloatArray, n_sigma: float
) -> _Fit:
    """Weighted least squares, again and again without samples that are too far off."""
    used = np.ones(len(values), dtype=bool)
    while True:
        rows, target = design[used] / errors[used, None], values[used] / errors[used]
        solution, _, rank, _ = np.linalg.lstsq(rows, target)
        if rank < design.shape[1] or used.sum() <= design.shape[1]:
            raise InputError(
                f"{curve}: the columns to detrend on cannot be told apart in {used.sum()} samples; "
                "take fewer columns or a lower degree"
            )
        off = np.abs(values - design @ solution) / errors
        scatter = max(1.0, MAD_TO_SIGMA * float(np.median(off[used])))
        kept = used & (off <= n_sigma * scatter)
        if kept.sum() == used.sum():
            break
        used = kept
    chi2 = float((off[used] ** 2).sum()) / (int(used.sum()) - design.shape[1])
    return _Fit(
        np.asarray(solution, np.float64),
        np.asarray(np.linalg.inv(rows.T @ rows) * max(1.0, chi2), np.float64),
        used,
        chi2,
    )


def _coefficients(terms: list[_Term], scales: FloatArray, fit: _Fit, space: Space) -> pd.DataFrame:
    import pandas as pd

    per_unit = scales * (fit.solution[0] if space == "flux" else 1.0)
    own = slice(1, 1 + len(terms))
    errors = np.sqrt(np.diag(fit.covariance)[own])
    columns = {
        "value": fit.solution[own] / per_unit,
        "error": errors / np.abs(per_unit),
        "centre": [term.centre for term in terms],
    }
    return pd.DataFrame(columns, index=pd.Index([term.name for term in terms], name="regressor"))
