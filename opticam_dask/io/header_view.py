"""One header seen through an instrument: values by role, each with the keyword it came from."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from opticam_dask.errors import HeaderError
from opticam_dask.instrument import Instrument, Value
from opticam_dask.io.card_layout import CardLayouts
from opticam_dask.io.containers import HduHeader
from opticam_dask.io.header_cards import HeaderCards

FIXED = "fixed"
_BINNING = re.compile(r"(\d+)(?:\s*[xX, ]\s*(\d+))?")


@dataclass(frozen=True, slots=True)
class Found:
    """Value of a role, and where it comes from: a header keyword, or `FIXED`."""

    keyword: str
    value: Value

    def __str__(self) -> str:
        return f"{self.keyword} {self.value!r}"


class HeaderView:
    """Header of one HDU; what an extension lacks is looked up in the primary header.

    Parameters
    ----------
    hdu, first : HduHeader
        The HDU, and the file's first one, which may be the same.
    instrument : Instrument
        What the keywords are called, and which values mean nothing.
    known : CardLayouts, optional
        Layouts of headers read before.
    """

    def __init__(
        self, hdu: HduHeader, first: HduHeader, instrument: Instrument, known: CardLayouts | None = None
    ) -> None:
        parts = (hdu, first) if hdu.hdu != first.hdu else (hdu,)
        self.cards = [HeaderCards(part, known.of(part.raw) if known else None) for part in parts]
        self.layouts = tuple([cards.layout for cards in self.cards])
        self.instrument = instrument

    def forget_consulted(self) -> None:
        """Note anew which cards are looked at."""
        for cards in self.cards:
            cards.consulted, cards.read_whole = set(), False

    def consulted(self) -> tuple[frozenset[int], ...] | None:
        """Offsets of the cards looked at, per header; None if the result may depend on any card."""
        if any(cards.read_whole for cards in self.cards):
            return None
        return tuple(frozenset(cards.consulted) for cards in self.cards)

    def raw(self, keyword: str) -> Value | None:
        """Value of a keyword as it stands, text without blanks at the ends; None if absent or undefined."""
        for cards in self.cards:
            value = cards.get(keyword)
            if value is not None:
                return value.strip() if isinstance(value, str) else value
        return None

    def ends_blank(self, keyword: str) -> bool:
        """Whether a text of the header ends in a blank."""
        return any([cards.ends_blank(keyword) for cards in self.cards])

    def is_placeholder(self, keyword: str, value: Value) -> bool:
        """Whether a value means nothing: blank, or among the instrument's placeholders for its keyword."""
        if value == "":
            return True
        nothing = self.instrument.placeholders.get(keyword)
        if not nothing:
            return False
        text = isinstance(value, str)
        return any(value == other and text == isinstance(other, str) for other in nothing)

    def in_header(self, role: str) -> Found | None:
        """First value of a role that the header gives."""
        for keyword in self.instrument.keywords_of(role):
            value = self.raw(keyword)
            if value is not None and not self.is_placeholder(keyword, value):
                return Found(keyword, value)
        return None

    def find(self, role: str) -> Found | None:
        """Value of a role from the header, else the instrument's fixed one."""
        found = self.in_header(role)
        if found is None and role in self.instrument.fixed:
            return Found(FIXED, self.instrument.fixed[role])
        return found

    def number(self, role: str) -> Found | None:
        """Value of a role that must be a finite number.

        Raises
        ------
        HeaderError
            If it is there but no finite number.
        """
        found = self.find(role)
        if found is None:
            return None
        try:
            value = math.nan if isinstance(found.value, bool) else float(found.value)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            remedy = f"correct it, or give it with keywords={{'{role}': ()}}, fixed={{'{role}': ...}}"
            raise HeaderError(f"{found.keyword} is not a number: {found.value!r}; {remedy}")
        return Found(found.keyword, value)

    def missing(self, role: str) -> str:
        """One line that says a role is missing and how to give it."""
        keywords = self.instrument.keywords_of(role)
        names = " or ".join(keywords) if keywords else role
        keyword = f"name its keyword with keywords={{'{role}': ...}}"
        return f"missing {names}; give it with fixed={{'{role}': ...}} or {keyword}"


def binning(view: HeaderView) -> tuple[str, str]:
    """Binning as 'columns x rows', such as '4x4', and the keyword it came from; empty if unknown."""
    found = view.find("binning")
    match = None if found is None else _BINNING.fullmatch(str(found.value).strip())
    if found is not None and match is not None:
        return f"{int(match[1])}x{int(match[2] or match[1])}", found.keyword
    across, down = view.find("binning_x"), view.find("binning_y")
    if across is None or down is None:
        return "", ""
    try:
        return f"{int(across.value)}x{int(down.value)}", f"{across.keyword}, {down.keyword}"
    except ValueError:
        return "", ""


def not_science(view: HeaderView) -> str:
    """Why a frame is no science frame; empty if it may be one, or does not say."""
    found = view.find("image_type")
    if found is None:
        return ""
    words = set(re.findall(r"[a-z]+", str(found.value).lower()))
    calibration = words & {
        "flat",
        "flats",
        "bias",
        "zero",
        "dark",
        "darks",
        "skyflat",
        "domeflat",
        "flatfield",
    }
    return f"not a science frame: {found.keyword} is {found.value!r}" if calibration else ""
