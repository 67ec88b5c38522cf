"""Traps of headers, named: what a reader should know before trusting a frame's numbers."""

from __future__ import annotations

from opticam_dask.io.header_view import HeaderView


def header_notes(view: HeaderView) -> list[str]:
    """List notes on one header, worded alike for like frames so that they can be counted."""
    lasting = lasting_notes(view)
    notes = in_order(lasting, placeholder_note(view), blank_note(view), airmass_note(view))
    return [note for note in notes if note]


def lasting_notes(view: HeaderView) -> tuple[str, str, str]:
    """Tell of cards that seldom change from frame to frame; a note is empty if there is nothing to tell."""
    return _unsigned(view), _same_everywhere(view), _no_wcs(view)


def in_order(lasting: tuple[str, str, str], placeholders: str, blank: str, airmass: str) -> tuple[str, ...]:
    """All notes on a header in the order in which they are told."""
    unsigned, same_everywhere, no_wcs = lasting
    return unsigned, placeholders, blank, same_everywhere, airmass, no_wcs


def _unsigned(view: HeaderView) -> str:
    bits = view.raw("BITPIX") if view.raw("ZBITPIX") is None else view.raw("ZBITPIX")
    if bits == 16 and view.raw("BZERO") == 32768:
        return "unsigned 16-bit pixels through BZERO 32768"
    return ""


def placeholder_note(view: HeaderView) -> str:
    """Values of the header that mean nothing."""
    met = []
    for keyword in view.instrument.placeholders:
        value = view.raw(keyword)
        if value is not None and view.is_placeholder(keyword, value):
            met.append(f"{keyword} {value!r}" if value != "" else f"{keyword} blank")
    return f"placeholders, not used: {', '.join(met)}" if met else ""


def blank_note(view: HeaderView) -> str:
    """Time stamp that ends in a blank."""
    for role in ("gps", "time"):
        for keyword in view.instrument.keywords_of(role):
            if view.ends_blank(keyword):
                return f"{keyword} ends in a blank"
    return ""


def _same_everywhere(view: HeaderView) -> str:
    instrument = view.instrument
    found = view.in_header("camera")
    if found is None or len(instrument.cameras) < 2 or instrument.camera_from == "keyword":
        return ""
    if instrument.camera(str(found.value)) is not None:
        return ""
    return f"{found} does not tell the cameras apart: camera from the {instrument.camera_from}"


def airmass_note(view: HeaderView) -> str:
    """Airmass of the header that is not used."""
    keyword = next(
        (k for k in (*view.instrument.keywords_of("airmass"), "AIRMASS") if view.raw(k) is not None), ""
    )
    if not keyword or view.instrument.trust_airmass:
        return ""
    return f"{keyword} of the header is not trusted: airmass is computed from site, coordinates and time"


def _no_wcs(view: HeaderView) -> str:
    has_wcs = view.raw("CTYPE1") is not None or view.raw("CRVAL1") is not None
    return "" if has_wcs else "no WCS in the header"
