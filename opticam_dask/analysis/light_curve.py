"""A light curve as the analysis takes it: sorted, finite, with its errors, units and time system."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from opticam_dask.analysis.units import SECONDS_PER_DAY
from opticam_dask.errors import InputError

if TYPE_CHECKING:
    from astropy.time import Time

FloatArray: TypeAlias = NDArray[np.float64]
TimeColumn: TypeAlias = Literal["BMJD", "MJD"]

TIME_SCALES: dict[str, str] = {"BMJD": "tdb", "MJD": "utc"}
"""Time scale of each time column."""

TIME_NAMES = {"BMJD": "BMJD (TDB, barycentric)", "MJD": "MJD (UTC)"}


@dataclass(frozen=True, eq=False, kw_only=True)
class LightCurve:
    """Fluxes of one source in one camera, sorted by time; every time, flux and error is finite.

    Times are kept as seconds since a whole day, not as days: float64 days step by 0.6 microseconds, seconds
    since the start of a night by less than a nanosecond.

    Parameters
    ----------
    seconds : ndarray, shape (n,), float64 [s]
        Mid-exposure times since `epoch`, not decreasing.
    flux, flux_err : ndarray, shape (n,), float64 [unit]
        Flux and its 1-sigma error, which is above zero.
    epoch : float [d]
        Day that `seconds` count from, in the system of `time_column`.
    time_column : {'BMJD', 'MJD'}
        Time system: BMJD is barycentric TDB, MJD is UTC at the observatory.
    unit : str
        Unit of the flux, such as ``'adu'``; empty for a relative flux.
    camera : str
        ``'<arm>:<filter>'``; empty if unknown.
    source : str
        Name or number of the source; empty if unknown.
    columns : mapping of str to ndarray, shape (n,), float64
        What else is known at each time, such as ``airmass``, ``fwhm``, ``x``, ``y``, ``bkg``; NaN if unknown.

    Raises
    ------
    InputError
        If arrays differ in length, a value is not finite, an error is not above zero, or times decrease.
    """

    seconds: FloatArray
    flux: FloatArray
    flux_err: FloatArray
    epoch: float = 0.0
    time_column: TimeColumn = "BMJD"
    unit: str = ""
    camera: str = ""
    source: str = ""
    columns: Mapping[str, FloatArray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.time_column not in TIME_SCALES:
            raise InputError(f"time_column must be BMJD or MJD, not {self.time_column!r}")
        for name in ("seconds", "flux", "flux_err"):
            object.__setattr__(self, name, self._finite(name))
        if not (self.flux_err > 0).all():
            raise InputError(f"{self}: errors of fluxes must be above zero")
        if (np.diff(self.seconds) < 0).any():
            raise InputError(f"{self}: times must not decrease; sort the rows by time")
        object.__setattr__(self, "columns", {name: self._column(name) for name in self.columns})

    def _finite(self, name: str) -> FloatArray:
        values = np.ascontiguousarray(getattr(self, name), dtype=np.float64)
        if values.shape != (len(self.seconds),):
            raise InputError(f"{self}: {name} has shape {values.shape}, times ({len(self.seconds)},)")
        if not np.isfinite(values).all():
            raise InputError(f"{self}: {name} must be finite; leave rows with NaN out")
        return values

    def _column(self, name: str) -> FloatArray:
        values = np.ascontiguousarray(self.columns[name], dtype=np.float64)
        if values.shape != self.seconds.shape:
            raise InputError(f"{self}: column {name} has shape {values.shape}, times {self.seconds.shape}")
        return values

    def __len__(self) -> int:
        return len(self.seconds)

    def __str__(self) -> str:
        return " ".join(filter(None, ("light curve", self.camera, self.source and f"source {self.source}")))

    def __repr__(self) -> str:
        span = f"{self.seconds[-1] - self.seconds[0]:g} s from" if len(self) else "nothing since"
        unit = f" [{self.unit}]" if self.unit else ""
        return f"<{self}: {len(self)} fluxes{unit}, {span} {self.time_column} {self.epoch:g}>"

    @property
    def time(self) -> FloatArray:
        """Times [d], float64 in the system of `time_column`: steps of 0.6 microseconds."""
        return self.epoch + self.seconds / SECONDS_PER_DAY

    @property
    def scale(self) -> str:
        """Time scale as astropy names it, ``'tdb'`` or ``'utc'``."""
        return TIME_SCALES[self.time_column]

    @property
    def astropy_time(self) -> Time:
        """Times as `astropy.time.Time` in two doubles, which lose nothing."""
        from astropy.time import Time

        return Time(self.epoch, self.seconds / SECONDS_PER_DAY, format="mjd", scale=self.scale)

    @property
    def relative_errors(self) -> FloatArray:
        """Errors over the mean flux."""
        return self.flux_err / abs(float(self.flux.mean()))

    def select(self, rows: Any) -> LightCurve:
        """Return the light curve of some rows: a mask, a slice, or indices that increase."""
        return replace(
            self,
            seconds=self.seconds[rows],
            flux=self.flux[rows],
            flux_err=self.flux_err[rows],
            columns={name: values[rows] for name, values in self.columns.items()},
        )

    def with_flux(self, flux: FloatArray, flux_err: FloatArray, *, unit: str | None = None) -> LightCurve:
        """Return the light curve with other fluxes at the same times."""
        return replace(self, flux=flux, flux_err=flux_err, unit=self.unit if unit is None else unit)

    def since(self, epoch: float) -> LightCurve:
        """Return the light curve with its seconds counted from another epoch [d]."""
        if epoch == self.epoch:
            return self
        return replace(self, epoch=epoch, seconds=self.seconds + (self.epoch - epoch) * SECONDS_PER_DAY)

    def normalised(self) -> LightCurve:
        """Return the light curve over its mean; the error of the mean itself is left out.

        Raises
        ------
        InputError
            If it is empty, or its mean is not above zero.
        """
        mean = float(self.flux.mean()) if len(self) else 0.0
        if not mean > 0:
            raise InputError(f"{self}: cannot normalise a light curve whose mean flux is {mean:g}")
        return self.with_flux(self.flux / mean, self.flux_err / mean, unit="")


def joined(first: LightCurve, second: LightCurve) -> LightCurve:
    """Merge two light curves of one source, in order of time; columns that only one has become NaN elsewhere.

    Raises
    ------
    InputError
        If their units, or time systems, differ.
    """
    if (first.unit, first.time_column) != (second.unit, second.time_column):
        raise InputError(
            f"cannot join light curves in {first.unit or 'relative flux'}, {first.time_column} "
            f"and in {second.unit or 'relative flux'}, {second.time_column}"
        )
    second = second.since(first.epoch)
    seconds = np.concatenate([first.seconds, second.seconds])
    order = np.argsort(seconds, kind="stable")
    names = dict.fromkeys([*first.columns, *second.columns])
    return replace(
        first,
        seconds=seconds[order],
        flux=np.concatenate([first.flux, second.flux])[order],
        flux_err=np.concatenate([first.flux_err, second.flux_err])[order],
        columns={name: _joined_column(name, first, second)[order] for name in names},
    )


def _joined_column(name: str, first: LightCurve, second: LightCurve) -> FloatArray:
    parts = [curve.columns.get(name, np.full(len(curve), np.nan)) for curve in (first, second)]
    return np.concatenate(parts)
