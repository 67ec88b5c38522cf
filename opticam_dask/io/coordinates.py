"""Coordinates of targets and of header pointings."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from opticam_dask.errors import HeaderError, InputError
from opticam_dask.io.header_view import Found, HeaderView

if TYPE_CHECKING:
    from astropy.coordinates import SkyCoord

_SEXAGESIMAL = re.compile(
    r"([+-]?)(\d{1,3})(?:[:hd°]\s*|\s+)(\d{1,2})(?:(?:[:m']\s*|\s+)(\d{1,2}(?:\.\d*)?)\s*[s\"]?|\s*[m']?)\Z"
)


def as_target(target: SkyCoord | str | None) -> SkyCoord | None:
    """Coordinates of a target.

    Parameters
    ----------
    target : SkyCoord, str or None
        Text is 'hh:mm:ss dd:mm:ss' (hours and degrees) or two numbers in degrees. Names of stars are not
        looked up: that needs the network.

    Raises
    ------
    InputError
        If the text is neither, or there is more than one coordinate.
    """
    if target is None:
        return None
    if isinstance(target, str):
        return _from_text(target)
    if getattr(target, "isscalar", None) is not True:
        raise InputError(f"target must be one SkyCoord or a text 'hh:mm:ss dd:mm:ss', not {target!r}")
    return target


def _from_text(text: str) -> SkyCoord:
    from astropy.coordinates import SkyCoord

    words = text.replace(",", " ").split()
    half = len(words) // 2
    try:
        if len(words) not in (2, 4, 6):
            raise HeaderError("it has not two parts")
        ra = right_ascension(Found("target", " ".join(words[:half])), "deg")
        dec = declination(Found("target", " ".join(words[half:])))
    except HeaderError as error:
        raise InputError(
            f"target {text!r}: give 'hh:mm:ss dd:mm:ss', two numbers in degrees, or a SkyCoord "
            f"(names are not looked up): {error}"
        ) from error
    return SkyCoord(ra, dec, unit="deg")


def right_ascension(found: Found, unit: str) -> float:
    """Right ascension [degrees] of a number in ``unit`` ('hourangle' or 'deg') or of text in hours."""
    number, sexagesimal = _angle(found)
    degrees = number * 15.0 if sexagesimal or unit == "hourangle" else number
    if not 0.0 <= degrees <= 360.0:
        raise HeaderError(f"{found} is no right ascension")
    return degrees


def declination(found: Found) -> float:
    """Declination [degrees] of a number or text."""
    number, _ = _angle(found)
    if not -90.0 <= number <= 90.0:
        raise HeaderError(f"{found} is no declination")
    return number


def _angle(found: Found) -> tuple[float, bool]:
    """Value of an angle in the unit it is written in, and whether it is sexagesimal."""
    text = str(found.value).strip()
    if match := _SEXAGESIMAL.match(text):
        size = int(match[2]) + int(match[3]) / 60.0 + float(match[4] or 0.0) / 3600.0
        return (-size if match[1] == "-" else size), True
    try:
        number = math.nan if isinstance(found.value, bool) else float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise HeaderError(f"{found} is no angle")
    return number, False


def pointing(view: HeaderView) -> tuple[float, float, str]:
    """Pointing of a header.

    Returns
    -------
    ra, dec : float
        Coordinates [degrees], taken as ICRS; NaN if there are none, or placeholders.
    note : str
        Why there are none; empty if there are, or if the header has nothing of the kind.
    """
    across, up = view.find("ra"), view.find("dec")
    if across is None or up is None:
        return math.nan, math.nan, ""
    try:
        return right_ascension(across, view.instrument.ra_unit), declination(up), ""
    except HeaderError as error:
        return math.nan, math.nan, f"pointing not used: {error}"
