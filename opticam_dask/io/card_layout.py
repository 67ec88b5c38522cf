"""Where the cards of a header are: alike in most headers of a night, and so worked out once for all."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from operator import itemgetter
from typing import Any

import numpy as np

from opticam_dask.io.cards import CARD, is_end, structural_starts

_COLUMNS = 9  # keyword and value indicator: nothing else tells where a card is


class CardLayout:
    """Places of the cards of one header.

    Parameters
    ----------
    raw : bytes
        Header cards without END.
    """

    def __init__(self, raw: bytes) -> None:
        text = raw.decode("ascii", "replace")
        self._raw = raw
        self.starts: dict[str, int] = {}
        """Offset of the first card of each keyword that has a value [byte]."""
        for start in range(0, len(text), CARD):
            if text[start + 8 : start + 9] == "=":
                self.starts.setdefault(text[start : start + 8].rstrip(), start)

    @cached_property
    def pick_structure(self) -> Callable[[bytes], Any]:
        """Get the cards that say how the data are laid out."""
        return picker(structural_starts(self._raw))

    @cached_property
    def has_end(self) -> bool:
        """Whether a card among them would end the header for a careful reader."""
        return any(is_end(self._raw, start) for start in range(0, len(self._raw), CARD))


class CardLayouts:
    """Layouts of the headers met so far, each made once."""

    def __init__(self) -> None:
        self._known: dict[bytes, CardLayout] = {}
        self._last: tuple[bytes, CardLayout] = (b"", CardLayout(b""))

    def of(self, raw: bytes) -> CardLayout:
        """Layout of a header; the same object for headers of the same keywords at the same places."""
        if raw is not self._last[0]:
            columns = np.frombuffer(raw, np.uint8).reshape(-1, CARD)[:, :_COLUMNS].tobytes()
            layout = self._known.get(columns)
            if layout is None:
                layout = self._known[columns] = CardLayout(raw)
            self._last = raw, layout
        return self._last[1]


def picker(starts: Iterable[int]) -> Callable[[bytes], Any]:
    """Make a function that takes the cards at some places out of a header; its results can be compared."""
    slices = [slice(start, start + CARD) for start in sorted(starts)]
    return itemgetter(*slices) if slices else _nothing


def _nothing(raw: bytes) -> bytes:
    return b""
