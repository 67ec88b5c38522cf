"""Seconds and hertz from what users write, and packages that are optional."""

from __future__ import annotations

import math
import warnings
from importlib import import_module
from typing import Any

from opticam_dask.errors import InputError, MissingPackageError

SECONDS_PER_DAY = 86_400.0


def to_seconds(value: Any, name: str) -> float:
    """Duration in seconds of an astropy Quantity of time, or of a number of seconds.

    Raises
    ------
    InputError
        If it is no duration, or not above zero.
    """
    return _positive(value, "s", name)


def to_hertz(value: Any, name: str) -> float:
    """Frequency in hertz of an astropy Quantity, or of a number of hertz.

    Raises
    ------
    InputError
        If it is no frequency, or not above zero.
    """
    return _positive(value, "Hz", name)


def _positive(value: Any, unit: str, name: str) -> float:
    from astropy.units import UnitConversionError

    try:
        number = float(value.to_value(unit) if hasattr(value, "to_value") else value)
    except (UnitConversionError, TypeError, ValueError) as error:
        raise InputError(f"{name} must be a number or a Quantity in {unit}, not {value!r}") from error
    if not 0.0 < number < math.inf:
        raise InputError(f"{name} must be above zero and finite, not {value!r}")
    return number


def optional_package(name: str, purpose: str) -> Any:
    """Import an optional package; what it warns about while it is imported is not the user's doing.

    Raises
    ------
    MissingPackageError
        If it is not installed; the message holds the command that installs it.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return import_module(name)
    except ImportError as error:
        remedy = "'opticam-dask[analysis]'" if name == "stingray" else name
        raise MissingPackageError(f"{purpose} needs {name}: pip install {remedy}") from error
