"""Headers of ordinary files, of one image each, from their first bytes; what they share is parsed once."""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from opticam_dask.io.byte_streams import STREAM_ERRORS, trailer_fits
from opticam_dask.io.card_layout import CardLayouts
from opticam_dask.io.cards import CARD
from opticam_dask.io.containers import BLOCK, HduHeader, describe

_PIECE_BYTES = 3 * BLOCK
_MOST_BYTES = 36 * BLOCK
_GZIP = b"\x1f\x8b"
_GZIP_WINDOW = 16 + zlib.MAX_WBITS
_TRAILER_BYTES = 4
_END = re.compile(rb"END {5}")


class HeadReader:
    """Reads the headers of files one after another."""

    def __init__(self) -> None:
        self.layouts = CardLayouts()
        self._described: dict[tuple[Any, Any], HduHeader | None] = {}
        self._likely = _PIECE_BYTES  # the length of the last header: most have that of their neighbour

    def only_header(self, path: str) -> tuple[os.stat_result, HduHeader | None]:
        """Status of a file, and its header if it is a plain or gzip file with nothing behind its image.

        Whatever is less simple, or damaged, gives None: `opticam_dask.io.containers.read_headers` tells more.

        Raises
        ------
        OSError
            If there is no such file.
        """
        try:
            file = os.open(path, os.O_RDONLY)
        except OSError:
            return os.stat(path), None
        try:
            status = os.fstat(file)
            return status, self._header(file, status.st_size)
        except STREAM_ERRORS:
            return os.stat(path), None
        finally:
            os.close(file)

    def _header(self, file: int, size: int) -> HduHeader | None:
        start = os.read(file, _PIECE_BYTES)
        is_gzip = start.startswith(_GZIP)
        for head in _inflated(file, start, self._likely) if is_gzip else _plain(file, start):
            end = _end_of_header(head)
            if end > 0:
                self._likely = -(-(end + CARD) // BLOCK) * BLOCK
                header = self._describe(head[:end])
                ends = header is not None and _ends_with(header, file, size, is_gzip)
                return header if ends else None
        return None

    def _describe(self, raw: bytes) -> HduHeader | None:
        layout = self.layouts.of(raw)
        key = layout, layout.pick_structure(raw)
        if key not in self._described:
            self._described[key] = None if layout.has_end else _describe(raw)
        known = self._described[key]
        return known and replace(known, raw=raw)


def _describe(raw: bytes) -> HduHeader | None:
    try:
        return describe(0, raw, -(-(len(raw) + CARD) // BLOCK) * BLOCK)
    except ValueError:
        return None


def _ends_with(header: HduHeader, file: int, size: int, is_gzip: bool) -> bool:
    """Whether the file holds the whole image and nothing after it."""
    least, most = header.data_offset + header.data_bytes, header.data_end
    if not is_gzip:
        return least <= size <= most
    return trailer_fits(os.pread(file, _TRAILER_BYTES, size - _TRAILER_BYTES), least, most)


def _plain(file: int, start: bytes) -> Iterator[bytes]:
    """Ever more of the bytes at the start of a file."""
    while True:
        yield start
        more = os.read(file, _PIECE_BYTES) if len(start) < _MOST_BYTES else b""
        if not more:
            return
        start += more


def _inflated(file: int, start: bytes, likely: int) -> Iterator[bytes]:
    """Ever more of the bytes at the start of a gzip file's first member, first as many as are likely."""
    member = zlib.decompressobj(_GZIP_WINDOW)  # for a few kilobytes faster than isal, which sets up more
    head = piece = member.decompress(start, likely)
    while piece:
        yield head
        if member.eof or len(head) >= _MOST_BYTES:
            return
        more = member.unconsumed_tail or os.read(file, _PIECE_BYTES)
        piece = member.decompress(more, _PIECE_BYTES)
        head += piece


def _end_of_header(head: bytes) -> int:
    """Offset of the card END if its block is complete; 0 if it is not there, or this is no FITS file."""
    if not head.startswith(b"SIMPLE"):
        return 0
    starts = (match.start() for match in _END.finditer(head))
    end = next((start for start in starts if start % CARD == 0), 0)
    return end if end < len(head) // BLOCK * BLOCK else 0
