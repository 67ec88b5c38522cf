"""Calling a local background function of the user's, whatever it does."""

from __future__ import annotations

import inspect
import logging
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from opticam_dask.errors import InputError
from opticam_dask.photometers.source_digest import qualified_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from opticam_dask.types import PsfModel

_log = logging.getLogger(__name__)

PARAMETERS = ("data", "position", "semimajor_axis", "semiminor_axis", "orientation")
"""Names by which an estimator gets its arguments; ``error`` is passed to those that have it."""


def takes_error(estimator: Any) -> bool:
    """Whether an estimator wants the error image; checks that it takes the other arguments by name.

    Parameters
    ----------
    estimator : callable
        Local background estimator.

    Returns
    -------
    bool
        True if it has a parameter ``error``, or takes any keyword.

    Raises
    ------
    InputError
        If it cannot be called with the names in `PARAMETERS`.
    """
    if not callable(estimator):
        raise InputError(f"local background estimator: {estimator!r} cannot be called")
    try:
        parameters = inspect.signature(estimator).parameters.values()
    except (TypeError, ValueError) as error:
        raise InputError(f"local background {qualified_name(estimator)} has no signature: {error}") from error
    named = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    any_name = any(p.kind is p.VAR_KEYWORD for p in parameters)
    missing = [] if any_name else [name for name in PARAMETERS if name not in named]
    unknown = [p.name for p in parameters if _must_be_given(p) and p.name not in (*PARAMETERS, "error")]
    if missing or unknown:
        raise InputError(_complaint(estimator, missing, unknown))
    return any_name or "error" in named


def _must_be_given(parameter: inspect.Parameter) -> bool:
    variadic = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    if parameter.kind is parameter.POSITIONAL_ONLY:
        return parameter.default is parameter.empty
    return parameter.default is parameter.empty and not variadic


def _complaint(estimator: Any, missing: list[str], unknown: list[str]) -> str:
    text = f"local background {qualified_name(estimator)} is called by name with {', '.join(PARAMETERS)}"
    text += " (and error, if it has that parameter)"
    if missing:
        text += f"; it lacks {', '.join(missing)}"
    if unknown:
        text += f"; nothing is known to pass as {', '.join(unknown)}"
    return text


def arguments(position: NDArray[np.float64], psf: PsfModel) -> dict[str, Any]:
    """Arguments of one call but for the images: position [pixel], PSF axes [pixel] and angle [Quantity]."""
    import astropy.units as u

    return {
        "position": np.array(position, dtype=float),
        "semimajor_axis": psf.semimajor_sigma,
        "semiminor_axis": psf.semiminor_sigma,
        "orientation": psf.orientation * u.deg,
    }


def checked_result(result: Any) -> tuple[float, float]:
    """Level and scatter from what an estimator returned.

    Raises
    ------
    InputError
        If it is not a pair of finite numbers, the second not negative.
    """
    try:
        level, scatter = (float(value) for value in result)
    except (TypeError, ValueError) as error:
        raise InputError(f"returned {result!r} where (level, scatter) was expected") from error
    if not (math.isfinite(level) and math.isfinite(scatter) and scatter >= 0):
        raise InputError(f"returned ({level}, {scatter}): both must be finite, the scatter not negative")
    return level, scatter


def try_call(estimator: Any, images: dict[str, Any], place: dict[str, Any]) -> tuple[float, float]:
    """Level and scatter at one source; NaN, NaN if the estimator raises or returns something else."""
    try:
        return checked_result(estimator(**images, **place))
    except Exception as error:
        _log.debug("local background %s at %s: %s", qualified_name(estimator), place["position"], error)
        return math.nan, math.nan


def check_estimator(estimator: Any, psf: PsfModel) -> None:
    """Try an estimator once on a small synthetic frame with a star, as a run will call it.

    Parameters
    ----------
    estimator : callable
        Local background estimator.
    psf : PsfModel
        PSF it will be called with.

    Raises
    ------
    InputError
        If it takes other arguments, raises (its message is passed on), or returns something else than a
        pair of finite numbers.
    """
    wants_error = takes_error(estimator)
    side = 2 * math.ceil(10 * psf.semimajor_sigma) + 33
    data = np.random.default_rng(0).normal(100.0, 10.0, (side, side))
    data.setflags(write=False)
    images = {"data": data, "error": np.full((side, side), 10.0)} if wants_error else {"data": data}
    place = arguments(np.array([side / 2 + 0.2, side / 2 - 0.3]), psf)
    try:
        checked_result(estimator(**images, **place))
    except Exception as error:
        name, why = qualified_name(estimator), " ".join(str(error).split())
        raise InputError(
            f"local background {name} failed on a test frame: {type(error).__name__}: {why}"
        ) from error
