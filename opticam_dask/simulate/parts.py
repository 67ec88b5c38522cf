"""The parts a scene is made of: cameras, variable stars, transits, clouds."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from opticam_dask.errors import InputError
from opticam_dask.simulate import checks

ARM_OF_FILTER = {"u": 1, "g": 1, "r": 2, "i": 3, "z": 3}


@dataclass(frozen=True, kw_only=True)
class CameraSetup:
    """One camera: its filter and how it takes exposures.

    Parameters
    ----------
    filter : str
        Name of the filter, letters and digits.
    arm : int, optional
        Arm of the instrument; by default that of OPTICAM's filter (u, g: 1; r: 2; i, z: 3).
    cadence_s : float
        Time from the start of one exposure to the next [s].
    start_offset_s : float
        Start of the first exposure after the scene's start [s].
    exposure_s : float, optional
        Exposure time [s]; by default the scene's, but never longer than the cadence.
    dropped_fraction : float
        Chance that an exposure is lost, each on its own.
    timing_jitter_s : float
        Scatter of the start times [s].
    n_frames : int, optional
        Number of exposures; by default the scene's.
    flux_scale : float
        Factor on the stars' counts in this camera.
    mirrored : bool
        Whether its image is mirrored left to right against the scene, as by a dichroic.
    rotation_deg : float
        Rotation of its image about the middle of the frame, after that [degree].
    plate_scale : float
        Its pixels per pixel of the scene.
    offset_px : tuple of float
        Shift of its image along x and y [pixel].
    """

    filter: str
    arm: int | None = None
    cadence_s: float = 1.0
    start_offset_s: float = 0.0
    exposure_s: float | None = None
    dropped_fraction: float = 0.0
    timing_jitter_s: float = 0.0
    n_frames: int | None = None
    flux_scale: float = 1.0
    mirrored: bool = False
    rotation_deg: float = 0.0
    plate_scale: float = 1.0
    offset_px: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        if not isinstance(self.filter, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9]*", self.filter):
            raise InputError(f"filter must be letters and digits, not {self.filter!r}")
        checks.number(self, "cadence_s", 0.001)
        checks.number(self, "start_offset_s")
        checks.optional(self, "exposure_s", 0.0)
        checks.number(self, "dropped_fraction", 0.0, 1.0)
        checks.number(self, "timing_jitter_s", 0.0)
        checks.positive(self, "flux_scale")
        checks.flag(self, "mirrored")
        checks.number(self, "rotation_deg")
        checks.positive(self, "plate_scale")
        checks.pair(self, "offset_px")
        if self.n_frames is not None:
            checks.whole(self, "n_frames", 1)
        self._set_arm()

    def _set_arm(self) -> None:
        if self.arm is None:
            checks.freeze(self, "arm", ARM_OF_FILTER.get(self.filter))
        if self.arm is None:
            raise InputError(f"filter {self.filter!r} belongs to no known arm: give the camera an arm")
        checks.whole(self, "arm", 1)

    @property
    def name(self) -> str:
        """Name of the camera, ``'<arm>:<filter>'``."""
        return f"{self.arm}:{self.filter}"


@dataclass(frozen=True, kw_only=True)
class Variable:
    """A star whose counts follow ``1 + amplitude * sin(2 pi frequency t + phase)``.

    Parameters
    ----------
    star : int
        The star, from 1, brightest first.
    amplitude : float
        Fractional amplitude; the fractional RMS is 0.707 of it.
    frequency_hz : float
        Frequency [Hz].
    phase_rad : tuple of float
        Phase in each camera [rad] at the scene's start; one value serves all cameras. The time t
        is that of mid-exposure.
    """

    star: int
    amplitude: float
    frequency_hz: float
    phase_rad: tuple[float, ...] = (0.0,)

    def __post_init__(self) -> None:
        checks.whole(self, "star", 1)
        checks.number(self, "amplitude", 0.0, 1.0)
        checks.number(self, "frequency_hz", 0.0)
        phases = self.phase_rad if isinstance(self.phase_rad, tuple | list) else (self.phase_rad,)
        if not phases or not all(checks.is_finite(phase) for phase in phases):
            raise InputError(
                f"phase_rad must be one finite number, or one per camera, not {self.phase_rad!r}"
            )
        checks.freeze(self, "phase_rad", tuple(phases))


@dataclass(frozen=True, kw_only=True)
class Transit:
    """A star that dims for a while, with straight ingress and egress.

    Parameters
    ----------
    star : int
        The star, from 1, brightest first.
    depth : float
        Fraction of the counts lost.
    middle_s : float
        Middle of the transit after the scene's start [s].
    duration_s : float
        From first to last contact [s].
    ingress_s : float
        Duration of the ingress, and of the egress [s]; at most half the whole.
    """

    star: int
    depth: float
    middle_s: float
    duration_s: float
    ingress_s: float = 0.0

    def __post_init__(self) -> None:
        checks.whole(self, "star", 1)
        checks.number(self, "depth", 0.0, 1.0)
        checks.number(self, "middle_s")
        checks.positive(self, "duration_s")
        checks.number(self, "ingress_s", 0.0, self.duration_s / 2)


@dataclass(frozen=True, kw_only=True)
class Cloud:
    """A cloud over all cameras while the first camera takes exposures ``start`` to ``stop - 1``.

    Parameters
    ----------
    start, stop : int
        Numbers of exposures of the first camera; its cadence turns them into times.
    extinction_mag : float
        Extinction [mag]; infinity for a cloud that lets nothing through.
    """

    start: int
    stop: int
    extinction_mag: float = math.inf

    def __post_init__(self) -> None:
        checks.whole(self, "start", 0)
        checks.whole(self, "stop", self.start + 1)
        mag = self.extinction_mag
        if not isinstance(mag, int | float) or not mag >= 0:
            raise InputError(f"extinction_mag must be a number of at least 0, not {mag!r}")

    @property
    def transparency(self) -> float:
        """Fraction of the stars' light that comes through."""
        return float(10.0 ** (-0.4 * self.extinction_mag))
