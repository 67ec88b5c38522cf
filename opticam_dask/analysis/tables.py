"""Light curves from tables: which rows are left out, and which columns are taken."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from opticam_dask.analysis.light_curve import FloatArray, LightCurve, TimeColumn
from opticam_dask.analysis.units import SECONDS_PER_DAY
from opticam_dask.errors import InputError
from opticam_dask.schema import NULL_FLUX_FLAGS, Flag

if TYPE_CHECKING:
    import pandas as pd

LEFT_OUT = NULL_FLUX_FLAGS | Flag.SATURATED | Flag.CLOUD | Flag.COSMIC_RAY | Flag.BAD_TIME
"""Flags whose rows are left out unless told otherwise.

Kept are ``FORCED``, ``BLENDED``, ``CROWDED_SKY``, ``POINTING_BARYCENTRE``, ``NO_BARYCENTRE`` (where MJD
serves), ``QUANTISED_TIME`` and ``TIME_GAP``.
"""

REGRESSORS = ("airmass", "fwhm", "x", "y", "bkg", "exposure", "transparency")
"""Columns that come along, where the table has them."""

_FLUXES = (("rel_flux", "rel_flux_err"), ("flux", "flux_err"))


def from_table(
    table: pd.DataFrame,
    *,
    flux: str | None = None,
    time: TimeColumn | None = None,
    leave_out: Flag = LEFT_OUT,
    unit: str | None = None,
    camera: str | None = None,
    source: str | None = None,
) -> LightCurve:
    """Light curve from rows of one source in one camera, of one night or of many.

    Parameters
    ----------
    table : DataFrame
        Such as `opticam_dask.light_curve` or the CSV export gives: a time, a flux, its error, and what else
        there is. Rows need not be sorted.
    flux : str, optional
        Column of the flux; its error is in ``<flux>_err``. By default ``rel_flux`` if there is one, else
        ``flux``.
    time : {'BMJD', 'MJD'}, optional
        Column of the times; by default BMJD where any is known, else MJD.
    leave_out : Flag
        Rows with any of these flags are left out. So are, whatever the flags, rows whose time, flux or error
        is NaN or whose error is not above zero.
    unit : str, optional
        Unit of the flux; by default none for ``rel_flux``, else adu.
    camera, source : str, optional
        Names; by default those of the table.

    Raises
    ------
    InputError
        If a column is missing, no row is left, or the table mixes cameras or sources.
    """
    name, error_name = _flux_columns(table, flux)
    column = time or _time_column(table)
    days, values, errors = (_numbers(table, key) for key in (column, name, error_name))
    good = np.isfinite(days) & np.isfinite(values) & np.isfinite(errors) & (errors > 0)
    if "flags" in table:
        good &= (table["flags"].to_numpy() & int(leave_out)) == 0
    if not good.any():
        raise InputError(f"none of the {len(table)} rows has a {column}, {name} and error without bad flags")
    rows = np.flatnonzero(good)[np.argsort(days[good], kind="stable")]
    epoch = math.floor(days[rows[0]])
    return LightCurve(
        seconds=(days[rows] - epoch) * SECONDS_PER_DAY,
        flux=values[rows],
        flux_err=errors[rows],
        epoch=float(epoch),
        time_column=column,
        unit=_unit(name, unit),
        camera=_only(table, "camera") if camera is None else camera,
        source=_source(table) if source is None else source,
        columns={key: _numbers(table, key)[rows] for key in REGRESSORS if key in table},
    )


def _flux_columns(table: pd.DataFrame, flux: str | None) -> tuple[str, str]:
    pairs = _FLUXES if flux is None else ((flux, f"{flux}_err"),)
    for name, error in pairs:
        if name in table and error in table:
            return name, error
    wanted = " or ".join(f"{name}, {error}" for name, error in pairs)
    raise InputError(f"no columns {wanted}; there are: {', '.join(map(str, table.columns))}")


def _time_column(table: pd.DataFrame) -> TimeColumn:
    if "BMJD" in table and ("MJD" not in table or np.isfinite(_numbers(table, "BMJD")).any()):
        return "BMJD"
    return "MJD"


def _numbers(table: pd.DataFrame, name: str) -> FloatArray:
    if name not in table:
        raise InputError(f"no column {name}; there are: {', '.join(map(str, table.columns))}")
    return table[name].to_numpy(np.float64)


def _unit(flux: str, unit: str | None) -> str:
    if unit is not None:
        return unit
    return "" if flux.startswith("rel") else "adu"


def _source(table: pd.DataFrame) -> str:
    return _only(table, "object_id" if "object_id" in table else "source")


def _only(table: pd.DataFrame, name: str) -> str:
    found: list[Any] = list(table[name].unique()) if name in table else []
    if len(found) > 1:
        raise InputError(f"several {name}s in one table ({found[0]}, {found[1]}, ...); give the rows of one")
    return str(found[0]) if found else ""
