"""Small checks of a scene's values; every message shows the offending value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from opticam_dask.errors import InputError


def whole(owner: object, name: str, low: int) -> None:
    """Require an integer of at least ``low``."""
    value = getattr(owner, name)
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise InputError(f"{name} must be a whole number of at least {low}, not {value!r}")


def number(owner: object, name: str, low: float = -math.inf, high: float = math.inf) -> None:
    """Require a finite number within ``[low, high]``."""
    value = getattr(owner, name)
    if not is_finite(value) or not low <= value <= high:
        raise InputError(f"{name} must be a finite number{_range(low, high)}, not {value!r}")


def positive(owner: object, name: str) -> None:
    """Require a finite number above zero."""
    value = getattr(owner, name)
    if not is_finite(value) or value <= 0:
        raise InputError(f"{name} must be a finite number above 0, not {value!r}")


def optional(owner: object, name: str, low: float) -> None:
    """Require None, or a finite number of at least ``low``."""
    if getattr(owner, name) is not None:
        number(owner, name, low)


def choice(owner: object, name: str, allowed: tuple[str, ...]) -> None:
    """Require one of the allowed words."""
    value = getattr(owner, name)
    if value not in allowed:
        raise InputError(f"{name} must be one of {', '.join(allowed)}, not {value!r}")


def flag(owner: object, name: str) -> None:
    """Require True or False."""
    value = getattr(owner, name)
    if not isinstance(value, bool):
        raise InputError(f"{name} must be true or false, not {value!r}")


def pair(owner: object, name: str) -> None:
    """Require two finite numbers, and keep them as a tuple."""
    value = getattr(owner, name)
    if not _is_sequence(value, 2) or not all(is_finite(item) for item in value):
        raise InputError(f"{name} must be two finite numbers, not {value!r}")
    freeze(owner, name, tuple(value))


def is_finite(value: Any) -> bool:
    """Whether a value is a finite number (and not a bool or text)."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def freeze(owner: object, name: str, value: object) -> None:
    """Set a field of a frozen dataclass while it is being made."""
    object.__setattr__(owner, name, value)


def _is_sequence(value: Any, length: int) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and len(value) == length


def _range(low: float, high: float) -> str:
    if high < math.inf:
        return f" from {low:g} to {high:g}"
    return f" of at least {low:g}" if low > -math.inf else ""
