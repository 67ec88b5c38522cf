"""Names taken from headers, made safe: header text must never become a path."""

from __future__ import annotations

import re

_SAFE = re.compile(r"[A-Za-z0-9_'+-][A-Za-z0-9_'+.-]{0,31}")


def safe_name(text: str) -> str:
    """Name of a filter or camera from header text; empty if the text cannot be one.

    Blanks at the ends are dropped, blanks inside become ``_``. What then holds anything but letters, digits
    and ``_ ' + . -``, begins with a dot, contains ``..``, or is longer than 32 characters is no name.
    """
    name = re.sub(r"\s+", "_", text.strip())
    return name if _SAFE.fullmatch(name) and ".." not in name else ""
