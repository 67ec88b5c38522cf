"""Time stamps of headers, and mid-exposure times from them."""

from __future__ import annotations

import datetime
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from opticam_dask.errors import HeaderError
from opticam_dask.io.header_view import FIXED, Found, HeaderView

if TYPE_CHECKING:
    from astropy.time import Time

_DATE = r"(\d{4})[-/](\d{1,2})[-/](\d{1,2})"
_CLOCK = r"(\d{1,2}):(\d{1,2}):(\d{1,2}(?:\.\d*)?)"
_FULL = re.compile(rf"{_DATE}[T ]+{_CLOCK} *(?:Z|\+00:?00)?\s*\Z")
_CLOCK_ONLY = re.compile(rf"{_CLOCK} *(?:Z|\+00:?00)?\s*\Z")
_DATE_FIRST = re.compile(rf"{_DATE}(?=[T ]|\Z)")
_OLD_DATE = re.compile(r"(\d{2})/(\d{2})/(\d{2})\s*\Z")
_YEARS = (1850, 2300)
_MJD_RANGE = (-3242.0, 161117.0)  # the same in days; a Julian Date lies outside it

Convention = Literal["start", "middle", "end"]


@dataclass(frozen=True, slots=True)
class Stamp:
    """Time stamp of one header.

    Parameters
    ----------
    iso : str
        UTC as ``YYYY-MM-DDThh:mm:ss[.s...]`` with every digit the header has, or ``MJD <number>``.
    keyword : str
        Keywords it came from.
    """

    iso: str
    keyword: str


def read_stamp(view: HeaderView) -> Stamp:
    """Time stamp of a frame: GPS time, else the time, completed by the date, else a Modified Julian Date.

    Accepts ``date time anything`` for GPS, full ISO 8601 with ``T`` or blank, and a time of day with the date
    in another keyword. Fractions of seconds are kept as they are.

    Raises
    ------
    HeaderError
        If there is no time stamp, or it is no date and time.
    """
    doubt = ""
    for role in ("gps", "time", "date"):
        for found in _values(view, role):
            try:
                stamp = _stamp(view, found, gps=role == "gps")
            except HeaderError as error:
                doubt = doubt or str(error)
                continue
            if stamp is not None:
                return stamp
    mjd = view.number("mjd")
    if mjd is not None and float(mjd.value) != 0:
        if not _MJD_RANGE[0] <= float(mjd.value) < _MJD_RANGE[1]:
            raise HeaderError(f"{mjd} is no Modified Julian Date of the years {_YEARS[0]} to {_YEARS[1]}")
        return Stamp(f"MJD {float(mjd.value)!r}", mjd.keyword)
    raise HeaderError(doubt or _no_stamp(view))


def _values(view: HeaderView, role: str) -> Iterator[Found]:
    for keyword in view.instrument.keywords_of(role):
        value = view.raw(keyword)
        if value is not None and not view.is_placeholder(keyword, value):
            yield Found(keyword, value)
    if role in view.instrument.fixed:
        yield Found(FIXED, view.instrument.fixed[role])


def _no_stamp(view: HeaderView) -> str:
    tried = [keyword for role in ("gps", "time", "mjd") for keyword in view.instrument.keywords_of(role)]
    remedy = "name its keyword with keywords={'time': ...}"
    return f"missing time stamp: none of {', '.join(tried)} is given; {remedy}"


def _stamp(view: HeaderView, found: Found, *, gps: bool) -> Stamp | None:
    """Stamp of one value; None if it is a date alone, HeaderError if it is neither date nor time."""
    text = str(found.value).strip()
    if gps:
        text = " ".join(text.replace("T", " ", 1).split()[:2])
    if match := _FULL.match(text):
        return Stamp(_iso(found, *match.groups()), found.keyword)
    if match := _CLOCK_ONLY.match(text):
        date = _date(view)
        if date is None:
            raise HeaderError(f"{found} has no date; give it with keywords={{'date': ...}}")
        return Stamp(_iso(found, *date[:3], *match.groups()), f"{date[3]}+{found.keyword}")
    if _DATE_FIRST.fullmatch(text) or _OLD_DATE.match(text):
        return None
    raise HeaderError(f"{found} is no date and time")


def _date(view: HeaderView) -> tuple[str, str, str, str] | None:
    for found in _values(view, "date"):
        if match := _DATE_FIRST.match(str(found.value)):
            return match[1], match[2], match[3], found.keyword
        if match := _OLD_DATE.match(str(found.value)):  # FITS before 1999: DD/MM/YY of 19YY
            return f"19{match[3]}", match[2], match[1], found.keyword
    return None


