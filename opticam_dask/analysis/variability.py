"""How much each star of a table varies: one row a star, on pandas or dask."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from opticam_dask.analysis.light_curve import FloatArray
from opticam_dask.analysis.tables import LEFT_OUT
from opticam_dask.schema import Flag

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("n", "mean", "rms", "expected_rms", "excess", "excess_err", "reduced_chi2", "von_neumann")


def variability(
    table: Any, by: Sequence[str] = ("camera", "source"), *, flux: str = "flux", leave_out: Flag = LEFT_OUT
) -> Any:
    """Measures of variability of each star.

    Parameters
    ----------
    table : pandas.DataFrame or dask.dataframe.DataFrame
        Such as `opticam_dask.open_light_curves` gives. On dask all rows of a star are brought together first,
        and nothing is computed here.
    by : sequence of str
        What makes a star: ``('object_id', 'camera')`` for a survey. Add ``'night'`` to go night by night.
    flux : str
        Column of the flux, with its error in ``<flux>_err``.
    leave_out : Flag
        Rows with any of these flags are left out.

    Returns
    -------
    DataFrame
        Of the same kind, with one row a star: ``n`` samples; ``mean`` flux; ``rms`` and ``expected_rms``
        (from the errors), relative to the mean; ``excess`` variance, relative and below zero where the errors
        are too large, and its error (Vaughan et al. 2003, MNRAS 345, 1271, equation 11); ``reduced_chi2``
        about the weighted mean; ``von_neumann``: mean square of successive differences over the variance, 2
        for white noise and less for what varies slowly. NaN for fewer than two samples.
    """
    values = ["BMJD", "MJD", flux, f"{flux}_err", "flags"]
    wanted = [name for name in values if name in table.columns]
    groups = table.groupby(list(by))[wanted]
    if hasattr(table, "dask"):
        meta = dict.fromkeys(COLUMNS, "f8")
        return groups.apply(_measures, flux=flux, leave_out=int(leave_out), meta=meta)
    return groups.apply(_measures, flux=flux, leave_out=int(leave_out))


def _measures(rows: pd.DataFrame, flux: str, leave_out: int) -> pd.Series:
    import pandas as pd

    values, errors = rows[flux].to_numpy(np.float64), rows[f"{flux}_err"].to_numpy(np.float64)
    good = np.isfinite(values) & np.isfinite(errors) & (errors > 0)
    if "flags" in rows:
        good &= (rows["flags"].to_numpy() & leave_out) == 0
    time = rows["MJD" if "MJD" in rows else "BMJD"].to_numpy()[good]
    order = np.argsort(time, kind="stable")
    numbers = _numbers(values[good][order], errors[good][order])
    return pd.Series(dict(zip(COLUMNS, numbers, strict=True)))


def _numbers(flux: FloatArray, error: FloatArray) -> tuple[float, ...]:
    n = len(flux)
    if n < 2:
        return (float(n), *([math.nan] * (len(COLUMNS) - 1)))
    mean, variance, noise = float(flux.mean()), float(flux.var(ddof=1)), float((error**2).mean())
    excess, weight = (variance - noise) / mean**2, error**-2.0
    level = float((weight * flux).sum() / weight.sum())
    relative = noise / mean**2
    spread = 2.0 / n * relative**2 + 4.0 * relative * max(excess, 0.0) / n
    steps = float((np.diff(flux) ** 2).sum()) / (n - 1)
    return (
        float(n),
        mean,
        math.sqrt(variance) / abs(mean),
        math.sqrt(relative),
        excess,
        math.sqrt(spread),
        float((weight * (flux - level) ** 2).sum()) / (n - 1),
        steps / variance if variance > 0 else math.nan,
    )
