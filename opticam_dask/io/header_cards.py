"""Values of a header's cards, each parsed only when it is asked for: a scan needs 30 of a hundred."""

from __future__ import annotations

import re

from opticam_dask.io.card_layout import CardLayout
from opticam_dask.io.cards import CARD
from opticam_dask.io.containers import HduHeader

_VALUE = re.compile(r" *(?:'((?:[^']|'')*)'|([^/]*?)) *(?:/|\Z)")
_INTEGER = re.compile(r"[+-]?\d+\Z")
_FLOAT = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[EDed][+-]?\d+)?\Z")
_LOGICAL = {"T": True, "F": False}


class HeaderCards:
    """Cards of one HDU by keyword; the first of a keyword counts.

    Parameters
    ----------
    hdu : HduHeader
        The HDU. Long keywords and texts over several cards are left to astropy.
    layout : CardLayout, optional
        Where its cards are, if that is known.
    """

    def __init__(self, hdu: HduHeader, layout: CardLayout | None = None) -> None:
        self._hdu = hdu
        self.raw = hdu.raw
        self.layout = CardLayout(hdu.raw) if layout is None else layout
        self._start = self.layout.starts
        self.consulted: set[int] = set()
        """Offsets of the cards whose values were asked for."""
        self.read_whole = False
        """Whether a value was asked for that may depend on any card."""

    def __contains__(self, keyword: str) -> bool:
        return keyword in self._start

    def get(self, keyword: str) -> str | int | float | None:
        """Value of a card, text without blanks at its end; None if absent, undefined or complex."""
        if len(keyword) > 8:
            return self._from_astropy(keyword)
        match = self._match(keyword) if keyword in self._start else None
        if match is None:
            return None
        if match[1] is None:
            return _plain(match[2])
        text = match[1].replace("''", "'").rstrip()
        return self._from_astropy(keyword) if text.endswith("&") else text

    def ends_blank(self, keyword: str) -> bool:
        """Whether a text ends in a blank it need not have; shorter texts are padded to eight characters."""
        if keyword not in self._start:
            return False
        match = self._match(keyword)
        return match is not None and match[1] is not None and len(match[1]) > 8 and match[1].endswith(" ")

    def _match(self, keyword: str) -> re.Match[str] | None:
        start = self._start.get(keyword)
        if start is None:
            return None
        self.consulted.add(start)
        return _VALUE.match(self.raw[start + 10 : start + CARD].decode("ascii", "replace"))

    def _from_astropy(self, keyword: str) -> str | int | float | None:
        self.read_whole = True
        value = self._hdu.header.get(keyword)
        return value if isinstance(value, str | int | float) else None


def _plain(text: str) -> str | int | float | None:
    """Value that is not in quotes; what is no FITS value stays text."""
    text = text.strip()
    if text in _LOGICAL:
        return _LOGICAL[text]
    if _INTEGER.match(text):
        return int(text)
    if _FLOAT.match(text):
        return float(text.upper().replace("D", "E"))
    return text or None