def _iso(found: Found, year: str, month: str, day: str, hour: str, minute: str, second: str) -> str:
    try:
        date = datetime.date(int(year), int(month), int(day))
    except ValueError as error:
        raise HeaderError(f"{found} is no date and time: {error}") from error
    if not _YEARS[0] <= date.year < _YEARS[1]:
        raise HeaderError(f"{found} is not in the years {_YEARS[0]} to {_YEARS[1]}")
    if int(hour) > 23 or int(minute) > 59 or float(second) >= 61.0:
        raise HeaderError(f"{found} is no time of day")
    whole, _, fraction = second.partition(".")
    return f"{date}T{int(hour):02d}:{int(minute):02d}:{int(whole):02d}.{fraction or '0'}"


@cache
def _earth_orientation() -> Any:
    from astropy.utils import iers

    return iers.IERS_A.open(iers.IERS_A_FILE)


# The settings are those of the whole process: one thread's must not be put back while another needs them.
_ONE_AT_A_TIME = threading.RLock()


@contextmanager
def offline_tables() -> Iterator[None]:
    """Let astropy use its packaged Earth-orientation and leap-second tables, never the network.

    The Earth-orientation table is the one astropy itself uses first, with predictions for a year after its
    release. Outside its dates UT1 is approximate; a second of error there moves the observer by 0.4 km, that
    is BMJD by 1.5 microseconds. Leap seconds announced after the release of the packaged table
    (astropy-iers-data) are not known. Warnings about such dates are silenced.
    """
    from astropy.utils import iers
    from astropy.utils.exceptions import AstropyWarning
    from erfa import ErfaWarning

    with (
        _ONE_AT_A_TIME,
        iers.conf.set_temp("auto_download", False),
        iers.conf.set_temp("iers_degraded_accuracy", "ignore"),
        iers.earth_orientation_table.set(_earth_orientation()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", ErfaWarning)
        warnings.simplefilter("ignore", AstropyWarning)
        yield


def stamp_times(stamps: ArrayLike) -> Time:
    """UTC of many stamps as `read_stamp` makes them; call within `offline_tables`."""
    from astropy.time import Time

    texts = np.asarray(stamps, dtype=str)
    if not len(texts):
        return Time(np.empty(0), format="mjd", scale="utc")
    as_mjd = np.char.startswith(texts, "MJD ")
    if not as_mjd.any():
        return Time(texts, format="isot", scale="utc")
    day, rest = np.zeros(len(texts)), np.zeros(len(texts))
    for chosen in (as_mjd, ~as_mjd):
        if chosen.any():
            part = _of_one_kind(texts[chosen])
            day[chosen], rest[chosen] = part.jd1, part.jd2
    return Time(day, rest, format="jd", scale="utc")


def _of_one_kind(texts: NDArray[np.str_]) -> Time:
    from astropy.time import Time

    if texts[0].startswith("MJD "):
        return Time(np.char.replace(texts, "MJD ", "").astype(float), format="mjd", scale="utc")
    return Time(texts, format="isot", scale="utc")


_MIDDLE_AFTER_STAMP = {"start": 0.5, "middle": 0.0, "end": -0.5}


def mid_exposure_mjd(
    stamps: ArrayLike, exposure_s: ArrayLike, offset_s: ArrayLike, convention: Convention
) -> NDArray[np.float64]:
    """Mid-exposure times of many frames.

    Parameters
    ----------
    stamps : array_like of str, shape (n,)
        Stamps as `read_stamp` makes them, UTC.
    exposure_s : array_like, shape (n,)
        Exposure times [s].
    offset_s : array_like, shape (n,)
        Time of the frame after the stamp [s]: number of the plane times cadence in a cube, else 0.
    convention : {'start', 'middle', 'end'}
        Point of the exposure that the stamp tells.

    Returns
    -------
    ndarray, shape (n,)
        MJD [d], UTC. Seconds are added in atomic time, so that leap seconds count.
    """
    from astropy.time import TimeDelta

    seconds = np.asarray(offset_s, float) + _MIDDLE_AFTER_STAMP[convention] * np.asarray(exposure_s, float)
    if not len(seconds):
        return np.empty(0)
    with offline_tables():
        middle: Any = stamp_times(stamps) + TimeDelta(seconds, format="sec")
        mjd: NDArray[np.float64] = np.asarray(middle.mjd, dtype=float)
    return mjd


def is_whole_second(stamp: str) -> bool:
    """Whether a stamp has no fraction of a second."""
    return not stamp.startswith("MJD ") and not stamp.partition(".")[2].strip("0")
