"""Cross-correlation by stingray itself."""

from __future__ import annotations

from typing import Any

from opticam_dask.analysis.light_curve import LightCurve
from opticam_dask.analysis.power import (
    even_stretches,
    matched,
    poisson_only_notice_unsaid,
    stingray,
    to_stingray,
)
from opticam_dask.errors import InputError


def stingray_correlation(
    first: LightCurve, second: LightCurve, mode: str = "same", norm: str = "variance", *, match: bool = True
) -> Any:
    """Cross-correlation of two cameras that sample together, evenly and without a gap.

    Parameters
    ----------
    first, second : LightCurve
        Cameras.
    mode : {'same', 'valid', 'full'}
        Of stingray.
    norm : {'variance', 'none'}
        Of stingray.
    match : bool
        Keep only samples at times that both have.

    Returns
    -------
    stingray.CrossCorrelation
        Lags in seconds, positive where the first comes later.

    Raises
    ------
    InputError
        If steps are uneven, there are gaps, or the cameras do not sample together.
    MissingPackageError
        If stingray is not installed.
    """
    correlation = stingray().CrossCorrelation
    second = second.since(first.epoch)
    first, second = matched(first, second) if match else (first, second)
    for curve in (first, second):
        if len(even_stretches(curve)) > 1:
            raise InputError(f"{curve}: there are gaps; use cross_correlate(), or method='zdcf' or 'iccf'")
    if len(first) != len(second):
        raise InputError(f"{first} and {second} have {len(first)} and {len(second)} samples; match them")
    with poisson_only_notice_unsaid():
        return correlation(to_stingray(first), to_stingray(second), mode=mode, norm=norm)
