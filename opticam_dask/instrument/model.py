"""An instrument: where the telescope stands, which cameras it feeds, and how their headers are to be read."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from opticam_dask.errors import InstrumentError
from opticam_dask.instrument.camera_spec import CameraSpec, as_camera
from opticam_dask.instrument.rules import (
    COMMON_KEYWORDS,
    check_instrument,
    check_table,
    read_mapping,
    tidy_mapping,
)

if TYPE_CHECKING:
    from opticam_dask.io.header_check import HeaderCheck

Value: TypeAlias = str | int | float
TimeConvention = Literal["start", "middle", "end"]
RaUnit = Literal["hourangle", "deg"]
CameraFrom = Literal["filter", "serial", "keyword"]
LongitudeSign = Literal["east", "west"]


@dataclass(frozen=True, kw_only=True)
class Instrument:
    """How to read the frames of one instrument.

    Parameters
    ----------
    name : str
        Name for reports.
    longitude_deg, latitude_deg, height_m : float, optional
        Site [degrees, degrees, m]. Without it BMJD is that of the Earth's centre (up to 21 ms off) and there
        is no airmass.
    longitude_sign : {'east', 'west'}
        Direction in which ``longitude_deg`` is positive.
    diameter_m : float, optional
        Diameter of the telescope [m].
    cameras : tuple of CameraSpec
        Cameras; one named '1' that takes any filter unless given.
    keywords : mapping of str to tuple of str
        Header keywords per role, tried in order; roles that are not given use common keywords, an empty tuple
        turns a role off. See ``opticam_dask.instrument.ROLES``.
    time_convention : {'start', 'middle', 'end'}
        Point of the exposure that the time stamp tells.
    ra_unit : {'hourangle', 'deg'}
        Unit of a right ascension that is a plain number; sexagesimal text is in hours always.
    camera_from : {'filter', 'serial', 'keyword'}
        What tells the camera of a frame.
    fixed : mapping of str to value
        Values per role for what the header lacks. A header's value comes first; to overrule it, turn the
        role's keywords off as well, or give the value in a CameraSpec.
    placeholders : mapping of str to tuple of values
        Values per keyword that mean nothing. Text matches text only and numbers only numbers: the string '0'
        may be a placeholder where the number 0.0 is a position. Blank text always means nothing.
    trust_airmass : bool
        Whether to take the header's airmass; else it is computed from site, coordinates and time.

    Raises
    ------
    InstrumentError
        If a value is unknown, out of range, or contradicts another.

    Notes
    -----
    Calling an instrument returns a changed copy: ``OPTICAM_MX(time_convention="middle")``; ``keywords``,
    ``fixed`` and ``placeholders`` are merged, everything else is replaced.
    """

    name: str = "generic"
    longitude_deg: float | None = None
    latitude_deg: float | None = None
    height_m: float | None = None
    longitude_sign: LongitudeSign = "east"
    diameter_m: float | None = None
    cameras: tuple[CameraSpec, ...] = (CameraSpec(name="1"),)
    keywords: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    time_convention: TimeConvention = "start"
    ra_unit: RaUnit = "deg"
    camera_from: CameraFrom = "filter"
    fixed: Mapping[str, Value] = field(default_factory=dict, hash=False)
    placeholders: Mapping[str, tuple[Value, ...]] = field(default_factory=dict, hash=False)
    trust_airmass: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.cameras, str | Mapping) or not isinstance(self.cameras, Iterable):
            raise InstrumentError(f"cameras must be a list of tables, not {self.cameras!r}")
        object.__setattr__(self, "cameras", tuple(as_camera(item) for item in self.cameras))
        for name in _MAPPINGS:
            check_table(name, getattr(self, name))
        for name in ("keywords", "placeholders"):
            object.__setattr__(self, name, tidy_mapping(name, getattr(self, name)))
        object.__setattr__(self, "fixed", dict(self.fixed))
        choices = {"time_convention": TimeConvention, "ra_unit": RaUnit, "camera_from": CameraFrom}
        for name, allowed in (choices | {"longitude_sign": LongitudeSign}).items():
            if getattr(self, name) not in get_args(allowed):
                options = ", ".join(map(repr, get_args(allowed)))
                raise InstrumentError(f"{name} must be one of {options}, not {getattr(self, name)!r}")
        check_instrument(self)

    def __call__(self, **overrides: Any) -> Instrument:
        """Return a copy with some fields changed; mappings are merged."""
        unknown = set(overrides) - {item.name for item in dataclasses.fields(self)}
        if unknown:
            raise InstrumentError(f"unknown key {', '.join(sorted(unknown))}: an Instrument has {_KEYS}")
        for name in set(_MAPPINGS) & set(overrides):
            check_table(name, overrides[name])
            overrides[name] = {**getattr(self, name), **overrides[name]}
        return dataclasses.replace(self, **overrides)

    def __dask_tokenize__(self) -> str:
        return json.dumps(self.to_dict(), sort_keys=True)

    @property
    def has_site(self) -> bool:
        """Whether longitude and latitude are known."""
        return self.longitude_deg is not None and self.latitude_deg is not None

    @property
    def east_longitude_deg(self) -> float:
        """Longitude [degrees], positive to the east; 0 without a site."""
        sign = -1.0 if self.longitude_sign == "west" else 1.0
        return 0.0 if self.longitude_deg is None else sign * self.longitude_deg

    def keywords_of(self, role: str) -> tuple[str, ...]:
        """Header keywords of a role, in the order in which they are tried."""
        return self.keywords.get(role, COMMON_KEYWORDS[role])

    def camera(self, arm: str) -> CameraSpec | None:
        """Camera of the name ``arm``, the part of a frame's camera before the colon; None if not listed."""
        return next((camera for camera in self.cameras if camera.name == arm.partition(":")[0]), None)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `from_dict` and the TOML or JSON files take them; what is None is left out."""
        plain = json.loads(json.dumps(dataclasses.asdict(self)))
        plain["cameras"] = [_given(camera) for camera in plain["cameras"]]
        return _given(plain)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Instrument:
        """Make an instrument of plain values; ``base`` may name a built-in instrument to start from.

        Raises
        ------
        InstrumentError
            Naming the key that is unknown or wrong.
        """
        from opticam_dask.instrument.built_in import BUILT_IN

        own = dict(values)
        base = own.pop("base", None)
        if base is not None and base not in BUILT_IN:
            raise InstrumentError(f"base {base!r} is unknown: choose {' or '.join(BUILT_IN)}")
        return (BUILT_IN[base] if base is not None else cls())(**own)

    @classmethod
    def from_file(cls, path: str | Path) -> Instrument:
        """Read an instrument from a TOML or JSON file.

        Raises
        ------
        InstrumentError
            Naming the file, and the key that is unknown or wrong.
        """
        try:
            return cls.from_dict(read_mapping(Path(path)))
        except InstrumentError as error:
            raise InstrumentError(f"{path}: {error}") from error

    def check(self, file: str | Path) -> HeaderCheck:
        """Say per role what a file's header gives, what is assumed, and what is missing.

        Parameters
        ----------
        file : str or Path
            One FITS file; its first image is looked at.

        Returns
        -------
        HeaderCheck
            Printable; ``missing`` lists the roles that keep the file from being used.

        Raises
        ------
        FrameReadError
            If the file is no readable FITS file.
        """
        from opticam_dask.io.header_check import check_header

        return check_header(file, self)


_MAPPINGS = ("keywords", "fixed", "placeholders")
_KEYS = ", ".join(item.name for item in dataclasses.fields(Instrument))


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
