"""Headers of FITS files without their pixels: plain, gzip, bzip2 and tile-compressed (``.fz``)."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from opticam_dask.errors import FrameReadError
from opticam_dask.io.byte_streams import ByteStream
from opticam_dask.io.cards import CARD, StructureError, image_header, is_end, structure
from opticam_dask.io.pixel_format import PixelFormat
from opticam_dask.io.zarr_store.layout import split_path

if TYPE_CHECKING:
    from astropy.io.fits import Header

BLOCK = 2880
_MAX_HEADER_BLOCKS = 2000
_MAX_HDUS = 10_000


@dataclass(frozen=True)
class HduHeader:
    """One header-data unit of a file.

    Parameters
    ----------
    hdu : int
        Index in the file; 0 is the primary.
    raw : bytes
        Header cards without END.
    shape : tuple of int
        Shape of the image in numpy order, uncompressed; () if there is none.
    data_offset, data_bytes : int
        Place of the (unwrapped) data in the file [byte]; without padding.
    compressed : bool
        Whether the image is tile-compressed.
    pixels : PixelFormat, optional
        Storage of the image.
    problem : str
        Why the data cannot be read; empty if they can, as far as the header and the size tell.
    """

    hdu: int
    raw: bytes = field(repr=False)
    shape: tuple[int, ...]
    data_offset: int
    data_bytes: int
    compressed: bool = False
    pixels: PixelFormat | None = None
    problem: str = ""

    @cached_property
    def header(self) -> Header:
        """Header as astropy parses it; a tile-compressed image has the image's own BITPIX and NAXISn."""
        return image_header(self.raw)

    @property
    def dtype(self) -> str:
        """Native numpy type of the pixels after scaling; empty if there is no image."""
        return _name(self.pixels.dtype) if self.pixels is not None and self.shape else ""

    @property
    def data_end(self) -> int:
        """Offset of the next header [byte]."""
        return self.data_offset + -(-self.data_bytes // BLOCK) * BLOCK


@cache
def _name(dtype: np.dtype[Any]) -> str:
    return dtype.name


def read_headers(path: str | os.PathLike[str]) -> list[HduHeader]:
    """Read every header of a FITS file, and no more of its data than it takes to find them.

    A gzip file with one image is inflated only past its header: the trailer tells that nothing follows.

    Parameters
    ----------
    path : str or Path
        Plain, gzip or bzip2 FITS file; the content decides, not the name. Or a file that a store stands for.

    Returns
    -------
    list of HduHeader
        In file order, at least one. Data that end early, and a damaged later header, are told in ``problem``.

    Raises
    ------
    FrameReadError
        If the file cannot be opened, is empty, is no FITS file, or its first header is damaged.
    """
    if (place := split_path(os.fspath(path))) is not None:
        from opticam_dask.io.zarr_store.headers import stored_headers

        return stored_headers(*place)
    with ByteStream(path) as stream:
        return walk(stream)


def walk(stream: ByteStream, last: int = _MAX_HDUS, known: list[HduHeader] | None = None) -> list[HduHeader]:
    """Headers of an open file up to HDU ``last``, going on from ``known``; see `read_headers`.

    The walk ends early where nothing follows, and at the first HDU with a problem.
    """
    found = list(known) if known else [_first_header(stream)]
    while found[-1].hdu < last and not found[-1].problem:
        previous = found[-1]
        if stream.claims_size(previous.data_offset + previous.data_bytes, previous.data_end):
            break
        if problem := _shortage(stream, previous):
            found[-1] = replace(previous, problem=problem)
            break
        header = _next_header(stream, previous)
        if header is None:
            break
        found.append(header)
    return found


def _first_header(stream: ByteStream) -> HduHeader:
    start = stream.read_at(0, BLOCK)
    if not start.startswith(b"SIMPLE"):
        found = stream.fault or f"it begins with {start[:12]!r}"
        raise FrameReadError(stream.path, f"not a FITS file: {found}")
    raw, offset = _cards(stream, 0, start)
    if raw is None:
        raise FrameReadError(stream.path, stream.fault or "truncated: the header has no END")
    try:
        return describe(0, raw, offset)
    except (StructureError, ValueError) as error:
        raise FrameReadError(stream.path, f"damaged header: {error}") from error


def _next_header(stream: ByteStream, previous: HduHeader) -> HduHeader | None:
    hdu, start = previous.hdu + 1, previous.data_end
    first = stream.read_at(start, BLOCK)
    if not first.startswith(b"XTENSION"):
        return None  # the end, or special records, which the standard tells readers to ignore
    raw, offset = _cards(stream, start, first)
    if raw is None:
        return HduHeader(hdu, b"", (), start, 0, problem=stream.fault or "truncated: the header has no END")
    try:
        return describe(hdu, raw, offset)
    except (StructureError, ValueError) as error:
        return HduHeader(hdu, raw, (), offset, 0, problem=f"damaged header: {error}")


def _cards(stream: ByteStream, offset: int, block: bytes) -> tuple[bytes | None, int]:
    """Cards before END from ``offset`` (where ``block`` was read) on, and where the data start."""
    blocks: list[bytes] = []
    while len(blocks) < _MAX_HEADER_BLOCKS:
        for start in range(0, len(block) - 2, CARD):
            if is_end(block, start):
                return b"".join(blocks) + block[:start], offset + (len(blocks) + 1) * BLOCK
        if len(block) < BLOCK:
            break
        blocks.append(block)
        block = stream.read_at(offset + len(blocks) * BLOCK, BLOCK)
    return None, offset


def describe(hdu: int, raw: bytes, offset: int) -> HduHeader:
    """Header-data unit of some cards, whose data begin at ``offset`` [byte].

    Raises
    ------
    ValueError
        If a card that says how the data are laid out is missing or unreadable.
    """
    cards = structure(raw)
    axes = cards.axes("NAXIS")
    size = abs(cards.integer("BITPIX")) // 8 * cards.integer("GCOUNT", 1)
    data_bytes = size * (cards.integer("PCOUNT", 0) + math.prod(axes)) if axes else 0
    compressed = cards.text("XTENSION") == "BINTABLE" and cards.flag("ZIMAGE")
    if not compressed and cards.text("XTENSION") not in ("", "IMAGE"):
        return HduHeader(hdu, raw, (), offset, data_bytes)
    prefix = "Z" if compressed else ""
    shape = cards.axes(f"{prefix}NAXIS")[::-1]
    return HduHeader(
        hdu,
        raw,
        shape if all(shape) else (),
        offset,
        data_bytes,
        compressed,
        cards.pixel_format(prefix),
    )


def _shortage(stream: ByteStream, header: HduHeader) -> str:
    need = header.data_offset + header.data_bytes
    reached = stream.reach(need)
    if reached >= need:
        return ""
    return shortage_text(header.data_bytes, reached - header.data_offset, stream.fault)


def shortage_text(need: int, found: int, fault: str = "") -> str:
    """One line that says how many bytes of data are missing, and why if known."""
    why = f" ({fault})" if fault else ""
    return f"truncated: the data need {need} bytes, the file has {max(found, 0)}{why}"
