"""What the automatic ensemble is told."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from opticam_dask.errors import InputError


@dataclass(frozen=True, kw_only=True)
class EnsembleConfig:
    """Settings of the automatic choice of comparison stars.

    Parameters
    ----------
    max_comparisons : int
        Most stars to compare with: the brightest of those fit for it. Twice as many are looked at.
    min_comparisons : int
        Variable stars are rejected until so many are left.
    min_snr : float
        Least median signal-to-noise ratio of a star in one frame.
    min_fraction : float
        Least fraction of the frames in which a star must have been measured without fault.
    n_sigma : float
        A star is variable when its variance exceeds what is usual for its brightness by so many standard
        errors, from frame to frame or from one stretch of the night to the next.
    max_bad_nights : float
        In a survey, a star variable in more than this fraction of its nights, and in more than one, is used
        in none.

    Raises
    ------
    InputError
        If a value makes no sense.
    """

    max_comparisons: int = 20
    min_comparisons: int = 3
    min_snr: float = 5.0
    min_fraction: float = 0.5
    n_sigma: float = 5.0
    max_bad_nights: float = 0.1

    def __post_init__(self) -> None:
        if not 1 <= self.min_comparisons <= self.max_comparisons:
            raise InputError(
                "min_comparisons must be at least 1 and at most max_comparisons, not "
                f"{self.min_comparisons} and {self.max_comparisons}"
            )
        for name, low, high in (
            ("min_snr", 0.0, float("inf")),
            ("min_fraction", 0.0, 1.0),
            ("n_sigma", 2.0, float("inf")),
            ("max_bad_nights", 0.0, 1.0),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(f"{name} must be between {low:g} and {high:g}, not {value!r}")

    def settings(self) -> dict[str, Any]:
        """Plain values, for the record."""
        return asdict(self)
