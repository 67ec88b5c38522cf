"""How a night is followed: when the catalogue is made, when the night is over, what is drawn meanwhile."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from opticam_dask.calibration import CalibrationOptions
from opticam_dask.catalog.model import AlignmentConfig
from opticam_dask.errors import InputError
from opticam_dask.instrument import OPTICAM_MX, Instrument
from opticam_dask.stages.catalog import identity_of
from opticam_dask.stages.coordinates import WcsOption, wcs_identity

if TYPE_CHECKING:
    from astropy.coordinates import SkyCoord

FEWEST = 3
"""Frames that a catalogue is made of at least; only at the end are fewer enough."""
_UNITS = {"": 1.0, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+) *([a-z]*)")


def seconds_of(text: str | float) -> float:
    """Seconds that a text such as ``300``, ``300s``, ``5min`` or ``2h`` means.

    Raises
    ------
    InputError
        If it means none, or not more than 0.
    """
    match = _DURATION.fullmatch(str(text).strip().lower())
    value = float(match[1]) * _UNITS.get(match[2], math.nan) if match else math.nan
    if not value > 0:
        raise InputError(f"{text!r} is no time; write 90, 90s, 5min or 2h")
    return value


@dataclass(frozen=True)
class CatalogAfter:
    """When the catalogue of a camera is made: at so many frames, or so long after its first one.

    Parameters
    ----------
    frames : float
        Complete frames of the camera; infinite to wait for `seconds` alone.
    seconds : float
        Time since the first of them was there [s]; with three frames at least. Infinite to wait for
        `frames` alone.
    """

    frames: float = 100
    seconds: float = 120.0

    @classmethod
    def of(cls, text: str | int | CatalogAfter) -> CatalogAfter:
        """Rule that a text means: ``100`` (frames), ``120s`` (time), or ``100,120s``, whichever is first.

        Raises
        ------
        InputError
            If it means none, or fewer than three frames.
        """
        if isinstance(text, CatalogAfter):
            return text
        frames = seconds = math.inf
        for part in str(text).split(","):
            if part.strip().isdecimal():
                frames = int(part)
            else:
                seconds = seconds_of(part)
        if frames < FEWEST:
            raise InputError(f"a catalogue needs {FEWEST} frames at least, not {text}")
        return cls(frames, seconds)

    def reached(self, frames: int, waited_s: float) -> bool:
        """Whether so many frames, the first of which has waited so long, are enough."""
        return frames >= self.frames or (frames >= FEWEST and waited_s >= self.seconds)


@dataclass(frozen=True, kw_only=True)
class Reduction:
    """How frames are reduced: what `Reducer` and its `create_catalogs` take, with the same meaning.

    Parameters
    ----------
    instrument, target, barycenter, wcs, recursive, threshold, aperture_selector, background, finder
        As for `opticam_dask.Reducer`.
    alignment : AlignmentConfig
        Settings of alignment and catalogue.
    calibration : CalibrationOptions
        How raw frames are calibrated.
    """

    instrument: Instrument = OPTICAM_MX
    target: SkyCoord | str | None = None
    barycenter: bool = True
    wcs: WcsOption = None
    recursive: bool = False
    threshold: float = 5.0
    aperture_selector: Callable[..., Any] = np.median
    background: Callable[..., Any] | None = None
    finder: Callable[..., Any] | None = None
    alignment: AlignmentConfig = field(default_factory=AlignmentConfig)
    calibration: CalibrationOptions = field(default_factory=CalibrationOptions)

    def __post_init__(self) -> None:
        if not self.threshold > 0:
            raise InputError(f"threshold must be positive, not {self.threshold}")

    def settings(self) -> dict[str, Any]:
        """Everything that changes catalogues and times, but for the calibration."""
        return {
            **asdict(self.alignment),
            "instrument": self.instrument.to_dict(),
            "target": None if self.target is None else str(self.target),
            "barycenter": self.barycenter,
            "wcs": wcs_identity(self.wcs),
            "threshold": self.threshold,
            "aperture_selector": identity_of(self.aperture_selector),
            "background": identity_of(self.background),
            "finder": identity_of(self.finder),
        }


@dataclass(frozen=True, kw_only=True)
class Live:
    """How a folder is watched, and what is shown while frames come.

    Parameters
    ----------
    quiet_time : float or str
        The night is over when no new frame has been complete for so long [s], or such as ``'5min'``.
    catalog_after : str, int or CatalogAfter
        When the catalogue of a camera is made: ``'100'`` frames, ``'120s'`` after the first, or both,
        whichever is first.
    poll_s : float
        Time between two looks at the folder [s].
    plot : path, optional
        Figure of the light curves of `source`, drawn again as they grow: .png, .pdf or .svg.
    source : int
        Source ID.
    export_csv : bool
        Whether to write CSV files too, from time to time and at the end.

    Raises
    ------
    InputError
        If a time or a number makes no sense.
    """

    quiet_time: float | str = 300.0
    catalog_after: str | int | CatalogAfter = "100,120s"
    poll_s: float = 1.0
    plot: Path | None = None
    source: int = 1
    export_csv: bool = True

    def __post_init__(self) -> None:
        if not (self.quiet_s > 0 and self.poll_s > 0 and self.rule.frames >= FEWEST):
            raise InputError(f"times must be positive: quiet_time {self.quiet_time}, poll_s {self.poll_s}")
        if self.plot is not None and self.plot.suffix.lower() not in (".png", ".pdf", ".svg"):
            raise InputError(f"{self.plot}: a figure must be .png, .pdf or .svg")

    @property
    def quiet_s(self) -> float:
        """Quiet time [s]."""
        return seconds_of(self.quiet_time)

    @property
    def rule(self) -> CatalogAfter:
        """When a catalogue is made."""
        return CatalogAfter.of(self.catalog_after)
