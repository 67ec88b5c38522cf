"""Header cards: the structural ones read by hand, the rest handed to astropy after mending."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from opticam_dask.io.pixel_format import PixelFormat

if TYPE_CHECKING:
    from astropy.io.fits import Header

CARD = 80
_STRUCTURAL = re.compile(
    rb"(?:XTENSION|Z?BITPIX|Z?NAXIS\d{0,3}|PCOUNT|GCOUNT|BSCALE|BZERO|Z?BLANK|ZIMAGE) *\Z"
)
_VALUE = re.compile(rb"\s*(?:'((?:[^']|'')*)'|([^/]*))")
_TEXT = r"'(?:[^']|'')*'"
_COMMENT = r" *(?:/.*)?\Z"
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[EDed][+-]?\d+)?"
_SOUND = re.compile(
    rf"(?:(?=.{{8}}= )[A-Z0-9_-]+ *= +(?:{_TEXT}|[TF]|{_NUMBER})?{_COMMENT}"
    rf"|HIERARCH(?: +[A-Z0-9_-]+)+ *= *(?:{_TEXT}|[TF]|{_NUMBER}){_COMMENT}"
    r"|(?:COMMENT |HISTORY |        ).*\Z)"
)
_LONG_TEXT = re.compile(rf"(?:.{{8}}= |CONTINUE) *{_TEXT}{_COMMENT}")
_PRINTABLE = bytes(
    code if 32 <= code < 127 else (32 if code in (0, 9, 10, 13) else 63) for code in range(256)
)


class StructureError(ValueError):
    """A card that says how the data are laid out is missing or unreadable."""


class Structure(dict[str, str]):
    """Values of the structural cards of one header, as text."""

    def integer(self, name: str, default: int | None = None) -> int:
        """Integer value of a card."""
        text = self.get(name)
        if text is None and default is not None:
            return default
        try:
            return int(float(text)) if text and "." in text else int(text or "")
        except ValueError:
            raise StructureError(
                f"{name} is {text!r}, not an integer" if text else f"{name} is missing"
            ) from None

    def number(self, name: str, default: float) -> float:
        """Floating-point value of a card."""
        text = self.get(name)
        try:
            return default if not text else float(text.upper().replace("D", "E"))
        except ValueError:
            raise StructureError(f"{name} is {text!r}, not a number") from None

    def text(self, name: str) -> str:
        """Text of a card; empty if there is none."""
        return self.get(name, "")

    def flag(self, name: str) -> bool:
        """Whether a logical card is true."""
        return self.get(name) == "T"

    def axes(self, name: str) -> tuple[int, ...]:
        """Lengths of the axes in FITS order: ``NAXIS`` or ``ZNAXIS``."""
        lengths = tuple(self.integer(f"{name}{axis}") for axis in range(1, self.integer(name) + 1))
        if any(length < 0 for length in lengths):
            raise StructureError(f"{name} has a negative length: {lengths}")
        return lengths

    def pixel_format(self, prefix: str) -> PixelFormat:
        """Storage of the image; ``prefix`` is Z for a tile-compressed one."""
        bitpix = self.integer(f"{prefix}BITPIX")
        # Tile compression keeps the image's own BLANK; ZBLANK marks quantised floats and is no such card.
        blank = self.integer("BLANK") if bitpix > 0 and self.get("BLANK") else None
        return PixelFormat(bitpix, self.number("BSCALE", 1.0), self.number("BZERO", 0.0), blank)


def is_end(cards: bytes, start: int) -> bool:
    """Whether the card at ``start`` ends the header."""
    return cards[start : start + 8].rstrip() == b"END"


def structural_starts(raw: bytes) -> list[int]:
    """Offsets of the cards that say how the data are laid out."""
    return [
        start
        for start in range(0, len(raw), CARD)
        if raw[start + 8 : start + 9] == b"=" and _STRUCTURAL.match(raw[start : start + 8])
    ]


def structure(raw: bytes) -> Structure:
    """Read the cards that say how the data are laid out; the first of a name counts."""
    found = Structure()
    for start in structural_starts(raw):
        value = _VALUE.match(raw[start + 10 : start + CARD])
        text = b"" if value is None else (value[1] if value[1] is not None else value[2])
        found.setdefault(raw[start : start + 8].decode().rstrip(), text.decode("ascii", "replace").strip())
    return found


def image_header(raw: bytes) -> Header:
    """Parse cards with astropy so that reading any keyword later neither warns nor raises.

    A value that is no FITS value becomes text, a keyword that is none a comment, and bytes that are no
    printable ASCII become ``?``. A tile-compressed image gets the BITPIX and NAXISn of the image.
    """
    from astropy.io.fits import Header

    text = raw.translate(_PRINTABLE).decode("ascii")
    header = Header.fromstring(
        "".join(_mended([text[i : i + CARD].ljust(CARD) for i in range(0, len(text), CARD)]))
    )
    if structure(raw).flag("ZIMAGE"):
        _as_image(header, structure(raw))
    return header


def _mended(cards: list[str]) -> list[str]:
    """Cards that astropy parses without complaint; no warning filter is touched: threads share them."""
    sound: list[str] = []
    for card in cards:
        continued = (
            card.startswith("CONTINUE") and sound and _LONG_TEXT.match(card) and _LONG_TEXT.match(sound[-1])
        )
        sound.append(card if continued or _SOUND.match(card) else _quoted(card))
    return sound


def _quoted(card: str) -> str:
    keyword, value = card[:8], card[8:]
    if not re.fullmatch(r"[A-Z0-9_-]+ *", keyword) or not value.startswith("= "):
        return f"COMMENT {card}"[:CARD].ljust(CARD)
    inner = value[2:].partition("/")[0].strip().replace("'", "")
    return f"{keyword}= '{inner[: CARD - 12]}'".ljust(CARD)


def _as_image(header: Header, cards: Structure) -> None:
    axes = cards.axes("ZNAXIS")
    header["BITPIX"], header["NAXIS"] = cards.integer("ZBITPIX"), len(axes)
    for number, length in enumerate(axes, 1):
        header[f"NAXIS{number}"] = length
    header["XTENSION"] = "IMAGE"
